"""Find out what a sentence means by the phrasings: for texts that people bring along with their recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from scripts.nano.domain import vocabulary
from scripts.nano.domain.intents import Asked, Intent, Situation
from scripts.nano.domain.numbers import CLOCK, VALUE
from scripts.nano.domain.phrasings import alternatives, in_full
from scripts.nano.domain.scenes import BY_NAME, INTENTS
from scripts.nano.domain.talk import OUTSIDE, SPELLED

_NUMBERED = frozenset(
    i.name for i in INTENTS if i.name in "count count_to count_down plus minus times divide bigger".split()
)
_CLOSED: dict[str, frozenset[str]] = {
    "city": frozenset(vocabulary.CITIES),
    "name": frozenset(vocabulary.NAMES),
    "person": frozenset(vocabulary.PERSONS),
    "item": frozenset(vocabulary.ITEMS),
    "room": frozenset(vocabulary.ROOMS),
    "kind": frozenset(vocabulary.MUSIC),
    "department": frozenset(vocabulary.DEPARTMENTS),
    "object": frozenset(vocabulary.CUSTOM_OBJECTS),
    "thing": frozenset(vocabulary.CUSTOM_THINGS),
    "day": frozenset(day.lower() for day in vocabulary.WEEKDAYS),
    "word": frozenset(SPELLED),
    "n": frozenset(VALUE),
    "time": frozenset(CLOCK),
    "unit": frozenset("second seconds minute minutes hour hours".split()),
    "verb": frozenset((*vocabulary.CUSTOM_VERBS, *vocabulary.CUSTOM_PERSON_VERBS, *vocabulary.CUSTOM_THING_VERBS)),
}
_POLITE = re.compile(r"^(?:please|nano|hey nano|okay nano|can you|could you)\s+|\s+(?:please|nano|now)$")


def parse(text: str) -> Asked | None:
    """Return what a sentence asks for, in the words of the domain; None for what it does not know."""
    words = " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split())
    full = in_full(words)
    for said in dict.fromkeys((words, _POLITE.sub("", words), full, _POLITE.sub("", full))):
        found = max(_readings(said), default=None, key=lambda reading: reading[0])
        if found is not None:
            return Asked(found[1], words, tuple(found[2].items()))
    return None


def _readings(words: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield (characters that match literally, intent, slots) of every phrasing that fits."""
    known = frozenset(words.split())
    for literal, intent, needed, phrasing in _patterns():
        match = _pattern(phrasing).fullmatch(words) if needed <= known else None
        if match is not None and _possible(intent, match.groupdict()):
            yield literal, intent.name, match.groupdict()
    if words in OUTSIDE.of("all"):
        yield len(words), "unknown", {}


def _possible(intent: Intent, slots: dict[str, str]) -> bool:
    if any(value not in _CLOSED.get(name, (value,)) for name, value in slots.items()):
        return False
    if intent.name in _NUMBERED and any(value not in VALUE for value in slots.values()):
        return False
    try:
        intent.wish(slots, Situation())
        intent.replies(slots, Situation())
    except (KeyError, ValueError):
        return False
    return True


def _anything(slot: re.Match[str]) -> str:
    return f"(?P<{slot[1]}>.+)"


def _listed(slot: re.Match[str]) -> str:
    """What a slot may hold, word by word where the list is short: nothing else tells where one of two slots ends."""
    values = _CLOSED.get(slot[1], ())
    return f"(?P<{slot[1]}>{'|'.join(sorted(values, reverse=True))})" if 0 < len(values) < 200 else _anything(slot)


@cache
def _pattern(phrasing: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", _anything if "} {" not in phrasing else _listed, re.escape(phrasing)))


@cache
def _patterns() -> list[tuple[int, Intent, frozenset[str], str]]:
    """List the phrasings: characters that match literally, intent, words that must be there."""
    found = []
    for intent in INTENTS:
        for phrasing in (p for line in intent.phrasings.of("all") for p in alternatives(line)):
            if intent is not BY_NAME["unknown"]:
                literal = re.sub(r"\{\w+\}", " ", phrasing)
                found.append((len(literal.replace(" ", "")), intent, frozenset(literal.split()), phrasing))
    return found
