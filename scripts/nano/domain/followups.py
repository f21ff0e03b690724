"""Intents that go on from the exchange before: "and in Paris?", "add five more", "cancel that"."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scripts.nano.domain import vocabulary as words
from scripts.nano.domain.intents import CANNOT, SORRY, Act, Intent, Situation, Values, each_of, nothing
from scripts.nano.domain.numbers import VALUE, sentence, spoken_number
from scripts.nano.domain.talk import FACTOR_MOST, SUM_MOST, neighbour
from scripts.nano.domain.vocabulary import WEEKDAYS, capitalised

_CALCULATIONS = ("plus", "minus", "times", "divide", "percent_of")
_PLACES = ("weather", "weather_tomorrow", "rain", "temperature", "time_in")
_SIGN = {"+": "plus", "-": "minus", "*": "times"}


def value_of(expression: str) -> float:
    """Work out "12 + 5" or "350 * 20 / 100" from left to right; one decimal is kept."""
    first, *rest = expression.split()
    value = float(first)
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        other = float(number)
        value = {"+": value + other, "-": value - other, "*": value * other, "/": value / (other or 1)}[sign]
    return round(value, 1)


def _last_act(situation: Situation, *capabilities: str) -> Act | None:
    act = situation.last.act if situation.last else None
    return act if act is not None and act.capability in capabilities else None


def _changed(*capabilities: str, **changes: Callable[[Values], Any]) -> Callable[[Values, Situation], Act | None]:
    """Wish for the same again with other arguments."""

    def wish(values: Values, situation: Situation) -> Act | None:
        act = _last_act(situation, *capabilities)
        return act and replace(act, arguments={**act.arguments, **{k: f(values) for k, f in changes.items()}})

    return wish


def _calculated_on(sign: str) -> Callable[[Values, Situation], Act | None]:
    def wish(values: Values, situation: Situation) -> Act | None:
        act = _last_act(situation, "calculate")
        if act is None:
            return None
        so_far = value_of(act.arguments["expression"])
        return Act("calculate", {"expression": f"{so_far:.1f}".removesuffix(".0") + f" {sign} {VALUE[values['n']]}"})

    return wish


def _by_heart(values: Values, situation: Situation, sign: str) -> tuple[str, ...]:
    act = _last_act(situation, "calculate")
    if act is None:
        return (SORRY,)
    a, b = value_of(act.arguments["expression"]), VALUE[values["n"]]
    result = value_of(f"{a} {sign} {b}")
    if a != int(a) or max(a, b) > (FACTOR_MOST if sign == "*" else SUM_MOST) or not 0 <= a or result < 0:
        return (CANNOT,)
    return (sentence(f"{spoken_number(int(a))} {_SIGN[sign]} {spoken_number(b)} is {spoken_number(int(result))}"),)


def _cannot_or_sorry(*capabilities: str) -> Callable[[Values, Situation], tuple[str, ...]]:
    return lambda values, situation: (CANNOT if _last_act(situation, *capabilities) else SORRY,)


def _tomorrow(values: Values, situation: Situation) -> tuple[str, ...]:
    last = situation.last
    if last is not None and last.intent == "weekday" and situation.moment is not None:
        return (f"Tomorrow is {neighbour(WEEKDAYS, situation.moment.weekday, 1)}.",)
    return _cannot_or_sorry("weather")(values, situation)


_UNDONE: dict[str, Callable[[Act], Act]] = {
    "set_timer": lambda act: Act("cancel_timer", {}),
    "set_alarm": lambda act: Act("cancel_alarm", {}),
    "list_add": lambda act: Act("list_remove", act.arguments),
    "list_remove": lambda act: Act("list_add", act.arguments),
    "light": lambda act: Act("light", {**act.arguments, "state": {"on": "off", "off": "on"}[act.arguments["state"]]}),
    "play_music": lambda act: Act("stop_music", {}),
    "volume_step": lambda act: Act(
        "volume_step", {"direction": {"up": "down", "down": "up"}[act.arguments["direction"]]}
    ),
}


def _undo(values: Values, situation: Situation) -> Act | None:
    act = situation.last.act if situation.last and situation.last.call else None
    return _UNDONE[act.capability](act) if act is not None and act.capability in _UNDONE else None


def _nothing_undone(values: Values, situation: Situation) -> tuple[str, ...]:
    return (CANNOT if _undo(values, situation) else "Okay.",)


def _another_number(values: Values, situation: Situation) -> Act | None:
    for capability, argument in (("set_timer", "amount"), ("volume", "level"), ("light_level", "percent")):
        wish = _changed(capability, **{argument: lambda v: VALUE[v["n"]]})(values, situation)
        if wish is not None:
            return wish
    return None


def _small(rng: random.Random) -> dict[str, str]:
    return {"n": spoken_number(rng.randint(1, rng.choice((10, 20, 100))))}


def _of_calculation(name: str, sign: str) -> Intent:
    return Intent(
        name,
        _small,
        lambda values, situation: _by_heart(values, situation, sign),
        weight=1.0,
        wish=_calculated_on(sign),
        after=(*_CALCULATIONS, "add_more", "take_less", "times_that"),
    )


INTENTS: tuple[Intent, ...] = (
    Intent(
        "and_in_city",
        each_of(city=words.CITIES),
        _cannot_or_sorry("weather", "time"),
        weight=1.6,
        wish=_changed("weather", "time", city=lambda v: capitalised(v["city"])),
        after=(*_PLACES, "and_in_city"),
    ),
    Intent(
        "and_tomorrow",
        nothing,
        _tomorrow,
        weight=1.0,
        wish=_changed("weather", day=lambda v: "tomorrow"),
        after=("weather", "temperature", "weekday", "weather"),
    ),
    _of_calculation("add_more", "+"),
    _of_calculation("take_less", "-"),
    _of_calculation("times_that", "*"),
    Intent(
        "cancel_that",
        nothing,
        _nothing_undone,
        weight=1.2,
        wish=_undo,
        after=("set_timer", "set_alarm", "list_add", "list_remove", "light_on", "light_off", "play_music", "volume_up"),
    ),
    Intent(
        "make_it",
        _small,
        _cannot_or_sorry("set_timer", "volume", "light_level"),
        weight=1.0,
        wish=_another_number,
        after=("set_timer", "volume_set", "light_level"),
    ),
    Intent(
        "also_item",
        each_of(item=words.ITEMS),
        _cannot_or_sorry("list_add"),
        weight=1.0,
        wish=_changed("list_add", item=lambda v: v["item"]),
        after=("list_add", "also_item"),
    ),
    Intent(
        "also_room",
        each_of(room=words.ROOMS),
        _cannot_or_sorry("light", "light_colour", "light_level"),
        weight=1.0,
        wish=_changed("light", "light_colour", "light_level", room=lambda v: v["room"]),
        after=("light_on", "light_off", "light_colour", "light_level", "also_room"),
    ),
)
