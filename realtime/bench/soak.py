"""Callers who talk for a long time, and what the server holds meanwhile: memory, threads, open files."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from realtime.bench.server_metrics import figure, read_metrics
from realtime.client.connection import ClientError, open_session
from realtime.client.speech_turn import speak
from realtime.client.utterance import Utterance

SETTLED_MINUTES = 5.0
"""Until then caches fill and the allocator finds its size."""
TURNS_OF_A_CALL = 8
AVERAGED = 3
"""Readings that are averaged at both ends of the growth."""
SAMPLE_S = 5.0
"""Memory goes up and down by some ten MB with the chunks that are being made, so each reading is a mean of several."""

_FIGURES = ("process_resident_memory_bytes", "process_threads", "process_open_fds", "realtime_sessions")


@dataclass(frozen=True, slots=True)
class Reading:
    """The server over one period, by its own account: the mean of its memory and the most, the rest at its end.
    ``turns`` and ``failures`` since the begin."""

    minutes: float
    memory_mb: float
    most_mb: float
    threads: int
    open_files: int
    sessions: int
    turns: int
    failures: int

    def row(self) -> str:
        """One line of the table."""
        counts = (self.threads, self.open_files, self.sessions, self.turns, self.failures)
        memory = f"{self.memory_mb:.1f} | {self.most_mb:.1f}"
        return f"| {self.minutes:.1f} | {memory} | " + " | ".join(map(str, counts)) + " |"


HEADER = "| minute | memory MB | most | threads | open files | sessions | turns | failures |\n" + "|---" * 8 + "|"


class Soak:
    """So many ``callers`` call one after another, say the utterances in rotation, and hang up after some turns."""

    def __init__(self, url: str, utterances: Sequence[Utterance], callers: int, api_key: str | None = None) -> None:
        self._url = url
        self._utterances = utterances
        self._callers = callers
        self._api_key = api_key
        self._turns = 0
        self.failures: Counter[str] = Counter()
        """Turns that failed, by what the client was told."""

    async def run(self, minutes: float, period_s: float = 60.0) -> AsyncIterator[Reading]:
        """A reading each period, the first before anybody calls. Raises `ClientError` where there is no `/metrics`."""
        began = time.monotonic()
        yield await self._reading(began, began)
        calls = [asyncio.create_task(self._call_again_and_again(number)) for number in range(self._callers)]
        try:
            for count in itertools.count(1):
                due = began + min(count * period_s, minutes * 60)
                yield await self._reading(began, due)
                if due >= began + minutes * 60:
                    return
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _call_again_and_again(self, number: int) -> None:
        spoken = itertools.islice(itertools.cycle(self._utterances), number, None)
        while True:
            try:
                async with open_session(self._url, api_key=self._api_key) as connection:
                    for _ in range(TURNS_OF_A_CALL):
                        await speak(connection, next(spoken))
                        self._turns += 1
            except ClientError as error:
                self.failures[str(error)] += 1
                await asyncio.sleep(1.0)

    async def _reading(self, began: float, due: float) -> Reading:
        """Of the time from now until ``due``."""
        memory = []
        while True:
            page = await asyncio.to_thread(read_metrics, self._url, self._api_key)
            held, threads, open_files, sessions = _held(page)
            memory.append(held / 2**20)
            left = due - time.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(min(SAMPLE_S, left))
        return Reading(
            (time.monotonic() - began) / 60,
            fmean(memory),
            max(memory),
            int(threads),
            int(open_files),
            int(sessions),
            self._turns,
            self.failures.total(),
        )


def growth_mb(readings: Sequence[Reading]) -> float | None:
    """Memory that was added after `SETTLED_MINUTES`; None when there are too few readings to tell."""
    settled = [reading.memory_mb for reading in readings if reading.minutes >= SETTLED_MINUTES - 0.01]
    if len(settled) < 2 * AVERAGED:
        return None
    return fmean(settled[-AVERAGED:]) - fmean(settled[:AVERAGED])


def _held(page: str) -> list[float]:
    """The figures of a reading. Raises `ClientError` where one is missing."""
    held = {name: figure(page, name) for name in _FIGURES}
    missing = [name for name, value in held.items() if value is None]
    if missing:
        raise ClientError(f"the server's /metrics has no {missing[0]}")
    return [value for value in held.values() if value is not None]
