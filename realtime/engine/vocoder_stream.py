"""One reply on its way through the vocoder. The vocoder's thread only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realtime.engine.sequence import Tier
from realtime.errors import EngineError
from realtime.ports.engine import SPECULATIVE_SECONDS
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.vocoder import AudioChunk
from streaming_vocoder.streaming import StreamState
from streaming_vocoder.voice import Voice

MAX_LEAD_SECONDS = 20.0
"""Audio that a stream may hold which its listener has not taken yet."""

ASIDE_LEAD_SECONDS = 4.0
"""The same of a stream out of band: what waits for a slow reader takes memory."""

BROKEN_CHUNKS = 2
"""So many chunks in a row without a valid sample end a stream. The vocoder makes silence of one and begins anew."""

Delivery = AudioChunk | EngineError | None
"""A chunk, or how the stream ended: None in good order, an error when the vocoder failed."""


@dataclass(slots=True, eq=False)
class Stream:
    """One reply on its way through the service."""

    voice: Voice
    deliver: Callable[[Delivery], None]
    speculative: bool = False
    """It may not be wanted: not confirmed yet."""
    aside: bool = False
    """Out of band."""
    payer: Payer = NOBODY
    state: StreamState | None = None
    inbox: list[int] = field(default_factory=list)
    finished: bool = False
    closed: bool = False
    ended: bool = False
    """Its end has been delivered."""
    first_out: float | None = None
    last_push: float | None = None
    broken_before: int = 0
    """Broken chunks that the vocoder had reported before its latest chunk."""
    broken_in_row: int = 0
    given_seconds: float = 0.0
    taken_seconds: float = 0.0
    """Audio that the listener has taken."""

    def finish(self) -> None:
        self.finished = True

    def take(self, seconds: float) -> None:
        self.taken_seconds += seconds

    def take_tokens(self, count: int) -> list[int]:
        """The next ``count`` tokens."""
        tokens, self.inbox = self.inbox[:count], self.inbox[count:]
        return tokens

    def confirm(self, now: float) -> None:
        """Playback begins now, with what there is."""
        self.speculative = False
        self.last_push = None
        if self.first_out is not None:
            self.first_out = now

    def slack(self, now: float) -> float | None:
        """Seconds of audio handed out and not yet played, None before the first chunk."""
        if self.first_out is None:
            return None
        return self.given_seconds if self.speculative else self.first_out + self.given_seconds - now

    @property
    def running(self) -> StreamState:
        """Its state, which it has."""
        assert self.state is not None
        return self.state

    def check(self, samples: NDArray[np.float32]) -> None:
        """Raises `EngineError` when nobody should hear this chunk, nor wait for better ones."""
        broken = self.running.report.broken_chunks
        self.broken_in_row = self.broken_in_row + 1 if broken > self.broken_before else 0
        self.broken_before = broken
        if self.broken_in_row >= BROKEN_CHUNKS or not np.isfinite(samples).all():
            raise EngineError("its samples are not numbers")

    @property
    def tier(self) -> Tier:
        """Where it stands among the others."""
        if self.aside:
            return Tier.BESIDE
        return Tier.AHEAD if self.speculative else Tier.CONVERSATION

    @property
    def paused(self) -> bool:
        """As far ahead of its listener as it may be."""
        return self.playback_lead > _MOST_LEAD[self.tier]

    @property
    def playback_lead(self) -> float:
        """Seconds of audio handed out that the listener has not taken."""
        return self.given_seconds - self.taken_seconds


_MOST_LEAD = {
    Tier.CONVERSATION: MAX_LEAD_SECONDS,
    Tier.AHEAD: SPECULATIVE_SECONDS,
    Tier.BESIDE: ASIDE_LEAD_SECONDS,
}
