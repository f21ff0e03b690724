"""Callers who talk for a long time, and what the server holds meanwhile: memory, threads, open files."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from realtime.client.connection import ClientError, open_session
from realtime.client.http import http_url
from realtime.client.speech_turn import speak
from realtime.client.utterance import Utterance

SETTLED_MINUTES = 5.0
"""Until then caches fill and the allocator finds its size."""
TURNS_OF_A_CALL = 8
AVERAGED = 3
"""Readings that are averaged at both ends of the growth."""

_FIGURES = ("process_resident_memory_bytes", "process_threads", "process_open_fds", "realtime_sessions")


@dataclass(frozen=True, slots=True)
class Reading:
    """The server at one moment, by its own account; ``turns`` and ``failures`` since the begin."""

    minutes: float
    memory_mb: float
    threads: int
    open_files: int
    sessions: int
    turns: int
    failures: int

    def row(self) -> str:
        """One line of the table."""
        counts = (self.threads, self.open_files, self.sessions, self.turns, self.failures)
        return f"| {self.minutes:.1f} | {self.memory_mb:.1f} | " + " | ".join(map(str, counts)) + " |"


HEADER = "| minute | memory MB | threads | open files | sessions | turns | failures |\n|---|---|---|---|---|---|---|"


class Soak:
    """So many ``callers`` call one after another, say the utterances in rotation, and hang up after some turns."""

    def __init__(self, url: str, utterances: Sequence[Utterance], callers: int, api_key: str | None = None) -> None:
        self._url = url
        self._utterances = utterances
        self._callers = callers
        self._api_key = api_key
        self._turns = 0
        self._failures = 0

    async def run(self, minutes: float, period_s: float = 60.0) -> AsyncIterator[Reading]:
        """A reading each period, the first before anybody calls. Raises `ClientError` where there is no `/metrics`."""
        began = time.monotonic()
        yield await self._reading(began)
        calls = [asyncio.create_task(self._call_again_and_again(number)) for number in range(self._callers)]
        try:
            for count in itertools.count(1):
                due = began + min(count * period_s, minutes * 60)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                yield await self._reading(began)
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
            except ClientError:
                self._failures += 1
                await asyncio.sleep(1.0)

    async def _reading(self, began: float) -> Reading:
        page = await asyncio.to_thread(self._metrics)
        memory, threads, open_files, sessions = (_figure(page, name) for name in _FIGURES)
        minutes = (time.monotonic() - began) / 60
        return Reading(
            minutes, memory / 2**20, int(threads), int(open_files), int(sessions), self._turns, self._failures
        )

    def _metrics(self) -> str:
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        request = urllib.request.Request(http_url(self._url, "/metrics"), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError as error:
            raise ClientError(f"the server's /metrics cannot be read: {error}") from error


def growth_mb(readings: Sequence[Reading]) -> float | None:
    """Memory that was added after `SETTLED_MINUTES`; None when there are too few readings to tell."""
    settled = [reading.memory_mb for reading in readings if reading.minutes >= SETTLED_MINUTES - 0.01]
    if len(settled) < 2 * AVERAGED:
        return None
    return fmean(settled[-AVERAGED:]) - fmean(settled[:AVERAGED])


def _figure(page: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    if found is None:
        raise ClientError(f"the server's /metrics has no {name}")
    return float(found.group(1))
