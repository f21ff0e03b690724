"""Chooses the length of the next chunk: short for the first audio, longer as playback has a lead.

Short chunks cost more compute per second of audio and have more seams, so each chunk is as long as playback allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from streaming_vocoder.config import TOKEN_RATE
from streaming_vocoder.errors import OptionError
from streaming_vocoder.hift_stream import SEAM_SECONDS

MIN_CHUNK_TOKENS = 4
"""A shorter chunk (except the last) has less than the 160 ms of a seam; its tokens are kept for the next call."""
MAX_CHUNK_TOKENS = 200
"""A longer chunk is split, so that memory stays bounded for any input."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """Times in seconds: ``token`` to generate a token, ``chunk + n * chunk_per_token`` to vocode a chunk of n
    tokens."""

    token: float
    chunk: float
    chunk_per_token: float

    def seconds(self, tokens: int, waiting: int) -> float:
        """Time until a chunk of ``tokens`` is done, ``waiting`` of whose tokens are not generated yet."""
        return max(waiting, 0) * self.token + self.chunk + tokens * self.chunk_per_token


@dataclass(frozen=True, slots=True)
class ChunkSchedule:
    """Chunk lengths in tokens (rungs), ascending. Raises `OptionError` for invalid ones."""

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
        """The length of the next chunk in tokens.

        ``slack_seconds``: audio that was handed out and not yet played; None before the first chunk. ``buffered``:
        tokens that the stream already has beyond its look-ahead (`StreamState.buffered`).
        """
        return self._first(pace) if slack_seconds is None else self._later(slack_seconds, pace, buffered)

    def _first(self, pace: CostModel) -> int:
        """The smallest rung whose audio lasts until the next chunk is done.

        The first chunk gives 160 ms less audio than its tokens last: that much is held back for the seam.
        """
        smallest = self.rungs[0]
        needed = pace.seconds(smallest, smallest)
        lasting = (rung for rung in self.rungs if rung / TOKEN_RATE - SEAM_SECONDS >= needed)
        return next(lasting, smallest)

    def _later(self, slack_seconds: float, pace: CostModel, buffered: int) -> int:
        """The largest rung that is done before playback runs out of audio; the smallest if none is."""
        in_time = [rung for rung in self.rungs if pace.seconds(rung, rung - buffered) <= slack_seconds]
        return max(in_time, default=self.rungs[0])
