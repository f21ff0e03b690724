"""What a session's prompts may cost: seconds of prefill, as token buckets.

Fair shares keep others in time whatever a session asks for. Budgets bound what it asks for: who has used up a session's
gets no further reply until some of it has come back. Replies out of band count for their key as well.

A budget allows `BURST_SECONDS` of the model's time at once, but always some prompts that fill the context, and comes
back at `SESSION_SHARE` of the model's time. So it follows the machine: it is counted in ids as fast as they are read.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.engine.sequence import Job, Purpose, Tier
from realtime.ports.payer import Payer

BURST_SECONDS = 10.0
BURST_CONTEXTS = 4
SESSION_SHARE = 0.25
KEY_SHARE = 0.5
_MEASURED_IDS = 64
"""Shorter pieces do not show how long an id takes."""
_MOST_IDLE = 1000


class PrefillBudgets:
    """The budgets of all sessions and keys. ``clock``: seconds."""

    def __init__(self, context_ids: int, clock: Callable[[], float]) -> None:
        self._context_ids = context_ids
        self._clock = clock
        self._burst = BURST_SECONDS
        self._debts: dict[Payer, tuple[float, float]] = {}
        """What of a budget is used, and at what time."""

    def wait(self, job: Job) -> float:
        """Seconds until this reply may begin; 0: now."""
        if job.purpose is not Purpose.REPLY or job.request.options.background:
            return 0.0
        return max(0.0, *((self._debt(payer, share) - self._burst) / share for payer, share in _payers(job)))

    def charge(self, job: Job, ids: int, seconds: float) -> None:
        """A piece of ``ids`` of the job's prompt took so long."""
        if ids >= _MEASURED_IDS:
            self._burst = max(BURST_SECONDS, BURST_CONTEXTS * self._context_ids * seconds / ids)
        if job.request.options.background:
            return
        now = self._clock()
        for payer, share in _payers(job):
            self._debts[payer] = (self._debt(payer, share) + seconds, now)
        if len(self._debts) > _MOST_IDLE:
            self._debts = {payer: debt for payer, debt in self._debts.items() if self._debt(payer, KEY_SHARE) > 0}

    def _debt(self, payer: Payer, share: float) -> float:
        used, since = self._debts.get(payer, (0.0, 0.0))
        return max(0.0, used - (self._clock() - since) * share)


def _payers(job: Job) -> list[tuple[Payer, float]]:
    """Whose budgets it uses, and how fast they come back."""
    payers = [(job.payer, SESSION_SHARE)]
    if job.tier is Tier.BESIDE:
        payers.append((Payer("", job.payer.key), KEY_SHARE))
    return payers
