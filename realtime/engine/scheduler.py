"""What the model does next: which job is prefilled, which are decoded. No tensors, no clock.

Running replies come first, and no waiting caller starves: rounds alternate between one decode step for every running
reply and one bounded piece of prefill for the job that has waited longest, background jobs last. Prefetches are hints
and run only when no reply waits for its prompt.

Speculative replies run only while the machine has slack: no confirmed reply waits, and each has more speech in hand
than playback will use up soon. Then they go before the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realtime.engine.sequence import Job, Purpose


@dataclass(frozen=True, slots=True)
class Decode:
    """One step for each of these jobs."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Prefill:
    """Start this job, or the next piece of its prompt."""

    job: Job


class Scheduler:
    """Chooses; remembers only whose turn it is."""

    def __init__(self) -> None:
        self._prefill_next = True

    def choose(self, jobs: Sequence[Job], *, has_slack: bool = True) -> Decode | Prefill | None:
        """The next thing to do for these jobs (oldest first); None when there is nothing."""
        wanted = [job for job in jobs if job.purpose is not Purpose.SPECULATIVE or (has_slack and not job.paused)]
        decoding = tuple(job for job in wanted if job.state is not None)
        waiting = [job for job in wanted if job.state is None and job.purpose is not Purpose.PREFETCH]
        waiting.sort(key=_rank)
        hints = [job for job in wanted if job.state is None and job.purpose is Purpose.PREFETCH]
        prefill = next(iter(waiting), None) or (next(iter(hints), None) if not decoding else None)
        if decoding and (prefill is None or not self._prefill_next):
            self._prefill_next = True
            return Decode(decoding)
        if prefill is not None:
            self._prefill_next = False
            return Prefill(prefill)
        return None


def _rank(job: Job) -> int:
    """Of two that wait, the one with the smaller rank is prefilled first."""
    if job.request.options.background:
        return 2
    return 0 if job.purpose is Purpose.REPLY else 1
