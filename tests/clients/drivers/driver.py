"""What the Python drivers share. Each is run as `python DRIVER.py URL KEY SCENARIO SPEECH` (raw PCM16, 24 kHz, mono)
by the Python of its library's own environment, and prints what it saw as one line of JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

BYTES_PER_SECOND = 48_000
FRAME = BYTES_PER_SECOND // 50
PATIENCE_SECONDS = 60

URL, KEY, SCENARIO = sys.argv[1:4]
SPEECH = Path(sys.argv[4]).read_bytes()


@dataclass
class Seen:
    transcript: str = ""
    audio_seconds: float = 0.0
    heard: str | None = None
    interrupted: bool = False
    calls: list[list[str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def audio(self, data: bytes) -> None:
        self.audio_seconds += len(data) / BYTES_PER_SECOND


seen = Seen()


async def speech(silence_seconds: float = 2.0) -> AsyncIterator[bytes]:
    """The recording and some silence, in frames of 20 ms, five times as fast as speech."""
    pcm = SPEECH + bytes(int(silence_seconds * BYTES_PER_SECOND))
    for start in range(0, len(pcm), FRAME):
        yield pcm[start : start + FRAME]
        await asyncio.sleep(0.004)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited in vain for: {what}; seen: {seen}") from None


class _Complaints(logging.Handler):
    """Most libraries log what they could not make sense of, and go on."""

    def emit(self, record: logging.LogRecord) -> None:
        seen.errors.append(self.format(record))


def drive(scenarios: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """Run one of the scenarios, print what was seen and end the process."""

    async def run() -> None:
        try:
            await scenarios[SCENARIO]()
        except Exception:
            seen.errors.append(traceback.format_exc())

    logging.getLogger().addHandler(_Complaints(logging.ERROR))
    asyncio.run(run())
    print(json.dumps(asdict(seen)), flush=True)
    os._exit(0)  # some of the libraries leave threads behind
