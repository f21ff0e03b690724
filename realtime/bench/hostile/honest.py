"""Honest callers beside an attack, and what they suffer: round trips, time to the first audio, late chunks."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from realtime.bench.hostile.attacks import user_text
from realtime.bench.stats import percentile

_BYTES_PER_S = 48_000
"""PCM16 at 24 kHz."""
_ANSWER_S = 10.0
"""After so long without the event that it waits for a caller gives up, and that counts as a failure."""


@dataclass(slots=True)
class Suffering:
    """What honest callers saw, in ms; ``failures``: connections refused or lost, and answers that never came."""

    trips: list[float] = field(default_factory=list)
    first_audio: list[float] = field(default_factory=list)
    chunks: int = 0
    late: int = 0
    failures: int = 0

    def row(self, attack: str, memory_mb: float | None) -> str:
        """One line of the table."""
        cells = [
            attack.replace("_", " "),
            *(_shown(self.trips, rank) for rank in (50, 95, 100)),
            *(_shown(self.first_audio, rank) for rank in (50, 95)),
            f"{self.late} of {self.chunks}",
            str(len(self.first_audio)),
            str(self.failures),
            "-" if memory_mb is None else f"{memory_mb:.0f}",
        ]
        return f"| {' | '.join(cells)} |"


HEADER = (
    "| attack | round trip p50 | p95 | most | first audio p50 | p95 | late chunks | answers | failures | server MB |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(slots=True)
class Playback:
    """Counts chunks of one reply that come after playback, which begins with the first, needs them."""

    begun: float | None = None
    received_s: float = 0.0

    def is_late(self, now: float, audio: bytes) -> bool:
        """Take a chunk; whether it came too late."""
        if self.begun is None:
            self.begun = now
        late = now > self.begun + self.received_s and self.received_s > 0
        self.received_s += len(audio) / _BYTES_PER_S
        return late


async def honest_callers(url: str, count: int, seconds: float) -> Suffering:
    """So many callers for so long, together."""
    seen = Suffering()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_caller(url, time.perf_counter() + seconds, seen))
    return seen


async def _caller(url: str, until: float, seen: Suffering) -> None:
    while time.perf_counter() < until:
        try:
            async with connect(url) as ws:
                while time.perf_counter() < until:
                    await _round_trips(ws, seen)
                    await _ask(ws, seen)
        except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
            seen.failures += 1
            await asyncio.sleep(0.1)


async def _round_trips(ws: ClientConnection, seen: Suffering) -> None:
    for _ in range(5):
        sent = time.perf_counter()
        await ws.send('{"type":"input_audio_buffer.clear"}')
        while (await _next(ws))["type"] != "input_audio_buffer.cleared":
            pass
        seen.trips.append(1000 * (time.perf_counter() - sent))
        await asyncio.sleep(0.05)


async def _ask(ws: ClientConnection, seen: Suffering) -> None:
    """A written question, answered by speech."""
    sent, playback = time.perf_counter(), Playback()
    await ws.send(json.dumps({"type": "conversation.item.create", "item": user_text("what time is it")}))
    await ws.send('{"type":"response.create"}')
    while (event := await _next(ws))["type"] != "response.done":
        if event["type"] == "response.output_audio.delta":
            now = time.perf_counter()
            if playback.begun is None:
                seen.first_audio.append(1000 * (now - sent))
            seen.chunks += 1
            seen.late += playback.is_late(now, base64.b64decode(event["delta"]))


async def _next(ws: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(await asyncio.wait_for(ws.recv(), _ANSWER_S))
    return event


def _shown(values: Sequence[float], rank: int) -> str:
    return f"{percentile(list(values), rank):.0f}" if values else "-"
