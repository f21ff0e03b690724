"""Tools named before the session, in a request for a client secret or a call, are checked like those of
`session.update`: who holds the secret could do nothing about them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.ports.tools import SchemaVerdict
from tests.transports.test_access import post as post_json
from tests.transports.test_calls import OFFER, answering, error, form
from tests.transports.test_calls import post as post_raw
from tests.transports.test_server import serving

TOOL: dict[str, Any] = {"type": "function", "name": "look", "parameters": {"type": "object"}}
BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": [TOOL | {"parameters": {"type": "slow"}}]}, "invalid_tool_schema", "session.tools[0].parameters"),
    ({"tools": [TOOL, TOOL | {"name": "x", "parameters": {"type": "no"}}]}, "", "session.tools[1].parameters"),
    ({"tools": [{"type": "mcp", "server_label": "m", "server_url": "http://m"}]}, "", "session.tools[0].server_url"),
    ({"tools": [{"type": "mcp", "server_label": "m", "connector_id": "c"}]}, "", "session.tools[0].connector_id"),
    ({"server_tools": ["nope"]}, "", "session.server_tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}}, "", "session.tool_choice"),
    ({"tools": [TOOL | {"name": "a b"}]}, "", "session.tools[0].name"),
    ({"tools": [TOOL | {"description": "x" * 70_000}]}, "", "session.tools"),
]


async def check(schema: Any, budget_s: float) -> SchemaVerdict:
    match schema["type"]:
        case "slow":
            return SchemaVerdict("it takes too long", limit=True)
        case "no":
            return SchemaVerdict("no such type")
    return SchemaVerdict(spent=1.0)


@pytest.mark.parametrize("route", ["client_secrets", "sessions", "calls"])
@pytest.mark.parametrize(("settings", "code", "param"), BROKEN)
async def test_broken_tools_are_refused_before_the_session(
    route: str, settings: dict[str, Any], code: str, param: str
) -> None:
    async with serving(schema_check=check) as server:
        session = {"type": "realtime", **settings}
        if route == "calls":
            answering(server)
            body, headers = form(("sdp", "", OFFER), ("session", "application/json", json.dumps(session)))
            status, _, said = await post_raw(server, "/v1/realtime/calls", body, headers)
            told = error(said)
        else:
            asked = {"session": session} if route == "client_secrets" else session
            status, answer = await post_json(server, f"/v1/realtime/{route}", asked, {})
            told = answer["error"]
        assert status == 400
        assert told["param"] == param and told["message"]
        assert not code or told["code"] == code


async def test_checks_for_secrets_count_for_their_key() -> None:
    async def expensive(schema: Any, budget_s: float) -> SchemaVerdict:
        return SchemaVerdict(unpaid=True) if budget_s <= 0 else SchemaVerdict(spent=4.0)

    async with serving(schema_check=expensive) as server:
        body = {"session": {"type": "realtime", "tools": [TOOL]}}
        answers = [await post_json(server, "/v1/realtime/client_secrets", body, {}) for _ in range(6)]
        assert [status for status, _ in answers][:2] == [200, 200]
        status, last = answers[-1]
        assert (status, last["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_usable_tools_make_a_secret() -> None:
    async with serving(schema_check=check) as server:
        status, answer = await post_json(
            server, "/v1/realtime/client_secrets", {"session": {"type": "realtime", "tools": [TOOL]}}, {}
        )
        assert status == 200 and answer["session"]["tools"][0]["name"] == "look"
