"""What a hostile connection can take of the event loop, in virtual time: its messages are read as the pace allows, and
handling one costs a millisecond and 0.1 µs for each byte (an update with 4 tools of 2,000 properties: 24 ms). A second
of audio costs 7 ms."""

from __future__ import annotations

import json

import pytest

from realtime.transports.websocket.rate_limit import RateLimiter
from tests.fakes import FakeClock

MANY_PROPERTIES = len(
    json.dumps(
        [
            {"name": f"f{n}", "parameters": {"properties": {f"p{k}": {"type": "string"} for k in range(2000)}}}
            for n in range(4)
        ]
    )
)


SHARE = 0.035
"""Of the event loop's time, for one connection in the long run."""
AUDIO_BYTES_PER_S = 64_000
"""PCM at 24 kHz in base64."""


class Connection:
    """One hostile connection that always has the next message ready."""

    def __init__(self, size: int, *, audio: bool = False) -> None:
        self._audio = audio
        self.now = 0.0
        self.busy = 0.0
        self._size = size
        self._pace = RateLimiter(lambda: self.now)

    def run(self, seconds: float) -> float:
        """Part of the event loop's time that it took."""
        until, before = self.now + seconds, self.busy
        while self.now < until:
            if (wait := self._pace.wait) > 0:
                self.now += max(wait, 0.0001)
                continue
            self._pace.took(self._size)
            if self._audio:
                self._pace.took_audio(self._size)
                cost = 0.007 * self._size / AUDIO_BYTES_PER_S
            else:
                self._pace.took_settings(self._size)
                cost = 0.001 + 1e-7 * self._size
            self.now, self.busy = self.now + cost, self.busy + cost
        return (self.busy - before) / (self.now - until + seconds)


@pytest.mark.parametrize("size", [50, 150, 2_000, 64_000, MANY_PROPERTIES])
def test_a_connections_settings_take_little_of_the_loop(size: int) -> None:
    connection = Connection(size)
    connection.run(5.0)  # its burst
    assert connection.run(60.0) <= SHARE


@pytest.mark.parametrize("size", [50, 150, 2_000, 64_000, MANY_PROPERTIES])
def test_the_burst_of_a_connection_is_short(size: int) -> None:
    connection = Connection(size)
    connection.run(5.0)
    assert connection.busy <= 0.6


@pytest.mark.parametrize("seconds", [0.01, 1.0, 60.0])
def test_noise_faster_than_speech_takes_little_too(seconds: float) -> None:
    connection = Connection(int(seconds * AUDIO_BYTES_PER_S), audio=True)
    connection.run(5.0)
    assert connection.busy <= 1.0
    connection.run(60.0)  # small pieces take longer to use up what may come at once
    assert connection.run(120.0) <= SHARE


def test_audio_as_fast_as_speech_never_waits() -> None:
    clock = FakeClock()
    pace = RateLimiter(clock)
    for _ in range(100_000):
        pace.took(1380)
        pace.took_audio(1380)
        clock.now += 0.01
        assert pace.wait == 0
