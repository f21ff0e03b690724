"""Who is speaking: the floor and the settings and state that decide what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal


class Floor(Enum):
    """Who is to be heard."""

    NOBODY = "nobody"
    USER = "user"
    REPLYING = "replying"  # a response runs
    AUDIBLE = "audible"  # the response is done, its audio still plays
    SHARED_REPLYING = "user and reply"
    SHARED_AUDIBLE = "user and audible"
    OVERLAP_REPLYING = "voice over reply"  # it is not known yet whether that voice wants the floor
    OVERLAP_AUDIBLE = "voice over audible"


OVERLAPPING = (Floor.OVERLAP_REPLYING, Floor.OVERLAP_AUDIBLE)


Interruption = Literal["immediate", "pause", "play_on"]
"""What speech over ours does at once: end it, pause it until it is known whether it is meant, or neither."""


@dataclass(frozen=True, slots=True)
class TurnConfig:
    """How turns are taken; lengths in samples at 16 kHz. ``idle_timeout`` None: never."""

    create_response: bool = True
    interrupt_response: bool = True
    interruption: Interruption = "immediate"
    idle_timeout: int | None = None
    max_turn: int = 120 * 16_000


@dataclass(frozen=True, slots=True)
class TurnState:
    """Everything that decides what happens next. ``turn_start``: where the user's open turn begins.

    ``owed``: a committed turn waits for its response. ``paused``: our playback stands still. ``quiet_since``: when the
    idle timeout began to run.
    """

    config: TurnConfig = field(default_factory=TurnConfig)
    floor: Floor = Floor.NOBODY
    turn_start: int = 0
    owed: bool = False
    paused: bool = False
    quiet_since: int = 0
