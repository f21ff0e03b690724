"""How many tokens the next chunk should have: small for the first sound, large once playback has a lead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things come about, in seconds: a token, and a chunk of n tokens in ``chunk + n *
    chunk_per_token``."""

    token: float
    chunk: float
    chunk_per_token: float

    def seconds(self, tokens: int, waiting: int) -> float:
        """From now until a chunk of ``tokens`` is out, ``waiting`` of whose tokens are still to be made."""
        return max(waiting, 0) * self.token + self.chunk + tokens * self.chunk_per_token


@dataclass(frozen=True, slots=True)
class ChunkLadder:
    """Chunk sizes in tokens, ascending. Each at least `streaming.MIN_CHUNK_TOKENS`."""

    rungs: tuple[int, ...] = (5, 10, 25)

    def choose(self, slack_seconds: float | None, pace: Pace, buffered: int = 0) -> int:
        """The largest rung that is out before playback runs dry; the smallest when none is.

        ``slack_seconds``: audio handed out and not yet played, None before the first chunk (then only speed
        counts). ``buffered``: tokens that the stream already holds beyond its look-ahead.
        """
        if slack_seconds is None:
            return self.rungs[0]
        in_time = [rung for rung in self.rungs if pace.seconds(rung, rung - buffered) <= slack_seconds]
        return max(in_time, default=self.rungs[0])
