"""The network between the simulated caller and the session: jitter, stalls of the network and of the server's process.

Both directions keep the order, as TCP and a jitter buffer do. All is drawn from the seed before the call begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SECONDS = 120.0  # of stalls drawn; longer than any case


@dataclass(frozen=True, slots=True)
class PathConfig:
    """``jitter_s``: the largest extra delay of a message, uniformly distributed. Every ``stall_every_s`` seconds on
    average one direction delivers nothing for ``stall_s`` seconds, or the server's process stands still; 0: never. The
    process also stands still right after it has sent the first audio of each reply, before it knows of it."""

    jitter_s: float = 0.0
    stall_every_s: float = 0.0
    stall_s: float = 0.2


DIRECT = PathConfig()
"""Everything arrives at once."""


class Path:
    """One call's."""

    def __init__(self, config: PathConfig = DIRECT, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._config = config
        self._up, self._down, self._server = (_stalls(config, rng) for _ in range(3))
        self._rng = rng
        self._latest = {"up": 0.0, "down": 0.0}
        self._replies: set[str] = set()

    def up(self, sent: float) -> float:
        """When the server's socket has what the caller sends now."""
        return self._arrival("up", self._up, sent)

    def down(self, sent: float) -> float:
        """When the caller has what the server sends now."""
        return self._arrival("down", self._down, sent)

    def server_stall(self, now: float, response_id: str | None) -> float:
        """Seconds for which the server's process stands still from now on; each stall is told once. ``response_id``: of
        the audio that was just sent."""
        if self._config.stall_every_s and response_id is not None and response_id not in self._replies:
            self._replies.add(response_id)
            return self._config.stall_s
        if self._server and self._server[0] <= now:
            self._server.pop(0)
            return self._config.stall_s
        return 0.0

    def _arrival(self, direction: str, stalls: list[float], sent: float) -> float:
        at = sent + self._rng.uniform(0, self._config.jitter_s)
        for begin in stalls:
            if begin <= at < begin + self._config.stall_s:
                at = begin + self._config.stall_s
        at = max(at, self._latest[direction])
        self._latest[direction] = at
        return at


def _stalls(config: PathConfig, rng: np.random.Generator) -> list[float]:
    """When they begin."""
    if not config.stall_every_s:
        return []
    mean = 3 * config.stall_every_s  # three processes share the rate
    gaps = config.stall_s + rng.exponential(mean - config.stall_s, int(3 * _SECONDS / mean) + 1)
    return list(np.cumsum(gaps))
