"""A token bucket: the rate limit behind quotas and behind the reading of sockets. No tasks, no sleeping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class TokenBucket:
    """``capacity`` units that refill steadily within ``period_s`` seconds. A capacity of 0 means no limit.

    The bucket starts full. It goes into debt, by at most ``max_debt`` units, where work is charged after it was done.
    """

    def __init__(
        self,
        capacity: float,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_debt: float = math.inf,
    ) -> None:
        """``clock``: seconds, monotonic."""
        self.capacity = capacity
        self._max_debt = max_debt
        self._rate = capacity / period_s
        self._clock = clock
        self._level = capacity
        self._updated_at = clock()

    @property
    def level(self) -> float:
        """Units available now; negative in debt."""
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._updated_at) * self._rate)
        self._updated_at = now
        return self._level

    def spend(self, units: float) -> None:
        """Take ``units``, whether they are available or not."""
        self._level = max(self.level - units, -self._max_debt)

    def seconds_until(self, level: float) -> float:
        """Seconds until ``level`` units are available; 0: now."""
        return max(0.0, (level - self.level) / self._rate) if self._rate else 0.0

    @property
    def seconds_until_full(self) -> float:
        return self.seconds_until(self.capacity)
