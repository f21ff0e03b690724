"""The rate at which one connection is read. Above it the server reads later: nothing is lost, the socket's buffers fill
and TCP slows the sender down. Other connections keep their share of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from realtime.session.token_bucket import TokenBucket

EVENTS_PER_S, EVENTS_AT_ONCE = 500.0, 1000.0
"""Audio in pieces of 10 ms is 100 events per second. The burst is for a client that replays its conversation."""
BYTES_PER_S, BYTES_AT_ONCE = 1.0 * 2**20, 24.0 * 2**20
"""The burst holds the largest message."""
AUDIO_WEIGHT = 4
"""A byte of appended audio counts as this many: a second of it takes 7 ms to decode and to look for speech in. PCM at
24 kHz in base64 is 64 kB per second, so 94 s of it may come at once, then it may arrive 4 times as fast as it plays."""


SETTINGS_WEIGHT = 32
"""A byte of a `session.update` or `response.create` counts as this many: 64 kB of tools are parsed, checked, echoed and
tokenized, which takes about 25 times as long as for audio. So 12 of these may come at once, then one every 2 s."""
LEAST_SETTINGS = 2048
"""Bytes that such a message counts as at least: a refused `response.create` of 150 bytes costs a millisecond. So 384
may come at once, then 16 a second."""


class RateLimiter:
    """The limits of one connection, in events and in bytes. A message may exceed what is available: the wait follows
    it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = TokenBucket(EVENTS_AT_ONCE, EVENTS_AT_ONCE / EVENTS_PER_S, clock)
        self._bytes = TokenBucket(BYTES_AT_ONCE, BYTES_AT_ONCE / BYTES_PER_S, clock)

    def took(self, size: int) -> None:
        """A message of ``size`` bytes was read."""
        self._events.spend(1)
        self._bytes.spend(size)

    def took_audio(self, size: int) -> None:
        """The message of ``size`` bytes, already counted, was appended audio."""
        self._bytes.spend(size * (AUDIO_WEIGHT - 1))

    def took_settings(self, size: int) -> None:
        """The message of ``size`` bytes, already counted, was a `session.update` or a `response.create`, or was
        refused."""
        self._bytes.spend(max(size, LEAST_SETTINGS) * SETTINGS_WEIGHT - size)

    @property
    def wait(self) -> float:
        """Seconds until the next message may be read."""
        return max(self._events.seconds_until(0), self._bytes.seconds_until(0))

    async def ready(self) -> bool:
        """Returns when the next message may be read and other tasks have run; gives whether it had to wait for that.
        Reading messages that are already in the buffer never waits by itself, and thousands of small ones may have come
        in one packet."""
        await asyncio.sleep(0)
        waited = False
        while (wait := self.wait) > 0:
            waited = True
            await asyncio.sleep(wait)
        return waited
