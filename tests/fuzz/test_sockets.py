"""The same messages over real sockets, many callers at once: what no caller sends may harm another."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.fakes import delta, done, reply
from tests.fuzz.messages import message
from tests.transports.test_server import Server, serving

CALLERS = 8
SEQUENCES = 5
MESSAGES = 30
LAST = '{"type": "the last", "event_id": "last"}'
"""Refused by its name, which no other message has."""


async def test_callers_who_send_anything_harm_no_other() -> None:
    scripts = [reply("Hello. ", "How are you?"), [delta("Once ", 5), done("length")], [done("context_full")]]
    async with serving(*scripts, max_sessions=CALLERS + 1) as server, connect(server.url) as quiet:
        await asyncio.gather(*(_send_anything(server, seed) for seed in range(CALLERS)))
        await quiet.send(LAST)
        assert [event["type"] for event in await _read(quiet)] == ["session.created", "error"]
        await quiet.close()
        await server.all_gone()


async def _send_anything(server: Server, seed: int) -> None:
    random = Random(seed)
    for _ in range(SEQUENCES):
        url = server.url + random.choice(("", "?model=step-audio-2-mini", "?intent=transcription"))
        beta = {"OpenAI-Beta": "realtime=v1"} if random.random() < 0.3 else {}
        async with connect(url, additional_headers=beta) as socket:
            reading = asyncio.create_task(_read(socket))
            for _ in range(random.randrange(1, MESSAGES)):
                await socket.send(message(random.getrandbits(24)))
            await socket.send(LAST)
            async with asyncio.timeout(60):
                events = await reading
            assert not any(event.get("error", {}).get("code") == "internal_error" for event in events)


async def _read(socket: ClientConnection) -> list[dict[str, Any]]:
    """All events up to the refusal of the last message. Fails when the server hangs up before."""
    events = []
    while True:
        events.append(json.loads(await socket.recv()))
        if events[-1].get("error", {}).get("event_id") == "last":
            return events
