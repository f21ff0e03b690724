"""How fast one connection is read. Beyond that the server waits before it reads on: nothing is lost, the socket fills
up and the sender is slowed down by TCP. Others keep their share of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

EVENTS_PER_S, EVENTS_AT_ONCE = 500.0, 1000.0
"""Audio in pieces of 10 ms is 100 events a second. The burst is for a client that replays its conversation."""
BYTES_PER_S, BYTES_AT_ONCE = 1.0 * 2**20, 24.0 * 2**20
"""PCM at 24 kHz in base64 is 64 kB a second, so a file may come 16 times as fast as it plays; the largest message at
once."""


class RateLimiter:
    """One connection's. Buckets that fill steadily and may run into debt by one message."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._events, self._bytes = EVENTS_AT_ONCE, BYTES_AT_ONCE

    def took(self, size: int) -> None:
        """A message of so many bytes was read."""
        now = self._clock()
        passed, self._since = now - self._since, now
        self._events = min(EVENTS_AT_ONCE, self._events + passed * EVENTS_PER_S) - 1
        self._bytes = min(BYTES_AT_ONCE, self._bytes + passed * BYTES_PER_S) - size

    @property
    def wait(self) -> float:
        """Seconds until the next message may be read."""
        owed = max(-self._events / EVENTS_PER_S, -self._bytes / BYTES_PER_S, 0.0)
        return max(0.0, owed - (self._clock() - self._since))

    async def ready(self) -> None:
        """Returns when the next message may be read, and others have had their turn: thousands of small messages may
        have come in one piece, and reading those that are there never waits by itself."""
        await asyncio.sleep(0)
        while (wait := self.wait) > 0:  # noqa: ASYNC110 — the clock is the event
            await asyncio.sleep(wait)
