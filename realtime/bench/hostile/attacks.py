"""What a hostile client does to a server. An attack is a coroutine that goes on until it is cancelled; `attacking` runs
one in a process of its own.

Everything is bounded: the number of connections, the size of messages, and by the caller the time. Only loopback
addresses are attacked.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import multiprocessing
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime.errors import ConfigError

Attack = Callable[[str], Awaitable[None]]

PEERS = 4
"""Connections per attack, but for those that open many by themselves."""
SOCKETS = 300
"""Connections of the attacks that open many."""
PAUSE_S = 0.1
"""Before a peer that was thrown out comes back."""


def check_loopback(url: str) -> None:
    """Raises `ConfigError` unless the URL names this machine."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host != "localhost":
        raise ConfigError(f"{url}: only a server on this machine (127.0.0.1, ::1, localhost) is attacked")


async def _attack_for_ever(attack: Attack, url: str) -> None:
    """All peers of an attack, until cancelled."""
    await asyncio.gather(*(_peer(attack, url) for _ in range(1 if attack in ALONE else PEERS)))


async def _peer(attack: Attack, url: str) -> None:
    while True:
        with suppress(ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
            await attack(url)
        await asyncio.sleep(PAUSE_S)


async def _flood(url: str, message: str | bytes, *, batch: int = 1000) -> None:
    """Send one message again and again and read the answers."""
    async with connect(url, max_size=None) as ws:
        reading = asyncio.create_task(_read_all(ws))
        try:
            while True:
                for _ in range(batch):
                    await ws.send(message)
                await asyncio.sleep(0)
        finally:
            reading.cancel()


async def _read_all(ws: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        async for _ in ws:
            pass


async def _flood_updates(url: str, **session: Any) -> None:
    await _flood(url, json.dumps({"type": "session.update", "session": {"type": "realtime", **session}}), batch=1)


def _tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", **parameters}}


async def nothing(url: str) -> None:
    """No attack: what honest callers get on this machine."""
    await asyncio.Event().wait()


async def tiny_events(url: str) -> None:
    """Small events without a pause."""
    await _flood(url, '{"type":"input_audio_buffer.clear"}')


async def broken_json(url: str) -> None:
    """Messages that are no JSON."""
    await _flood(url, "{")


async def deep_json(url: str) -> None:
    """100,000 nested arrays."""
    await _flood(url, "[" * 100_000, batch=10)


async def bad_base64(url: str) -> None:
    """4 MB of base64 with one wrong character."""
    await _flood(url, json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 4_000_000 + "!"}), batch=1)


async def giant_frames(url: str) -> None:
    """Messages beyond the size limit."""
    await _flood(url, "x" * 30 * 2**20, batch=1)


async def giant_audio(url: str) -> None:
    """Minutes of audio in each message."""
    await _flood(url, json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * (5 * 2**20 - 10)}), batch=1)


async def never_reads(url: str) -> None:
    """Much speech is asked for and nothing read."""
    async with connect(url, max_queue=1) as ws:
        for _ in range(200):
            await ws.send(json.dumps({"type": "conversation.item.create", "item": user_text("tell me a story")}))
            await ws.send(json.dumps({"type": "response.create", "response": {"conversation": "none"}}))
        await asyncio.sleep(60)


async def slow_requests(url: str) -> None:
    """Requests that never end, at one byte a second each."""

    async def dribble() -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(*_address(url))
                writer.write(b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                for _ in range(60):
                    await asyncio.sleep(1)
                    writer.write(b"a")
                    await writer.drain()
                writer.close()
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(dribble() for _ in range(SOCKETS)))


async def silent_sockets(url: str) -> None:
    """Connections on which nothing is ever said."""
    async with AsyncExitStack() as opened:
        for _ in range(SOCKETS):
            _, writer = await asyncio.open_connection(*_address(url))
            opened.callback(writer.close)
        await asyncio.sleep(30)


async def handshakes(url: str) -> None:
    """Connecting and disconnecting as fast as possible."""
    async with connect(url):
        pass


async def pattern_schemas(url: str) -> None:
    """Tools whose schema intersects patterns with exponentially many states."""
    patterns = [{"type": "string", "pattern": f"^(a|b)*a(a|b){{{n}}}c$"} for n in range(11, 17)]
    await _flood_updates(url, tools=[_tool("f", {"properties": {"x": {"allOf": patterns}}})])


async def multiples(url: str) -> None:
    """A schema with a large ``multipleOf``, and a response that compiles it."""
    async with connect(url, max_size=None) as ws:
        schema = {"properties": {"x": {"type": "integer", "multipleOf": 999_983}}, "required": ["x"]}
        session = {"type": "realtime", "tools": [_tool("f", schema)], "tool_choice": "required"}
        await ws.send(json.dumps({"type": "session.update", "session": session}))
        await ws.send('{"type":"response.create"}')
        await asyncio.wait_for(_read_all(ws), 10)


async def many_properties(url: str) -> None:
    """Updates with 4 tools of 2,000 properties each."""
    properties = {f"p{n}": {"type": "string"} for n in range(2000)}
    await _flood_updates(url, tools=[_tool(f"f{n}", {"properties": properties}) for n in range(4)])


async def out_of_band(url: str) -> None:
    """Spoken replies beside the conversation without a pause."""
    item = user_text("tell me a story")
    await _flood(
        url, json.dumps({"type": "response.create", "response": {"conversation": "none", "input": [item]}}), batch=10
    )


async def long_instructions(url: str) -> None:
    """200 kB of instructions, new ones for each response."""
    async with connect(url, max_size=None) as ws:
        reading = asyncio.create_task(_read_all(ws))
        try:
            for n in range(10_000):
                text = f"{n} " + "be kind " * 25_000
                response = {"conversation": "none", "instructions": text}
                await ws.send(json.dumps({"type": "response.create", "response": response}))
        finally:
            reading.cancel()


async def noise(url: str) -> None:
    """Loud noise in bursts, as turns, much faster than it would be spoken."""
    second = random.Random(1).randbytes(48_000)
    burst = base64.b64encode(second + bytes(48_000)).decode()
    await _flood(url, json.dumps({"type": "input_audio_buffer.append", "audio": burst}), batch=1)


def user_text(text: str) -> dict[str, Any]:
    """A user's written message as the protocol's item."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


ALONE = frozenset({nothing, slow_requests, silent_sockets})
"""Attacks that one peer carries out."""

ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        nothing,
        tiny_events,
        broken_json,
        deep_json,
        bad_base64,
        giant_frames,
        giant_audio,
        never_reads,
        slow_requests,
        silent_sockets,
        handshakes,
        pattern_schemas,
        multiples,
        many_properties,
        out_of_band,
        long_instructions,
        noise,
    )
}
"""By name, `nothing` first: the others are compared with it."""


@contextmanager
def attacking(name: str, url: str) -> Iterator[None]:
    """Carry out the attack of this name in another process, until the block ends."""
    process = multiprocessing.get_context("spawn").Process(target=_run_attack, args=(name, url), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join(10)


def _run_attack(name: str, url: str) -> None:
    asyncio.run(_attack_for_ever(ATTACKS[name], url))
