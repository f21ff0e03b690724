"""A client secret reaches the sessions that it opened itself; the key that made it reaches them all."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime.transports.http.access import Access, ApiKeys
from tests.transports.test_calls import OFFER, RAW, answering, bearer, post
from tests.transports.test_server import expect, serving

KEY = "k1"


@pytest.mark.parametrize("keys", [[KEY], []])
async def test_secrets_end_only_calls_of_their_own(keys: list[str]) -> None:
    access = Access(ApiKeys.read(keys, "test"))
    owner = {"owner": "address:127.0.0.1"} if not keys else {"owner": name_of(access)}
    mine, _ = access.secrets.create({}, **owner)
    other, _ = access.secrets.create({}, **owner)
    async with serving(access=access) as server:
        answerer = answering(server)
        _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW | bearer(mine))
        await answerer.session()
        hang_up = headers["Location"] + "/hangup"
        assert (await post(server, hang_up, headers=bearer(other)))[0] == 404
        assert (await post(server, hang_up, headers=bearer(mine)))[0] == 200


@pytest.mark.parametrize("by", ["websocket", "call"])
async def test_sessions_of_a_key_are_closed_to_secrets(by: str) -> None:
    access = Access(ApiKeys.read([KEY], "test"))
    secret, _ = access.secrets.create({}, owner=name_of(access))
    async with serving(access=access) as server:
        answerer = answering(server)
        async with connect(server.url, additional_headers=bearer(KEY)) as ws:
            call_id = (await expect(ws, "session.created"))["session"]["id"]
            if by == "call":
                _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW | bearer(KEY))
                await answerer.session()
                call_id = headers["Location"].rpartition("/")[2]
            assert (await post(server, f"/v1/realtime/calls/{call_id}/hangup", headers=bearer(secret)))[0] == 404
            with pytest.raises(InvalidStatus):
                await connect(f"{server.url}?call_id={call_id}", additional_headers=bearer(secret))


async def test_keys_end_the_calls_of_their_secrets() -> None:
    access = Access(ApiKeys.read([KEY], "test"))
    secret, _ = access.secrets.create({}, owner=name_of(access))
    async with serving(access=access) as server:
        answerer = answering(server)
        _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW | bearer(secret))
        await answerer.session()
        assert (await post(server, headers["Location"] + "/hangup", headers=bearer(KEY)))[0] == 200


def name_of(access: Access) -> str:
    """The name of the key."""
    connection: Any = type("Connection", (), {"headers": bearer(KEY) | {"authorization": f"Bearer {KEY}"}})()
    return access.check_key(connection).name
