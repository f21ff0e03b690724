"""Functions of the user's own: tools that no catalogue has, with no argument or one number, name or word.

Names, descriptions and what is said are put together from known words, so that the model learns to match a request with
a declaration rather than to know the functions.
"""

from __future__ import annotations

import random

from scripts.nano.domain import vocabulary as words
from scripts.nano.domain.intents import CANNOT, SORRY, Act, Intent, Situation, Values, Wish, each_of
from scripts.nano.domain.numbers import VALUE, spoken_number
from scripts.nano.domain.tools import CLOSED, OfferedTool, Parameter
from scripts.nano.domain.vocabulary import capitalised

PREFIX = "custom"
_NUMBER = Parameter(("value", "number", "level", "amount", "count"), "integer", "The number.")
_PERSON = Parameter(("name", "person", "who"), "string", "The name of the person.")
_THING = Parameter(("thing", "word", "what", "item", "text"), "string", "What it is.")


def _capability(*parts: str) -> str:
    return " ".join((PREFIX, *parts))


def _wish(kind: str) -> Wish:
    def wish(v: Values, situation: Situation) -> Act:
        if kind == "number":
            return Act(_capability(kind, "set", v["object"]), {"value": VALUE[v["n"]]})
        if kind == "name":
            return Act(_capability(kind, v["verb"], "person"), {"name": capitalised(v["name"])})
        if kind == "word":
            return Act(_capability(kind, v["verb"], "thing"), {"thing": v["thing"]})
        return Act(_capability(kind, v["verb"], v["object"]), {})

    return wish


def _unknown(values: Values, situation: Situation) -> tuple[str, ...]:
    return (SORRY, CANNOT)


def _number(rng: random.Random) -> dict[str, str]:
    n = rng.choice((rng.randint(0, 10), rng.randint(0, 100), rng.randint(0, 100), rng.randint(0, 1000)))
    return {"object": rng.choice(words.CUSTOM_OBJECTS), "n": spoken_number(n)}


INTENTS: tuple[Intent, ...] = (
    Intent(
        "custom_plain",
        each_of(verb=words.CUSTOM_VERBS, object=words.CUSTOM_OBJECTS),
        _unknown,
        weight=2.0,
        wish=_wish("plain"),
    ),
    Intent("custom_number", _number, _unknown, weight=1.6, wish=_wish("number")),
    Intent(
        "custom_name",
        each_of(verb=words.CUSTOM_PERSON_VERBS, name=words.NAMES),
        _unknown,
        weight=1.4,
        wish=_wish("name"),
    ),
    Intent(
        "custom_word",
        each_of(verb=words.CUSTOM_THING_VERBS, thing=words.CUSTOM_THINGS),
        _unknown,
        weight=1.6,
        wish=_wish("word"),
    ),
)


def is_custom(capability: str) -> bool:
    """Tell whether a capability is none of the catalogue."""
    return capability.startswith(PREFIX + " ")


def offer(capability: str, rng: random.Random) -> OfferedTool:
    """Declare the function that has a capability, as some user might."""
    _, kind, verb, thing = capability.split(" ", 3)
    parameter = {"number": _NUMBER, "name": _PERSON, "word": _THING}.get(kind)
    what = {"person": "a person", "thing": "something"}.get(thing, f"the {thing}")
    name = rng.choice((f"{verb}_{thing}", f"{verb}_{thing}", f"{verb}_the_{thing}", f"{thing}_{verb}"))
    if rng.random() < 0.15:
        name = verb + thing.capitalize()
    descriptions = (f"{verb} {what}.", f"{verb} {what}", f"use this to {verb} {what}.")
    description = rng.choice(descriptions)
    if kind == "number":
        description = rng.choice((f"set the {thing} to a number.", f"set the {thing}.", f"change the {thing}."))
    if rng.random() < 0.15:
        description = ""
    parameters = (parameter,) if parameter else ()
    renamed = {p.names[0]: rng.choice(p.names) for p in parameters}
    description = description[:1].upper() + description[1:]
    bare, closed = rng.random() < 0.5, rng.random() < CLOSED
    return OfferedTool(capability, name, description, parameters, renamed, bare, closed)


def random_capability(rng: random.Random) -> str:
    """Draw a function that nobody asked for."""
    kind = rng.choice(("plain", "plain", "number", "name", "word"))
    if kind == "plain":
        return _capability(kind, rng.choice(words.CUSTOM_VERBS), rng.choice(words.CUSTOM_OBJECTS))
    if kind == "number":
        return _capability(kind, "set", rng.choice(words.CUSTOM_OBJECTS))
    if kind == "name":
        return _capability(kind, rng.choice(words.CUSTOM_PERSON_VERBS), "person")
    return _capability(kind, rng.choice(words.CUSTOM_THING_VERBS), "thing")
