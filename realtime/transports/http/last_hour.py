"""The server's figures minute by minute over the last hour, in bounded memory: 60 records of fixed size, whatever the
traffic.

Times to the first audio are counted in buckets of equal ratio, so a quantile is exact to one bucket (6 %) from 50 ms
to 10 s. Real-time factors are weighted by audio: compute time of the minute over audio time of the minute.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MINUTES = 60
BUCKETS_PER_DECADE = 40
FIRST_BOUND_MS, LAST_BOUND_MS = 50.0, 10_000.0


def _bounds() -> tuple[float, ...]:
    ratio = 10 ** (1 / BUCKETS_PER_DECADE)
    bounds = [FIRST_BOUND_MS]
    while bounds[-1] < LAST_BOUND_MS * 0.99:
        bounds.append(bounds[-1] * ratio)
    return tuple(round(bound, 1) for bound in bounds)


BOUNDS_MS = _bounds()
"""Upper ends of the buckets; one more bucket holds what is longer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment. ``loop_lag_s``: the event loop's greatest delay since the last sample."""

    sessions: int
    waiting: int
    memory_bytes: int
    loop_lag_s: float


@dataclass(slots=True)
class Minute:
    """Counts of one minute. ``number``: minutes of the monotonic clock. Of samples, the greatest values count."""

    number: int
    first_audio: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    replies: int = 0
    failed: int = 0
    chunks: int = 0
    late_chunks: int = 0
    errors: int = 0
    admitted: int = 0
    refused: int = 0
    audio_s: float = 0.0
    decode_s: float = 0.0
    vocoder_s: float = 0.0
    sample: Sample | None = None


class LastHour:
    """The minutes of the last hour. One thread only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)

    @property
    def minute(self) -> Minute:
        """That of now, to count in."""
        number = int(self._clock() // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(Minute(number))
        return self._minutes[-1]

    def reply_measured(self, summary: Mapping[str, float | None]) -> None:
        """Add a reply: `realtime.metrics.ReplyTrace.summary`."""
        minute = self.minute
        minute.replies += 1
        minute.chunks += int(summary.get("chunks") or 0)
        minute.late_chunks += int(summary.get("late_chunks") or 0)
        audio_s = (summary.get("audio_ms") or 0.0) / 1000
        minute.audio_s += audio_s
        minute.decode_s += (summary.get("decoder_rtf") or 0.0) * audio_s
        minute.vocoder_s += (summary.get("vocoder_rtf") or 0.0) * audio_s
        if (total_ms := summary.get("total_ms")) is not None and audio_s:
            minute.first_audio[bisect_left(BOUNDS_MS, total_ms)] += 1

    def sampled(self, sample: Sample) -> None:
        """Note the state of the process; the minute keeps the greatest of each value."""
        minute, known = self.minute, self.minute.sample
        if known is not None:
            sample = Sample(
                max(known.sessions, sample.sessions),
                max(known.waiting, sample.waiting),
                max(known.memory_bytes, sample.memory_bytes),
                max(known.loop_lag_s, sample.loop_lag_s),
            )
        minute.sample = sample

    def report(self) -> dict[str, Any]:
        """For the operator, as JSON: totals, the histogram of the first audio, and series of 60 minutes, oldest first;
        None where there is nothing to say of a minute."""
        now = int(self._clock() // 60)
        known = {minute.number: minute for minute in self._minutes if minute.number > now - MINUTES}
        minutes = [known.get(number) or Minute(number) for number in range(now - MINUTES + 1, now + 1)]
        histogram = _sum_each(minute.first_audio for minute in minutes)
        return {
            "first_audio": {
                "bounds_ms": BOUNDS_MS,
                "counts": histogram,
                "count": sum(histogram),
                "p50_ms": quantile(histogram, 0.5),
                "p95_ms": quantile(histogram, 0.95),
            },
            "decoder_rtf": _ratio(sum(one.decode_s for one in minutes), sum(one.audio_s for one in minutes)),
            "vocoder_rtf": _ratio(sum(one.vocoder_s for one in minutes), sum(one.audio_s for one in minutes)),
            "series": {
                **{
                    name: [getattr(one, name) for one in minutes]
                    for name in ("replies", "failed", "chunks", "late_chunks", "errors", "admitted", "refused")
                },
                "first_audio_p50_ms": [quantile(one.first_audio, 0.5) for one in minutes],
                "first_audio_p95_ms": [quantile(one.first_audio, 0.95) for one in minutes],
                "decoder_rtf": [_ratio(one.decode_s, one.audio_s) for one in minutes],
                "vocoder_rtf": [_ratio(one.vocoder_s, one.audio_s) for one in minutes],
                "sessions": [one.sample.sessions if one.sample else None for one in minutes],
                "waiting": [one.sample.waiting if one.sample else None for one in minutes],
                "memory_bytes": [one.sample.memory_bytes if one.sample else None for one in minutes],
                "loop_lag_ms": [round(one.sample.loop_lag_s * 1000, 1) if one.sample else None for one in minutes],
            },
        }


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The time in ms below which so much of the ``counts`` (by `BOUNDS_MS`) lies, linear within a bucket; None without
    any. What is beyond the last bound counts as that bound."""
    wanted = sum(counts) * share
    if not wanted:
        return None
    below = 0
    for index, count in enumerate(counts[:-1]):
        if count and below + count >= wanted:
            lower = BOUNDS_MS[index - 1] if index else 0.0
            return round(lower + (BOUNDS_MS[index] - lower) * (wanted - below) / count, 1)
        below += count
    return BOUNDS_MS[-1]


def _sum_each(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 3) if whole else None
