"""What a hostile connection can take of the event loop, in virtual time: its messages are read as the pace allows, and
handling one costs a millisecond and 0.1 µs for each byte (an update with 4 tools of 2,000 properties: 24 ms)."""

from __future__ import annotations

import json

import pytest

from realtime.transports.websocket.rate_limit import RateLimiter

MANY_PROPERTIES = len(
    json.dumps(
        [
            {"name": f"f{n}", "parameters": {"properties": {f"p{k}": {"type": "string"} for k in range(2000)}}}
            for n in range(4)
        ]
    )
)


class Connection:
    """One hostile connection that always has the next message ready."""

    def __init__(self, size: int) -> None:
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
            self._pace.took_settings(self._size)
            cost = 0.001 + 1e-7 * self._size
            self.now, self.busy = self.now + cost, self.busy + cost
        return (self.busy - before) / (self.now - until + seconds)


@pytest.mark.parametrize("size", [50, 150, 2_000, 64_000, MANY_PROPERTIES])
def test_a_connections_settings_take_little_of_the_loop(size: int) -> None:
    connection = Connection(size)
    connection.run(5.0)  # its burst
    assert connection.run(60.0) <= 0.03


@pytest.mark.parametrize("size", [50, 150, 2_000, 64_000, MANY_PROPERTIES])
def test_the_burst_of_a_connection_is_short(size: int) -> None:
    connection = Connection(size)
    connection.run(5.0)
    assert connection.busy <= 0.6
