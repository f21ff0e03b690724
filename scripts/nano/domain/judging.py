"""Tell right answers from wrong ones."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from realtime.ports.tool_calls import ToolCall
from scripts.nano.domain.abilities import UNKNOWN_PATTERN
from scripts.nano.domain.intents import Exchange
from scripts.nano.domain.numbers import NUMBER_WORDS
from scripts.nano.domain.scenes import BY_NAME
from scripts.nano.domain.vocabulary import REPEAT_WORDS


def plain(text: str) -> str:
    """Reduce a text to lower-case words: the form in which replies are compared."""
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split())


def right_reply(exchange: Exchange, reply: str) -> bool:
    """Tell whether `reply` says wholly what is to be said: words and slots."""
    if exchange.intent == "unknown" and exchange.call is None and re.match(UNKNOWN_PATTERN, plain(reply)):
        return True
    return plain(reply) in {plain(r) for r in exchange.accepted}


def right_call(exchange: Exchange, calls: Sequence[ToolCall]) -> bool:
    """Tell whether exactly the right tool was called with exactly the right arguments; none where none is due."""
    if exchange.call is None or len(calls) != 1:
        return exchange.call is None and not calls
    try:
        given = json.loads(calls[0].arguments)
    except ValueError:
        return False
    return calls[0].name == exchange.call.name and bool(given == json.loads(exchange.call.arguments))


def right_intent(exchange: Exchange, reply: str, calls: Sequence[ToolCall] = ()) -> bool:
    """Tell whether the question was understood, whatever its slots: the tool called, or the kind of the reply."""
    if exchange.call is not None or calls:
        return exchange.call is not None and [c.name for c in calls] == [exchange.call.name]
    if right_reply(exchange, reply):
        return True
    same = {"count_to": "count", "count_down": "count", "greet_user": "greeting"}
    return intent_of(reply) == same.get(exchange.intent, exchange.intent)


_REPEATABLE = frozenset(REPEAT_WORDS)


def intent_of(reply: str) -> str | None:
    """Name the intent whose replies look like `reply`; counts and repeated words are told by their words."""
    words = plain(reply)
    for name in ("day_after", "day_before", "month_after", *BY_NAME):
        pattern = BY_NAME[name].pattern
        if pattern and re.match(rf"(?:{pattern})(?:\b|$)", words):
            return name
    tokens = words.split()
    if len(tokens) >= 2 and all(t in NUMBER_WORDS for t in tokens):
        return "count"
    if tokens and len(tokens) <= 4 and all(t in _REPEATABLE for t in tokens):
        return "repeat"
    return None
