"""How many tokens the next chunk should have: small for the first sound, large once playback has a lead.

Small chunks cost more compute per second of sound and have more seams, so each is as large as playback can wait for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from streaming_vocoder.config import TOKEN_RATE
from streaming_vocoder.errors import OptionError
from streaming_vocoder.hift_stream import SEAM_SECONDS

MIN_CHUNK_TOKENS = 4
"""A shorter chunk (but the last) has less than the 160 ms that a seam takes; its tokens wait for the next
call."""
MAX_CHUNK_TOKENS = 200
"""A longer one is cut, so that memory stays bounded whatever the caller passes."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """How fast things come about, in seconds: a token, and a chunk of n tokens in ``chunk + n * chunk_per_token``."""

    token: float
    chunk: float
    chunk_per_token: float

    def seconds(self, tokens: int, waiting: int) -> float:
        """From now until a chunk of ``tokens`` is out, ``waiting`` of whose tokens are still to be made."""
        return max(waiting, 0) * self.token + self.chunk + tokens * self.chunk_per_token


@dataclass(frozen=True, slots=True)
class ChunkSchedule:
    """Chunk sizes in tokens, ascending. Raises `OptionError` for others."""

    rungs: tuple[int, ...] = (5, 10, 25)

    def __post_init__(self) -> None:
        rungs = self.rungs
        ascending = all(low < high for low, high in pairwise(rungs))
        if not rungs or not ascending or rungs[0] < MIN_CHUNK_TOKENS or rungs[-1] > MAX_CHUNK_TOKENS:
            expected = f"chunks of {MIN_CHUNK_TOKENS} to {MAX_CHUNK_TOKENS} tokens, each larger than the one before"
            raise OptionError("ladder", f"got {self or 'nothing'}, expected {expected}")

    def __str__(self) -> str:
        return " → ".join(map(str, self.rungs))

    def choose(self, slack_seconds: float | None, pace: CostModel, buffered: int = 0) -> int:
        """Tokens of the next chunk.

        ``slack_seconds``: sound handed out and not yet played, None before the first chunk.
        ``buffered``: tokens that the stream already holds beyond its look-ahead (`StreamState.buffered`).
        """
        return self._first(pace) if slack_seconds is None else self._later(slack_seconds, pace, buffered)

    def _first(self, pace: CostModel) -> int:
        """The smallest rung whose sound lasts until the next chunk is out.

        (The first chunk gives 160 ms less sound than it has tokens for: they are held back for the seam.)
        """
        smallest = self.rungs[0]
        needed = pace.seconds(smallest, smallest)
        lasting = (rung for rung in self.rungs if rung / TOKEN_RATE - SEAM_SECONDS >= needed)
        return next(lasting, smallest)

    def _later(self, slack_seconds: float, pace: CostModel, buffered: int) -> int:
        """The largest rung that is out before playback runs dry; the smallest when none is."""
        in_time = [rung for rung in self.rungs if pace.seconds(rung, rung - buffered) <= slack_seconds]
        return max(in_time, default=self.rungs[0])
