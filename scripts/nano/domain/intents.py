"""What an intent is, and what it may look at: slots, the moment, offered tools, what was said before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime.ports.tool_calls import ToolCall
from scripts.nano.domain.moments import PLAIN, Context, Manner
from scripts.nano.domain.phrasings import Phrasings, load
from scripts.nano.domain.tools import OfferedTool

Values = Mapping[str, str]
"""Slot -> the words that the user says for it."""

SORRY = "Sorry, I did not understand."
CANNOT = "Sorry, I can not do that here."


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user says: the words, and what they mean."""

    intent: str
    text: str
    slots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Act:
    """A wish that a tool fulfils: its capability and arguments under their own (canonical) names.

    `topic`: what of the result was asked for, where a tool tells several things.
    """

    capability: str
    arguments: Mapping[str, Any]
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question with its answer.

    Without `call` the answer is `reply_text`, one of `accepted`. With it, the tool is called first, answers `result`,
    and `reply_text` says what came of it. `act` is what was wished for, called or not.
    """

    asked: Asked
    reply_text: str
    accepted: tuple[str, ...]
    act: Act | None = None
    call: ToolCall | None = None
    result: str = ""

    @property
    def intent(self) -> str:
        """Name of the intent."""
        return self.asked.intent

    @property
    def user_text(self) -> str:
        """The user's words."""
        return self.asked.text


@dataclass(frozen=True, slots=True)
class Situation:
    """All that an answer depends on beside the question. `offered`: capability -> the tool that has it."""

    moment: Context | None = None
    offered: Mapping[str, OfferedTool] = field(default_factory=dict)
    name: str = "Nano"
    manner: Manner = PLAIN
    last: Exchange | None = None


Draw = Callable[[random.Random], dict[str, str]]
Replies = Callable[[Values, Situation], tuple[str, ...]]
Wish = Callable[[Values, Situation], Act | None]


def _no_wish(values: Values, situation: Situation) -> Act | None:
    return None


@dataclass(frozen=True, slots=True)
class Intent:
    """A kind of question.

    `wish` says what tool would answer it (None: none). `replies` are the right answers where no tool is wished for or
    offered. `pattern` matches its tool-less replies and no others (empty: they are told by their words). `after`: the
    intents that it follows up, if it makes sense only behind them.
    """

    name: str
    draw: Draw
    replies: Replies
    pattern: str = ""
    weight: float = 1.0
    wish: Wish = _no_wish
    after: tuple[str, ...] = ()
    fixed: Phrasings | None = None

    @property
    def phrasings(self) -> Phrasings:
        """How it is asked: `fixed`, or what its section in phrasings/ has."""
        return self.fixed or load()[self.name]


# --- parts that intents are put together from -------------------------------------------------------------


def nothing(rng: random.Random) -> dict[str, str]:
    """Draw no slots."""
    return {}


def one_of(slot: str, values: Iterable[str]) -> Draw:
    """Draw one slot from a list."""
    choices = tuple(values)
    return lambda rng: {slot: rng.choice(choices)}


def each_of(**lists: Iterable[str]) -> Draw:
    """Draw every slot from its list."""
    choices = {slot: tuple(values) for slot, values in lists.items()}
    return lambda rng: {slot: rng.choice(values) for slot, values in choices.items()}


def fixed(*replies: str) -> Replies:
    """Give the same answers always."""
    return lambda values, situation: replies


cannot: Replies = fixed(CANNOT)
sorry: Replies = fixed(SORRY)


def wishes(capability: str, **fixed_arguments: Any) -> Wish:
    """Wish for a tool whose arguments do not depend on slots."""
    return lambda values, situation: Act(capability, fixed_arguments)
