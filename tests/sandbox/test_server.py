"""Clients attack a real server with schemas; it stays responsive, answers an honest caller, and ends at SIGTERM."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.sandbox.hostile import INTERSECTION, MULTIPLE, optional
from tests.serving import RunningServer, health, serving

ATTACK_S = 4.0
"""For so long updates are sent. On a busy machine the last answer may come seconds later."""

ATTACKERS = 2

Tools = list[dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    began = None
    with serving(
        "realtime.cli serve",
        tmp_path_factory.mktemp("server") / "log",
        ["--port", "{port}", "--max-sessions", "8", "--log-level", "warning"],
    ) as running:
        yield running
        began = time.monotonic()
    assert began is not None and time.monotonic() - began < 15, "SIGTERM did not end the server"


def tools(schemas: Sequence[dict[str, Any]]) -> Tools:
    return [{"type": "function", "name": f"f{index}", "parameters": schema} for index, schema in enumerate(schemas)]


def intersections() -> Iterator[Tools]:
    for number in count():
        yield tools([{**INTERSECTION, "title": str(number)}])


def multiples() -> Iterator[Tools]:
    for number in count(1, 2):
        parameters = json.loads(json.dumps(MULTIPLE).replace("999983", str(999_983 - number)))
        yield tools([parameters])


def many_properties() -> Iterator[Tools]:
    for number in count():
        yield tools([optional(2000, f"{number % 10}{letter}") for letter in "abcd"])


def costly_but_legal() -> Iterator[Tools]:
    """As many properties as are taken, and new ones each time."""
    for number in count():
        yield tools([optional(480, f"{number % 1000}{letter}") for letter in "abcdefgh"])


async def attack(url: str, updates: Iterator[Tools], until: float) -> set[str]:
    """Send updates as fast as they are answered; gives what came back."""
    seen: set[str] = set()
    async with connect(url, max_size=None) as ws:
        while time.monotonic() < until:
            session = {"type": "realtime", "tools": next(updates)}
            await ws.send(json.dumps({"type": "session.update", "session": session}))
            while (event := json.loads(await ws.recv()))["type"] not in ("error", "session.updated"):
                pass
            seen.add(event["error"]["code"] if event["type"] == "error" else event["type"])
    return seen


async def watch(server: RunningServer, until: float) -> float:
    """The longest answer of /healthz in seconds."""
    worst = 0.0
    while time.monotonic() < until:
        began = time.monotonic()
        status, _ = await asyncio.to_thread(health, server)
        assert status == 200
        worst = max(worst, time.monotonic() - began)
        await asyncio.sleep(0.05)
    return worst


async def ask(url: str) -> str:
    """The status of the answer to a typed question, from a caller with a tool."""
    weather = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What time is it?"}]}
    session = {"type": "realtime", "output_modalities": ["text"], "tools": tools([weather])}
    async with connect(url, max_size=None) as ws:
        await ws.send(json.dumps({"type": "session.update", "session": session}))
        await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await ws.send(json.dumps({"type": "response.create", "response": {"max_output_tokens": 16}}))
        while (event := json.loads(await ws.recv()))["type"] != "response.done":
            assert event["type"] != "error", event
        return str(event["response"]["status"])


@pytest.mark.parametrize(
    ("updates", "codes"),
    [
        (intersections, {"invalid_tool_schema", "rate_limit_exceeded"}),
        (multiples, {"invalid_tool_schema", "rate_limit_exceeded"}),
        (many_properties, {"invalid_value"}),
        (costly_but_legal, {"session.updated", "invalid_value", "invalid_tool_schema", "rate_limit_exceeded"}),
    ],
)
async def test_hostile_schemas_cost_their_sender_only(server: RunningServer, updates: Any, codes: set[str]) -> None:
    url = f"{server.url}?model=nano"
    async with asyncio.timeout(20):
        until = time.monotonic() + ATTACK_S
        worst, status, *seen = await asyncio.gather(
            watch(server, until), ask(url), *(attack(url, updates(), until) for _ in range(ATTACKERS))
        )
    assert worst < 1.0
    assert status in ("completed", "incomplete")
    for answers in seen:
        assert answers <= codes | {"rate_limit_exceeded"} and answers, answers
