"""How many sessions a machine holds: from the cost of replies that are made at the same time. No model, no clock.

A caller is spoken to at most about half of the time: the other half he speaks. So of n callers some are spoken to at
once, how many is binomial. The machine holds n callers when it keeps up with as many replies as are being made in
`PEAK` of all moments, and needs no more than `LOAD` of its time for them: the rest is for prompts, first chunks, which
are short and cost more, replies made ahead, and everything else that a server does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from realtime.ports.engine import IDS_PER_SECOND

SPOKEN_TO = 0.5
PEAK = 0.95
LOAD = 0.7
LEAST_SESSIONS, MOST_SESSIONS = 2, 16
"""A second browser tab is served on any machine. Memory is not measured: each session has KV caches."""
MEASURED_REPLIES = 4
"""Replies at once that are timed, beside one; what more cost is extrapolated."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds for one reply, and for each further one at the same time."""

    first: float
    further: float

    def seconds(self, replies: int) -> float:
        """For so many replies at once."""
        return self.first + self.further * (replies - 1)


@dataclass(frozen=True, slots=True)
class Capacity:
    """``step``: of a decoding step. ``speech``: of the vocoder, for a second of speech of each reply. ``parallel``:
    whether both have processors of their own."""

    step: Cost
    speech: Cost
    parallel: bool

    def load(self, replies: int) -> float:
        """Part of the machine's time that so many replies at once need; above 1 it does not keep up."""
        parts = (self.step.seconds(replies) * IDS_PER_SECOND, self.speech.seconds(replies))
        return max(parts) if self.parallel else sum(parts)

    @classmethod
    def measured(cls, time: Callable[[int], tuple[float, float]], *, parallel: bool) -> Capacity:
        """``time``: gives the seconds of a step and of a second of speech for so many replies. Where the machine does
        not keep up with one, no more are timed."""
        step, speech = time(1)
        one = cls(Cost(step, step), Cost(speech, speech), parallel)
        if one.load(1) > LOAD:
            return one
        steps, speeches = time(MEASURED_REPLIES)
        return cls(_between(step, steps), _between(speech, speeches), parallel)

    @property
    def sessions(self) -> int:
        """How many the machine holds, from `LEAST_SESSIONS` to `MOST_SESSIONS`."""
        held = LEAST_SESSIONS
        while held < MOST_SESSIONS and self.load(spoken_to(held + 1)) <= LOAD:
            held += 1
        return held

    def __str__(self) -> str:
        replies = spoken_to(self.sessions)
        return (
            f"{self.sessions} sessions: a decoding step takes "
            f"{1000 * self.step.first:.1f} ms + "
            f"{1000 * self.step.further:.1f} ms for each further reply, a second of speech {self.speech.first:.3f} s + "
            f"{self.speech.further:.3f} s in the vocoder; {replies} spoken to at once use "
            f"{100 * self.load(replies):.0f} % of {'two processors' if self.parallel else 'one processor'}, "
            f"at most {100 * LOAD:.0f} % are allowed"
        )


def _between(one: float, many: float) -> Cost:
    """Of one reply, and of `MEASURED_REPLIES` at once."""
    return Cost(one, max(0.0, many - one) / (MEASURED_REPLIES - 1))


def spoken_to(callers: int) -> int:
    """How many of so many callers are spoken to at once, or fewer, in `PEAK` of all moments."""
    sure = 0.0
    for count in range(callers + 1):
        sure += math.comb(callers, count) * SPOKEN_TO**count * (1 - SPOKEN_TO) ** (callers - count)
        if sure >= PEAK:
            return count
    return callers
