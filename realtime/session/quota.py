"""Quotas of an API key: sessions at a time, responses per minute, audio per hour. No sockets, no tasks.

Rates are token buckets: a key that was idle may use a whole minute's responses at once; after that they become
available one by one. A limit of 0 means no limit. Over quota, a response ends `failed` with `rate_limit_exceeded`, and
audio ends the session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from realtime.protocol.events import RateLimit, RateLimitsUpdated
from realtime.session.token_bucket import TokenBucket

MINUTE, HOUR = 60.0, 3600.0
KEY_SCHEMA_SECONDS, SCHEMA_PERIOD_S = 10.0, 50.0
"""CPU time for checks of one key's tool schemas: all at once, and refilled within the period. Usual schemas take 1 to
5 ms, and nothing when they come again."""

MAX_IDLE_KEYS = 10_000
"""Idle keys whose spending is remembered. Without API keys the client's address is the key, so a scan of the port would
grow the table without bound."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """Limits of each key. ``audio_seconds_per_hour`` counts input audio, silence included, and output audio."""

    sessions: int = 0
    responses_per_minute: int = 0
    audio_seconds_per_hour: float = 0.0
    out_of_band: int = 0
    """Responses out of band at a time."""


class Quota:
    """The quota of one key, shared by its sessions."""

    def __init__(
        self, limits: QuotaLimits | None = None, clock: Callable[[], float] = time.monotonic, key: str = ""
    ) -> None:
        """``key``: the name of the key, which is no secret."""
        self.key = key
        self.limits = limits or QuotaLimits()
        self.sessions = 0
        self._out_of_band = 0
        responses, audio = self.limits.responses_per_minute, self.limits.audio_seconds_per_hour
        self._responses = TokenBucket(responses, MINUTE, clock, max_debt=responses)
        self._audio = TokenBucket(audio, HOUR, clock, max_debt=audio)
        self._schemas = TokenBucket(KEY_SCHEMA_SECONDS, SCHEMA_PERIOD_S, clock, max_debt=KEY_SCHEMA_SECONDS)

    @property
    def idle(self) -> bool:
        """Whether nothing is in use and all buckets are full: forgetting it then loses nothing."""
        buckets = (self._responses, self._audio, self._schemas)
        return not self.sessions and not any(bucket.seconds_until_full for bucket in buckets)

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
    def out_of_band_is_free(self) -> bool:
        """Whether one more response out of band may be made now."""
        return not self.limits.out_of_band or self._out_of_band < self.limits.out_of_band

    def count_out_of_band(self, step: int) -> None:
        """So many more responses out of band are being made."""
        self._out_of_band += step

    @property
    def audio_wait(self) -> float:
        """Seconds until audio may be used again; 0: now."""
        return 0.0 if self._audio.level > 0 else self._audio.seconds_until(1.0)

    @property
    def response_is_free(self) -> bool:
        """Whether a response requested now would be within the quota."""
        return not self._responses.seconds_until(1.0)

    def take_response(self) -> float:
        """Use one response. Gives 0, or the seconds until one is available."""
        wait = self._responses.seconds_until(1.0)
        if not wait:
            self._responses.spend(1.0)
        return wait

    def spend_audio(self, seconds: float) -> None:
        """Count ``seconds`` of input or output audio."""
        self._audio.spend(seconds)

    @property
    def schema_seconds(self) -> float:
        """CPU time that checks of schemas may take now."""
        return self._schemas.level

    def spend_schema(self, seconds: float) -> None:
        """A check of a schema took so much CPU time."""
        self._schemas.spend(seconds)

    def updated(self) -> RateLimitsUpdated | None:
        """The `rate_limits.updated` event; None where nothing is limited."""
        limits = []
        if self._responses.capacity:
            limits.append(_shown("requests", self._responses))
        if self._audio.capacity:
            limits.append(_shown("audio_seconds", self._audio))
        return RateLimitsUpdated(rate_limits=tuple(limits)) if limits else None


class Quotas:
    """The quotas of all keys, by the key's name."""

    def __init__(self, limits: QuotaLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or QuotaLimits()
        self._clock = clock
        self._quotas: dict[str, Quota] = {}

    def of(self, key: str) -> Quota:
        """The quota of this key."""
        quota = self._quotas.get(key)
        if quota is None:
            self._make_room()
            quota = self._quotas[key] = Quota(self._limits, self._clock, key)
        return quota

    def _make_room(self) -> None:
        if len(self._quotas) < MAX_IDLE_KEYS:
            return
        kept = {name: quota for name, quota in self._quotas.items() if not quota.idle}
        unused = [name for name, quota in kept.items() if not quota.sessions]
        for name in unused[: max(0, len(kept) - MAX_IDLE_KEYS + 1)]:  # oldest first
            del kept[name]
        self._quotas = kept


def _shown(name: Literal["requests", "audio_seconds"], bucket: TokenBucket) -> RateLimit:
    return RateLimit(
        name=name,
        limit=int(bucket.capacity),
        remaining=max(0, int(bucket.level)),
        reset_seconds=round(bucket.seconds_until_full, 3),
    )
