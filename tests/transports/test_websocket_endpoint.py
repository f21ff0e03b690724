"""What a handshake can ask for beside a plain session: Azure's paths, binary audio, a place in the line, a running
session. Over real sockets, the model side faked."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from openai import AsyncAzureOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.session.quota import QuotaLimits
from realtime.transports.http.access import Access, ApiKeys
from tests.fakes import Gate, delta, done, reply
from tests.transports.test_server import Server, ask, expect, loud, say, serving

KEY, OTHER_KEY = "rt-5f1c", "rt-other"


def guarded() -> Access:
    return Access(ApiKeys.read([KEY, OTHER_KEY], "test"))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def refused(url: str, **options: Any) -> tuple[int, dict[str, Any], str | None]:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(url, **options)
    response = refusal.value.response
    return response.status_code, json.loads(response.body or b"")["error"], response.headers.get("Retry-After")


async def everything_until(ws: ClientConnection, type: str) -> list[Any]:
    """All messages, those of JSON parsed."""
    found: list[Any] = []
    async with asyncio.timeout(10):
        while not (found and isinstance(found[-1], dict) and found[-1]["type"] == type):
            message = await ws.recv()
            found.append(json.loads(message) if isinstance(message, str) else message)
    return found


# Azure


async def test_azures_old_path_speaks_beta_with_its_key() -> None:
    async with serving(access=guarded()) as server:
        url = server.url.replace("/v1/realtime", "/openai/realtime?api-version=2025-04-01-preview&deployment=voice")
        for options in ({"additional_headers": {"api-key": KEY}}, {}):
            asked = url if options else f"{url}&api-key={KEY}"
            async with connect(asked, **options) as ws:
                session = (await expect(ws, "session.created"))["session"]
                assert (session["model"], session["modalities"]) == ("voice", ["text", "audio"])
                await expect(ws, "conversation.created")


async def test_azures_new_path_speaks_ga() -> None:
    async with serving() as server:
        async with connect(server.url.replace("/v1/realtime", "/openai/v1/realtime?model=voice")) as ws:
            assert (await expect(ws, "session.created"))["session"]["output_modalities"] == ["audio"]


async def test_url_keys_count_on_azures_paths_only() -> None:
    async with serving(access=guarded()) as server:
        assert (await refused(f"{server.url}?api-key={KEY}"))[0] == 401


async def test_the_azure_client_talks() -> None:
    async with serving(reply("Hello.")) as server:
        client = AsyncAzureOpenAI(
            api_key="any", api_version="2025-04-01-preview", azure_endpoint=server.http, azure_deployment="voice",
            websocket_base_url=server.http.replace("http", "ws") + "/openai",
        )  # fmt: skip
        async with client.beta.realtime.connect(model="voice") as connection:
            assert (await connection.recv()).type == "session.created"
        await client.close()


# Binary audio


async def test_audio_follows_its_delta_as_bytes_on_request() -> None:
    async with serving(reply("Hello.", tokens=10), reply("Hello.", tokens=10)) as server:
        async with connect(server.url) as ws:
            await ask(ws, "hi")
            events = await everything_until(ws, "response.done")
            expected = b"".join(
                base64.b64decode(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"
            )
        async with connect(f"{server.url}?output_audio=binary") as ws:
            await ask(ws, "hi")
            messages = await everything_until(ws, "response.done")
    assert b"".join(message for message in messages if isinstance(message, bytes)) == expected != b""
    for before, message in zip(messages, messages[1:], strict=False):
        if isinstance(message, bytes):
            assert (before["type"], before["delta"]) == ("response.output_audio.delta", "")


# The line


async def test_a_caller_waits_and_is_told_its_place() -> None:
    async with serving(max_sessions=1, max_waiting=2) as server:
        first = await connect(server.url)
        await expect(first, "session.created")
        url = f"{server.url}?wait=events"
        async with connect(url) as second, connect(url) as third:
            assert [(await expect(ws, "session.queued"))["position"] for ws in (second, third)] == [1, 2]
            await say(second, type="input_audio_buffer.clear")  # what is said meanwhile is not lost
            await first.close()
            await expect(second, "session.created")
            await expect(second, "input_audio_buffer.cleared")
            assert (await expect(third, "session.queued"))["position"] == 1


async def test_nobody_jumps_the_line() -> None:
    async with serving(max_sessions=1, max_waiting=1) as server:
        async with connect(server.url) as first:
            await expect(first, "session.created")
            waiting = await connect(f"{server.url}?wait=events")
            await expect(waiting, "session.queued")
            status, error, _ = await refused(server.url)
            assert (status, error["code"]) == (503, "server_full")
            await waiting.close()
            await _until(lambda: not server.host.sessions.waiting)
            assert (await refused(f"{server.url}?wait=0"))[0] == 503
        await server.all_gone()
        async with connect(server.url) as ws:
            await expect(ws, "session.created")


async def test_who_waits_in_vain_is_told_so() -> None:
    async with serving(max_sessions=1, max_waiting=1) as server:
        server.host.waiting_s = 0.05
        async with connect(server.url) as first, connect(f"{server.url}?wait=events") as second:
            await expect(first, "session.created")
            assert (await expect(second, "error"))["error"]["code"] == "server_full"
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013


async def test_floods_while_waiting_are_slowed_and_still_served() -> None:
    async with serving(max_sessions=1, max_waiting=1) as server:
        first = await connect(server.url)
        await expect(first, "session.created")
        async with connect(f"{server.url}?wait=events") as second:
            await expect(second, "session.queued")
            flood = [second.send(json.dumps({"type": "nope", "event_id": f"c{i}"})) for i in range(200)]
            await asyncio.gather(*flood)
            await first.close()
            await expect(second, "session.created")
            errors = [(await expect(second, "error"))["error"]["event_id"] for _ in range(200)]
            assert errors == [f"c{i}" for i in range(200)]


async def test_unreadable_handshakes_are_held_until_a_seat_frees() -> None:
    async with serving(max_sessions=1, max_waiting=1) as server:
        first = await connect(server.url)
        await expect(first, "session.created")
        second = asyncio.create_task(_first_event(server.url))
        await _until(lambda: bool(server.host.sessions.waiting))
        await first.close()
        assert (await second)["type"] == "session.created"


async def test_a_handshake_is_not_held_for_ever() -> None:
    async with serving(max_sessions=1, max_waiting=1) as server:
        server.host.handshake_s = 0.05
        async with connect(server.url) as first:
            await expect(first, "session.created")
            status, error, retry_after = await refused(server.url)
            assert (status, error["code"], retry_after) == (503, "server_full", "5")
            assert error["position"] == 1 and "place 1" in error["message"]
            assert not server.host.sessions.waiting


async def test_callers_that_hang_up_leave_the_queue() -> None:
    async with serving(max_sessions=1, max_waiting=1) as server:
        async with connect(server.url) as first:
            await expect(first, "session.created")
            second = asyncio.create_task(_first_event(server.url))
            await _until(lambda: bool(server.host.sessions.waiting))
            second.cancel()
            await _until(lambda: not server.host.sessions.waiting)


async def _first_event(url: str) -> dict[str, Any]:
    async with connect(url) as ws:
        event: dict[str, Any] = json.loads(await ws.recv())
        return event


# Quotas


async def test_keys_have_session_limits_of_their_own() -> None:
    async with serving(access=guarded(), quota=QuotaLimits(sessions=1)) as server:
        async with connect(server.url, additional_headers=bearer(KEY)) as ws:
            await expect(ws, "session.created")
            status, error, _ = await refused(server.url, additional_headers=bearer(KEY))
            assert (status, error["code"], error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
            async with connect(server.url, additional_headers=bearer(OTHER_KEY)) as other:
                await expect(other, "session.created")
        await server.all_gone()
        async with connect(server.url, additional_headers=bearer(KEY)) as ws:
            await expect(ws, "session.created")


async def test_responses_over_quota_fail_and_sessions_continue() -> None:
    async with serving(reply("One."), quota=QuotaLimits(responses_per_minute=1)) as server:
        async with connect(server.url) as ws:
            await ask(ws, "hi")
            assert (await expect(ws, "response.done"))["response"]["status"] == "completed"
            (limit,) = (await expect(ws, "rate_limits.updated"))["rate_limits"]
            assert (limit["name"], limit["limit"], limit["remaining"]) == ("requests", 1, 0)
            assert 0 < limit["reset_seconds"] <= 60
            await ask(ws, "again")
            response = (await expect(ws, "response.done"))["response"]
            fault = response["status_details"]["error"]
            assert (response["status"], fault["code"]) == ("failed", "rate_limit_exceeded")
            await say(ws, type="input_audio_buffer.clear")
            await expect(ws, "input_audio_buffer.cleared")


async def test_audio_over_quota_ends_and_refuses_sessions() -> None:
    async with serving(access=guarded(), quota=QuotaLimits(audio_seconds_per_hour=2)) as server:
        async with connect(server.url, additional_headers=bearer(KEY)) as ws:
            await ws.send(loud(2.5))
            error = (await expect(ws, "error"))["error"]
            assert (error["code"], error["type"]) == ("insufficient_quota", "rate_limit_error")
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(ws.recv(), 10)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        status, error, retry_after = await refused(server.url, additional_headers=bearer(KEY))
        assert (status, error["code"]) == (429, "insufficient_quota")
        assert retry_after is not None and int(retry_after) > 0


async def test_a_server_without_limits_tells_of_none() -> None:
    async with serving(reply("One.")) as server, connect(server.url) as ws:
        await ask(ws, "hi")
        events = await everything_until(ws, "response.done")
        await say(ws, type="input_audio_buffer.clear")
        events += await everything_until(ws, "input_audio_buffer.cleared")
        assert "rate_limits.updated" not in {event["type"] for event in events}


# A second connection


async def attached(server: Server, ws: ClientConnection, query: str = "", **options: Any) -> ClientConnection:
    """A side connection, and what it was told first."""
    session = (await expect(ws, "session.created"))["session"]
    side = await connect(f"{server.url}?call_id={session['id']}{query}", **options)
    assert (await expect(side, "session.created"))["session"] == session
    return side


async def test_side_connections_see_events_and_may_speak() -> None:
    async with serving(reply("Hello.")) as server, connect(server.url) as ws:
        side = await attached(server, ws)
        await say(side, type="session.update", session={"type": "realtime", "instructions": "Be brief."})
        for one in (ws, side):
            assert (await expect(one, "session.updated"))["session"]["instructions"] == "Be brief."
        await ask(side, "hi")
        seen, heard = [await everything_until(one, "response.done") for one in (side, ws)]
        types = [event["type"] for event in heard if event["type"] != "response.output_audio.delta"]
        assert [event["type"] for event in seen] == types
        await side.close()
        await say(ws, type="input_audio_buffer.clear")
        await expect(ws, "input_audio_buffer.cleared")


async def test_side_connections_get_audio_on_request() -> None:
    async with serving(reply("Hello.")) as server, connect(server.url) as ws:
        side = await attached(server, ws, "&audio=1")
        await ask(ws, "hi")
        assert (await expect(side, "response.output_audio.delta"))["delta"]
        await side.close()


async def test_errors_of_side_connections_stay_with_them() -> None:
    async with serving() as server, connect(server.url) as ws:
        side = await attached(server, ws)
        await say(side, type="input_audio_buffer.append", audio="AAAA", event_id="c1")
        await say(side, type="conversation.item.delete", item_id="nothing", event_id="c2")
        await side.send("{")
        errors = [(await expect(side, "error"))["error"] for _ in range(3)]
        assert [error["event_id"] for error in errors] == ["c1", "c2", None]
        await say(side, type="input_audio_buffer.clear")
        assert "error" not in [event["type"] for event in await everything_until(ws, "input_audio_buffer.cleared")]
        await side.close()


async def test_a_side_connection_ends_with_the_session() -> None:
    async with serving() as server:
        ws = await connect(server.url)
        side = await attached(server, ws)
        await ws.close()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(side.recv(), 10)
        await server.all_gone()


async def test_only_the_opening_key_may_attach() -> None:
    async with serving(access=guarded()) as server:
        async with connect(server.url, additional_headers=bearer(KEY)) as ws:
            session_id = (await expect(ws, "session.created"))["session"]["id"]
            url = f"{server.url}?call_id={session_id}"
            status, error, _ = await refused(url, additional_headers=bearer(OTHER_KEY))
            assert (status, error["code"]) == (404, "call_not_found")
            assert (await refused(f"{url}x", additional_headers=bearer(KEY)))[:2][0] == 404
            async with connect(url, additional_headers=bearer(KEY)) as side:
                await expect(side, "session.created")


async def test_secrets_sessions_are_watched_by_their_minting_key() -> None:
    access = guarded()
    async with serving(access=access) as server:
        caller = access.check_key(_Connection(bearer(KEY)))  # type: ignore[arg-type]
        value, _ = access.secrets.create({"type": "realtime"}, owner=caller.name)
        async with connect(server.url, additional_headers=bearer(value)) as ws:
            side = await attached(server, ws, additional_headers=bearer(KEY))
            await side.close()
            session_id = server.host.sessions.sessions[0].id
            assert (await refused(f"{server.url}?call_id={session_id}", additional_headers=bearer(value)))[0] == 404


async def test_a_cancelled_reply_is_seen_by_both() -> None:
    gate = Gate()
    async with serving([delta("One ", 5), gate, done()]) as server, connect(server.url) as ws:
        side = await attached(server, ws)
        await ask(ws, "hi")
        await expect(side, "response.output_audio_transcript.delta")
        await say(side, type="response.cancel")
        for one in (ws, side):
            assert (await expect(one, "response.done"))["response"]["status"] == "cancelled"
        await side.close()
        gate.open()


class _Connection:
    """As much of a request as a key needs."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = {name.lower(): value for name, value in headers.items()}


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
