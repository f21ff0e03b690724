"""What the model does next: which job is prefilled, which are decoded. No tensors, no clock.

Rules: replies that are being spoken come first, but a waiting caller never starves. So rounds alternate: one decode
step for every running reply, then one bounded piece of prefill for the job that has waited longest, those in the
background last; prefetches (hints) run only when no reply waits for its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realtime.engine.sequence import Job


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

    def choose(self, jobs: Sequence[Job]) -> Decode | Prefill | None:
        """The next thing to do for these jobs (oldest first); None when there is nothing."""
        decoding = tuple(job for job in jobs if job.state is not None)
        waiting = [job for job in jobs if job.state is None and not job.speculative]
        waiting.sort(key=lambda job: job.request.background)
        hints = [job for job in jobs if job.state is None and job.speculative]
        prefill = next(iter(waiting), None) or (next(iter(hints), None) if not decoding else None)
        if decoding and (prefill is None or not self._prefill_next):
            self._prefill_next = True
            return Decode(decoding)
        if prefill is not None:
            self._prefill_next = False
            return Prefill(prefill)
        return None
