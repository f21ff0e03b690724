"""Measures the latency of one session while other clients attack the server, for each of several attacks.

Start a server that admits enough sessions, then:

    REALTIME_MAX_SESSIONS=64 .venv/bin/realtime serve &
    .venv/bin/python scripts/attack.py --pid $!

One client (the victim) alternates between round trips (`input_audio_buffer.clear` -> `cleared`) and spoken answers to a
written question, while another process attacks. The table has the round trips and the times to the first audio of the
answers in milliseconds, and the server's memory at the end. Attackers and victim run on the server's machine, so part
of the slowdown is the attackers' own CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime.bench.stats import percentile

Attack = Callable[[str], Awaitable[None]]
PEERS = 4
"""WebSocket connections per attack."""


async def _flood(url: str, message: str | bytes, *, batch: int = 1000) -> None:
    """Send one message repeatedly and read the answers."""

    async def read(ws: ClientConnection) -> None:
        async for _ in ws:
            pass

    async with connect(url, max_size=None) as ws:
        reading = asyncio.create_task(read(ws))
        try:
            while True:
                for _ in range(batch):
                    await ws.send(message)
                await asyncio.sleep(0)
        finally:
            reading.cancel()


async def tiny_events(url: str) -> None:
    await _flood(url, '{"type":"input_audio_buffer.clear"}')


async def broken_json(url: str) -> None:
    await _flood(url, "{")


async def deep_json(url: str) -> None:
    await _flood(url, "[" * 100_000, batch=10)


async def bad_base64(url: str) -> None:
    await _flood(url, json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 4_000_000 + "!"}), batch=1)


async def giant_frames(url: str) -> None:
    with suppress(ConnectionClosed):
        await _flood(url, "x" * 30 * 2**20, batch=1)


async def giant_audio(url: str) -> None:
    await _flood(url, json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * (5 * 2**20 - 10)}), batch=1)


async def never_reads(url: str) -> None:
    """Request much speech and read nothing."""
    async with connect(url, max_queue=1) as ws:
        for _ in range(200):
            content = [{"type": "input_text", "text": "tell me a story"}]
            item = {"type": "message", "role": "user", "content": content}
            await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
            await ws.send(json.dumps({"type": "response.create", "response": {"conversation": "none"}}))
        await asyncio.sleep(60)


async def slow_requests(url: str) -> None:
    """300 requests that never end, at one byte per second each."""
    parts = urlsplit(url)

    async def dribble() -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                for _ in range(60):
                    await asyncio.sleep(1)
                    writer.write(b"a")
                    await writer.drain()
                writer.close()

    await asyncio.gather(*(dribble() for _ in range(300)))


async def handshakes(url: str) -> None:
    """Connect and disconnect as fast as possible."""
    while True:
        with suppress(OSError, InvalidHandshake, ConnectionClosed):
            async with connect(url):
                pass


async def nothing(url: str) -> None:
    await asyncio.sleep(3600)


ATTACKS: tuple[Attack, ...] = (
    nothing,
    tiny_events,
    broken_json,
    deep_json,
    bad_base64,
    giant_frames,
    giant_audio,
    never_reads,
    slow_requests,
    handshakes,
)


async def _peer(attack: Attack, url: str) -> None:
    while True:
        with suppress(ConnectionClosed, InvalidHandshake, OSError):
            await attack(url)
        await asyncio.sleep(0.1)


async def _peers(attack: Attack, url: str) -> None:
    await asyncio.gather(*(_peer(attack, url) for _ in range(1 if attack is slow_requests else PEERS)))


def _attack(attack: Attack, url: str) -> None:
    asyncio.run(_peers(attack, url))


async def _expect(ws: ClientConnection, kind: str) -> float:
    """The time at which the next event of this type arrived."""
    while json.loads(await ws.recv())["type"] != kind:
        pass
    return time.perf_counter()


async def _victim(url: str, seconds: float) -> tuple[list[float], list[float]]:
    """Round trips and times to the first audio, in ms."""
    trips: list[float] = []
    answers: list[float] = []
    async with connect(url) as ws:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for _ in range(10):
                sent = time.perf_counter()
                await ws.send('{"type":"input_audio_buffer.clear"}')
                trips.append(1000 * (await _expect(ws, "input_audio_buffer.cleared") - sent))
                await asyncio.sleep(0.05)
            content = [{"type": "input_text", "text": "what time is it"}]
            sent = time.perf_counter()
            item = {"type": "message", "role": "user", "content": content}
            await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
            await ws.send('{"type":"response.create"}')
            answers.append(1000 * (await _expect(ws, "response.output_audio.delta") - sent))
            await _expect(ws, "response.done")
    return trips, answers


def _memory_mb(pid: int) -> str:
    """The process's resident memory in MB."""
    if not pid:
        return "-"
    status = Path(f"/proc/{pid}/status").read_text()
    return str(int(status.split("VmRSS:")[1].split()[0]) // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="ws://127.0.0.1:8765/v1/realtime")
    parser.add_argument("--seconds", type=float, default=15, help="duration of each attack")
    parser.add_argument("--pid", type=int, default=0, help="process id of the server, to report its memory")
    parser.add_argument("--only", choices=[attack.__name__ for attack in ATTACKS], action="append")
    arguments = parser.parse_args()
    print("| attack | round trip p50 | p95 | most | first audio p50 | most | answers | server MB |")
    print("|---|---|---|---|---|---|---|---|")
    for attack in ATTACKS:
        if arguments.only and attack.__name__ not in arguments.only:
            continue
        process = multiprocessing.get_context("spawn").Process(target=_attack, args=(attack, arguments.url))
        process.start()
        time.sleep(2)
        trips, answers = asyncio.run(_victim(arguments.url, arguments.seconds))
        memory = _memory_mb(arguments.pid)
        process.terminate()
        process.join()
        print(
            f"| {attack.__name__.replace('_', ' ')} | {percentile(trips, 50):.1f} | {percentile(trips, 95):.1f} "
            f"| {max(trips):.0f} | {percentile(answers, 50):.0f} | {max(answers):.0f} | {len(answers)} | {memory} |",
            flush=True,
        )
        time.sleep(2)


if __name__ == "__main__":
    main()
