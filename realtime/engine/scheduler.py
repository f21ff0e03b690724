"""What the model does next: which job is prefilled, which are decoded. No tensors, no clock.

Jobs have tiers. Replies in conversations come first while they are urgent: until they have `URGENT_SECONDS` of speech
more than playback has used. Only then come the others: replies and prompts that are made ahead (speculation and
prefetches), and what runs beside the conversations (out-of-band replies, transcripts). These delay a spoken reply only
by the step that is under way, and that step is short (`SLICE_SECONDS`).

Within a tier the machine's time is shared equally by keys, and each key's by its sessions (`FairShares`), in seconds of
computing: a long prompt costs more than a short one, and sixteen replies of a session no less than sixteen times one.
Jobs of one session alternate between decoding and prefill.

What runs beside the conversations gets a step when it was passed over for `PATIENCE_SECONDS` and `PATIENCE_STEPS`,
whatever is urgent: it is slow where the machine is overloaded, but it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from realtime.engine.fair_shares import FairShares
from realtime.engine.sequence import Job, Purpose, Tier

PATIENCE_SECONDS = 1.0
PATIENCE_STEPS = 20
SLICE_SECONDS = 0.05
"""The longest step for what is not urgent: the longest that an urgent reply waits for it."""
SHARE_LEAD_SECONDS = 0.25
"""How much more of the machine a key or a session may have used and still be decoded beside the others: decoding
together costs less than one by one."""
COMPANY = 1.25
"""A step may take so much longer for the sake of replies that are not urgent."""
_ADAPTION = 0.2
"""Weight of the newest measurement."""


@dataclass(frozen=True, slots=True)
class Decode:
    """One step for each of these jobs."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Prefill:
    """Start this job, or the next piece of its prompt: so many ids at most."""

    job: Job
    most: int


class Scheduler:
    """Chooses; remembers who has used how much, and what steps have cost. ``prefill_ids``: the longest piece of a
    prompt."""

    def __init__(self, prefill_ids: int) -> None:
        self._prefill_ids = prefill_ids
        self._shares = {tier: FairShares() for tier in Tier}
        self._prefill_next = True
        self._beside_since: float | None = None
        self._beside_steps = 0
        self._step_seconds: dict[int, float] = {}
        """Of a decoding step, by the number of its jobs."""
        self._prefill_id_seconds = 0.0
        self.urgent = False
        """Whether a reply in a conversation was urgent at the last choice."""
        self.holds_back = False
        """Whether the last choice left something undone for the sake of urgent replies elsewhere."""

    def choose(self, jobs: Sequence[Job], now: float, pressed: bool = False) -> Decode | Prefill | None:
        """The next thing to do for these jobs (oldest first); None when there is nothing.

        ``pressed``: somebody else has urgent work for the same processor, so that only urgent work is done here.
        """
        wanted = [job for job in jobs if not job.paused]
        urgent = [job for job in wanted if job.urgent(now)]
        ahead = [job for job in wanted if job.tier is Tier.AHEAD]
        beside = [job for job in wanted if job.tier is Tier.BESIDE]
        calm = [job for job in wanted if job.tier is Tier.CONVERSATION and job not in urgent]
        self.urgent, self.holds_back = bool(urgent), False
        if self._out_of_patience(beside, now):
            return self._serve(Tier.BESIDE, beside, ())
        if urgent:
            return self._serve(Tier.CONVERSATION, urgent, calm)
        if pressed and (ahead or beside or calm):
            self.holds_back = True
            return None
        if ahead:
            return self._serve(Tier.AHEAD, ahead, calm)
        if beside:
            self._beside_since = None
            return self._serve(Tier.BESIDE, beside, calm)
        return self._serve(Tier.CONVERSATION, calm, ()) if calm else None

    def decoded(self, jobs: Sequence[Job], seconds: float) -> None:
        """A step for these jobs took so long."""
        known = self._step_seconds.get(len(jobs), seconds)
        self._step_seconds[len(jobs)] = known + _ADAPTION * (seconds - known)
        for job in jobs:
            self._shares[job.tier].charge(job.payer, seconds / len(jobs))

    def prefilled(self, job: Job, ids: int, seconds: float) -> None:
        """A piece of ``ids`` of a prompt, or another step of a job that is not decoded yet (0), took so long."""
        if ids:
            known = self._prefill_id_seconds or seconds / ids
            self._prefill_id_seconds = known + _ADAPTION * (seconds / ids - known)
        self._shares[job.tier].charge(job.payer, seconds)

    def places(self, jobs: Iterable[Job], running: Iterable[Job]) -> list[Job]:
        """Jobs that wait for a KV cache, in the order in which they are to get one: conversations first, then who has
        fewest. ``running``: those that have one."""
        held: dict[str, int] = {}
        for job in running:
            held[job.payer.session] = held.get(job.payer.session, 0) + 1
        return sorted(jobs, key=lambda job: (job.tier, held.get(job.payer.session, 0) if job.tier else 0))

    def _out_of_patience(self, beside: Sequence[Job], now: float) -> bool:
        """Whether what runs beside the conversations has waited long enough; counts the steps since it was served."""
        if not beside:
            self._beside_since = None
            return False
        if self._beside_since is None:
            self._beside_since, self._beside_steps = now, 0
        if now - self._beside_since < PATIENCE_SECONDS or self._beside_steps < PATIENCE_STEPS:
            self._beside_steps += 1
            return False
        self._beside_since = None
        return True

    def _serve(self, tier: Tier, contenders: Sequence[Job], company: Sequence[Job]) -> Decode | Prefill:
        """``company``: jobs that are decoded as well where that costs little."""
        shares = self._shares[tier]
        shares.contend(job.payer for job in contenders)
        first = min(contenders, key=lambda job: (*shares.used(job.payer), *self._turn(job)))
        self._prefill_next = first.state is not None
        short = tier is not Tier.CONVERSATION
        if first.state is None:
            return Prefill(first, self._short_piece() if short else self._prefill_ids)
        batch = [job for job in contenders if job.state is not None]
        batch = [job for job in batch if shares.excess(job.payer) <= SHARE_LEAD_SECONDS]
        if short:
            batch.sort(key=lambda job: shares.used(job.payer))
            batch = batch[: self._short_batch(len(batch))]
        company = [job for job in company if job.state is not None]
        if company and not short and not self._costs_little(len(batch), len(batch) + len(company)):
            company = []
        return Decode((*batch, *company))

    def _turn(self, job: Job) -> tuple[bool, int]:
        """Of jobs that are equal otherwise: decoding and prefill take turns, hints and the background wait."""
        rank = 2 * (job.purpose is Purpose.PREFETCH) + job.request.options.background
        return (job.state is None) is not self._prefill_next, rank

    def _short_piece(self) -> int:
        if not self._prefill_id_seconds:
            return self._prefill_ids
        return max(16, min(self._prefill_ids, int(SLICE_SECONDS / self._prefill_id_seconds)))

    def _short_batch(self, most: int) -> int:
        """The largest batch whose step is short, as far as that is known."""
        known = [n for n, seconds in self._step_seconds.items() if n <= most and seconds > SLICE_SECONDS]
        return max(1, min(known) - 1) if known else most

    def _costs_little(self, few: int, many: int) -> bool:
        """Whether a step for ``many`` jobs takes hardly longer than for ``few``; True as long as it is not known."""
        known = self._step_seconds
        return few not in known or many not in known or known[many] <= COMPANY * known[few]
