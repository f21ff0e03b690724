"""Which streams the vocoder works on next: as `realtime.engine.scheduler` decides it for the model.

Streams of conversations that run out of sound go first, all in one call as far as that is short. Then come those with
sound in hand, then what is made ahead, then replies out of band. Within each tier the vocoder's time is shared equally
by keys, and each key's by its sessions. A call for anything that is not urgent is short: whoever comes meanwhile waits
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from realtime.engine.fair_shares import FairShares
from realtime.engine.sequence import Tier
from realtime.ports.payer import Payer

S = TypeVar("S")

CALL_SECONDS = 0.3
"""The longest call for urgent chunks, if there is more than one."""
SLICE_SECONDS = 0.12
"""The same for others."""
COMPANY = 1.25
"""A call for urgent chunks may take so much longer for the sake of others."""
PATIENCE_SECONDS = 1.0
"""After so long without, what is out of band gets a chunk, whatever is urgent."""
_OVERHEAD_TOKENS = 2
"""What a call costs beside its tokens, in tokens."""
_FIRST_TOKEN_SECONDS = 0.005
"""Before anything was measured."""
_ADAPTION = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Chunk(Generic[S]):
    """The next chunk of a stream: so many tokens, the ``last`` or not."""

    stream: S
    tier: Tier
    payer: Payer
    urgent: bool
    tokens: int
    last: bool


class ChunkQueue(Generic[S]):
    """Chooses; remembers who has used how much, and what calls have cost."""

    def __init__(self) -> None:
        self._shares = {tier: FairShares() for tier in Tier}
        self._token_seconds: dict[int, float] = {}
        """Of a call, for each token of its longest chunk, by the number of chunks."""
        self._passed_over_since: float | None = None
        self.urgent = False
        """Whether the last choice was for an urgent chunk."""
        self.holds_back = False
        """Whether the last choice left something undone for the sake of others."""

    def choose(
        self, chunks: Sequence[Chunk[S]], now: float, *, waiting: bool = False, pressed: bool = False
    ) -> list[Chunk[S]]:
        """The chunks of the next call; none when there is nothing to do now.

        ``waiting``: a conversation waits for sound, whose tokens are still to come. ``pressed``: somebody else has
        urgent work for the same processor.
        """
        urgent = [chunk for chunk in chunks if chunk.tier is Tier.CONVERSATION and chunk.urgent]
        calm = [chunk for chunk in chunks if chunk.tier is Tier.CONVERSATION and not chunk.urgent]
        ahead = [chunk for chunk in chunks if chunk.tier is Tier.AHEAD]
        beside = [chunk for chunk in chunks if chunk.tier is Tier.BESIDE]
        self.urgent, self.holds_back = bool(urgent), False
        if self._out_of_patience(beside, now):
            return self._first(Tier.BESIDE, beside, SLICE_SECONDS)
        if urgent:
            return self._with_company(self._first(Tier.CONVERSATION, urgent, CALL_SECONDS), calm)
        if pressed and chunks:
            self.holds_back = True
            return []
        if calm:
            return self._first(Tier.CONVERSATION, calm, CALL_SECONDS)
        if waiting:
            self.holds_back = bool(beside)
            return []
        if ahead:
            return self._first(Tier.AHEAD, ahead, SLICE_SECONDS)
        self._passed_over_since = None
        return self._first(Tier.BESIDE, beside, SLICE_SECONDS) if beside else []

    def made(self, chunks: Sequence[Chunk[S]], seconds: float) -> None:
        """A call for these took so long."""
        count, tokens = len(chunks), max(chunk.tokens for chunk in chunks) + _OVERHEAD_TOKENS
        known = self._token_seconds.get(count, seconds / tokens)
        self._token_seconds[count] = known + _ADAPTION * (seconds / tokens - known)
        for chunk in chunks:
            self._shares[chunk.tier].charge(chunk.payer, seconds / count)

    def _out_of_patience(self, beside: Sequence[Chunk[S]], now: float) -> bool:
        if not beside:
            self._passed_over_since = None
            return False
        if self._passed_over_since is None:
            self._passed_over_since = now
        if now - self._passed_over_since < PATIENCE_SECONDS:
            return False
        self._passed_over_since = None
        return True

    def _first(self, tier: Tier, chunks: Sequence[Chunk[S]], limit_s: float) -> list[Chunk[S]]:
        """Those whose turn it is, as many as a call of ``limit_s`` seconds holds; at least one."""
        shares = self._shares[tier]
        shares.contend(chunk.payer for chunk in chunks)
        ordered = sorted(chunks, key=lambda chunk: shares.used(chunk.payer))
        chosen = ordered[:1]
        for chunk in ordered[1:]:
            if self._seconds([*chosen, chunk]) > limit_s:
                break
            chosen.append(chunk)
        return chosen

    def _with_company(self, chosen: list[Chunk[S]], calm: Sequence[Chunk[S]]) -> list[Chunk[S]]:
        together = [*chosen, *calm]
        known = len(together) in self._token_seconds
        limit_s = COMPANY * self._seconds(chosen) if known else CALL_SECONDS  # once, to know what it costs
        return together if self._seconds(together) <= limit_s else chosen

    def _seconds(self, chunks: Sequence[Chunk[S]]) -> float:
        """What a call for these will take. As long as that is not known: no more than a call for more chunks, and no
        more than one by one."""
        count, known = len(chunks), self._token_seconds
        estimates = [known[other] * max(1.0, count / other) for other in known]
        token_seconds = known.get(count) or min(estimates, default=_FIRST_TOKEN_SECONDS * count)
        return token_seconds * (max(chunk.tokens for chunk in chunks) + _OVERHEAD_TOKENS)
