"""What one key may use: sessions at a time, responses a minute, audio an hour. No sockets, no tasks.

Rates are buckets that fill steadily: a key that was idle may use a whole minute's responses at once, and gets new ones
one by one. A limit of 0 is none. What a response needs beyond the quota is no error of the client's: the response fails
and says so. Audio beyond it ends the session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from realtime.protocol.events import RateLimit, RateLimitsUpdated

MINUTE, HOUR = 60.0, 3600.0
MAX_IDLE_KEYS = 10_000
"""Keys that are remembered while nothing of theirs runs. Without keys callers count by address, and those are many."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """Of each key. ``audio_seconds`` counts what is heard, silence too, and what is spoken."""

    sessions: int = 0
    responses_per_minute: int = 0
    audio_seconds_per_hour: float = 0.0


class _Bucket:
    """``capacity`` units that come back within ``period`` seconds. Without a capacity it is never empty."""

    def __init__(self, capacity: float, period: float, clock: Callable[[], float]) -> None:
        self.capacity = capacity
        self._rate = capacity / period
        self._clock = clock
        self._level = capacity
        self._since = clock()

    @property
    def level(self) -> float:
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._since) * self._rate)
        self._since = now
        return self._level

    @property
    def full_in(self) -> float:
        """Seconds until all of it is there again."""
        return (self.capacity - self.level) / self._rate if self._rate else 0.0

    def spend(self, units: float) -> None:
        """Take so many, down to a whole capacity of debt."""
        self._level = max(self.level - units, -self.capacity)

    def next_in(self, units: float) -> float:
        """Seconds until so many are there."""
        return max(0.0, (units - self.level) / self._rate) if self._rate else 0.0


class Quota:
    """One key's. Shared by its sessions."""

    def __init__(self, limits: QuotaLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or QuotaLimits()
        self.sessions = 0
        self._responses = _Bucket(self.limits.responses_per_minute, MINUTE, clock)
        self._audio = _Bucket(self.limits.audio_seconds_per_hour, HOUR, clock)

    @property
    def idle(self) -> bool:
        """Whether it is as good as new."""
        return not self.sessions and not self._responses.full_in and not self._audio.full_in

    @property
    def session_is_free(self) -> bool:
        return not self.limits.sessions or self.sessions < self.limits.sessions

    @contextmanager
    def session(self) -> Iterator[None]:
        """Counts one session while it is entered."""
        self.sessions += 1
        try:
            yield
        finally:
            self.sessions -= 1

    @property
    def audio_wait(self) -> float:
        """Seconds until some audio may be used again; 0: it may."""
        return 0.0 if self._audio.level > 0 else self._audio.next_in(1.0)

    @property
    def response_is_free(self) -> bool:
        """Whether a response that is asked for now would be made."""
        return not self._responses.next_in(1.0)

    def take_response(self) -> float:
        """Use one response. Gives 0, or the seconds to wait when there is none."""
        wait = self._responses.next_in(1.0)
        if not wait:
            self._responses.spend(1.0)
        return wait

    def spend_audio(self, seconds: float) -> None:
        """So much was heard or spoken."""
        self._audio.spend(seconds)

    def updated(self) -> RateLimitsUpdated | None:
        """What is left, for the client; None where nothing is limited."""
        limits = []
        if self._responses.capacity:
            limits.append(_shown("requests", self._responses))
        if self._audio.capacity:
            limits.append(_shown("audio_seconds", self._audio))
        return RateLimitsUpdated(rate_limits=tuple(limits)) if limits else None


class Quotas:
    """Every key's quota, by the key's name."""

    def __init__(self, limits: QuotaLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or QuotaLimits()
        self._clock = clock
        self._quotas: dict[str, Quota] = {}

    def of(self, key: str) -> Quota:
        """The quota of this key."""
        quota = self._quotas.get(key)
        if quota is None:
            self._make_room()
            quota = self._quotas[key] = Quota(self._limits, self._clock)
        return quota

    def _make_room(self) -> None:
        if len(self._quotas) < MAX_IDLE_KEYS:
            return
        kept = {name: quota for name, quota in self._quotas.items() if not quota.idle}
        unused = [name for name, quota in kept.items() if not quota.sessions]
        for name in unused[: max(0, len(kept) - MAX_IDLE_KEYS + 1)]:  # oldest first
            del kept[name]
        self._quotas = kept


def _shown(name: Literal["requests", "audio_seconds"], bucket: _Bucket) -> RateLimit:
    return RateLimit(
        name=name,
        limit=int(bucket.capacity),
        remaining=max(0, int(bucket.level)),
        reset_seconds=round(bucket.full_in, 3),
    )
