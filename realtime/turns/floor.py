"""Who has the floor, and the settings and state of turn-taking."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal


class Floor(Enum):
    """Who has the floor: the user, the agent, both, or nobody."""

    NOBODY = "nobody"
    USER = "user"
    REPLYING = "replying"  # a response is in progress
    AUDIBLE = "audible"  # the response is done, its audio is still being played
    SHARED_REPLYING = "user and reply"
    SHARED_AUDIBLE = "user and audible"
    OVERLAP_REPLYING = "overlap, replying"  # a barge-in or a false interruption: not known yet
    OVERLAP_AUDIBLE = "overlap, audible"


OVERLAPPING = (Floor.OVERLAP_REPLYING, Floor.OVERLAP_AUDIBLE)


Interruption = Literal["immediate", "pause", "play_on"]
"""What playback does on overlapping speech: stop, pause until it is classified, or continue."""


@dataclass(frozen=True, slots=True)
class TurnConfig:
    """Settings of turn-taking; lengths in samples at 16 kHz. ``idle_timeout`` None: never."""

    create_response: bool = True
    interrupt_response: bool = True
    interruption: Interruption = "immediate"
    idle_timeout: int | None = None
    max_turn: int = 120 * 16_000


@dataclass(frozen=True, slots=True)
class TurnState:
    """The state of the machine. ``turn_start``: where the user's open turn begins.

    ``response_pending``: a committed turn waits for its response. ``paused``: playback is paused. ``quiet_since``: when
    the idle timeout began to run.
    """

    config: TurnConfig = field(default_factory=TurnConfig)
    floor: Floor = Floor.NOBODY
    turn_start: int = 0
    response_pending: bool = False
    paused: bool = False
    quiet_since: int = 0
