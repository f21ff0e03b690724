"""Intents that need a tool: the home, the phone, the web. Without the tool nano says that it can not do that."""

from __future__ import annotations

import random

from scripts.nano.domain import vocabulary as words
from scripts.nano.domain.intents import Act, Draw, Intent, Wish, cannot, each_of, nothing, wishes
from scripts.nano.domain.numbers import CLOCK, VALUE, sayings_of_time, spoken_number
from scripts.nano.domain.vocabulary import capitalised

FACTORS = {
    ("kilometers", "miles"): 0.621371,
    ("meters", "feet"): 3.28084,
    ("centimeters", "inches"): 0.393701,
    ("kilos", "pounds"): 2.20462,
    ("liters", "gallons"): 0.264172,
}
"""What one of the first unit is in the second. Degrees have a formula of their own."""
CONVERTIBLE = (*FACTORS, *((b, a) for a, b in FACTORS), ("celsius", "fahrenheit"), ("fahrenheit", "celsius"))


def converted(value: float, source: str, target: str) -> float:
    """Convert a value between two units of `CONVERTIBLE`."""
    if (source, target) == ("celsius", "fahrenheit"):
        return value * 9 / 5 + 32
    if (source, target) == ("fahrenheit", "celsius"):
        return (value - 32) * 5 / 9
    return value * FACTORS[source, target] if (source, target) in FACTORS else value / FACTORS[target, source]


def _timer(rng: random.Random) -> dict[str, str]:
    unit = rng.choice(("minutes", "minutes", "minutes", "seconds", "hours"))
    often = {"minutes": (1, 2, 3, 5, 10, 15, 20, 30, 45), "seconds": (10, 20, 30, 45), "hours": (1, 2, 3, 4, 5)}[unit]
    n = rng.choice(often) if unit == "hours" or rng.random() < 0.5 else rng.randint(1, 99)
    return {"n": spoken_number(n), "unit": unit[:-1] if n == 1 else unit}


def _time(rng: random.Random) -> str:
    minute = rng.choice((0, 0, 0, 30, 30, 15, 45, 10, 20, 40, 50, 5, 25, 35, 55, rng.randrange(60)))
    return rng.choice(sayings_of_time(rng.randrange(24), minute))


def _task_at(rng: random.Random) -> dict[str, str]:
    return {"task": rng.choice(words.TASKS), "time": _time(rng)}


def _minutes(rng: random.Random) -> str:
    return spoken_number(rng.choice((5, 10, 15, 20, 30, 45, 60, rng.randint(2, 99))))


def _percentage(rng: random.Random) -> str:
    return spoken_number(rng.choice((10, 20, 30, 40, 50, 60, 70, 80, 90, 100, rng.randint(1, 100))))


def _conversion(rng: random.Random) -> dict[str, str]:
    source, target = rng.choice(CONVERTIBLE)
    n = rng.choice((rng.randint(1, 20), rng.randint(1, 100), rng.randint(1, 20) * 10, rng.randint(1, 999)))
    if "celsius" in (source, target):
        n = rng.randint(0, 100)
    return {"n": spoken_number(n), "from": source, "to": target}


def _numbered(draw: Draw, slot: str = "n") -> Draw:
    return lambda rng: draw(rng) | {slot: _percentage(rng)}


def _in_city(capability: str, topic: str = "", **more: str) -> Wish:
    return lambda v, situation: Act(capability, {"city": capitalised(v["city"])} | more, topic)


_CITY = each_of(city=words.CITIES)
_ITEM = each_of(item=words.ITEMS)
_ROOM = each_of(room=words.ROOMS)

INTENTS: tuple[Intent, ...] = (
    Intent(
        "set_timer",
        _timer,
        cannot,
        weight=2.2,
        wish=lambda v, s: Act("set_timer", {"amount": VALUE[v["n"]], "unit": v["unit"].removesuffix("s") + "s"}),
    ),
    Intent("timer_left", nothing, cannot, weight=0.9, wish=wishes("timer_left")),
    Intent("cancel_timer", nothing, cannot, weight=0.9, wish=wishes("cancel_timer")),
    Intent(
        "set_alarm",
        lambda rng: {"time": _time(rng)},
        cannot,
        weight=2.0,
        wish=lambda v, s: Act("set_alarm", {"time": CLOCK[v["time"]]}),
    ),
    Intent("cancel_alarm", nothing, cannot, weight=0.8, wish=wishes("cancel_alarm")),
    Intent(
        "remind_at",
        _task_at,
        cannot,
        weight=1.6,
        wish=lambda v, s: Act("remind", {"text": v["task"], "time": CLOCK[v["time"]]}),
    ),
    Intent(
        "remind_in",
        lambda rng: {"task": rng.choice(words.TASKS), "n": _minutes(rng)},
        cannot,
        weight=1.4,
        wish=lambda v, s: Act("remind", {"text": v["task"], "minutes": VALUE[v["n"]]}),
    ),
    Intent("reminders", nothing, cannot, weight=0.8, wish=wishes("reminders")),
    Intent("list_add", _ITEM, cannot, weight=1.6, wish=lambda v, s: Act("list_add", {"item": v["item"]})),
    Intent("list_remove", _ITEM, cannot, weight=1.2, wish=lambda v, s: Act("list_remove", {"item": v["item"]})),
    Intent("list_read", nothing, cannot, weight=0.8, wish=wishes("list_read")),
    Intent("light_on", _ROOM, cannot, weight=1.4, wish=lambda v, s: Act("light", {"room": v["room"], "state": "on"})),
    Intent("light_off", _ROOM, cannot, weight=1.4, wish=lambda v, s: Act("light", {"room": v["room"], "state": "off"})),
    Intent(
        "light_colour",
        each_of(room=words.ROOMS, colour=words.COLOURS),
        cannot,
        weight=1.2,
        wish=lambda v, s: Act("light_colour", {"room": v["room"], "color": v["colour"]}),
    ),
    Intent(
        "light_level",
        _numbered(_ROOM),
        cannot,
        weight=1.2,
        wish=lambda v, s: Act("light_level", {"room": v["room"], "percent": VALUE[v["n"]]}),
    ),
    Intent(
        "volume_set", _numbered(nothing), cannot, weight=1.2, wish=lambda v, s: Act("volume", {"level": VALUE[v["n"]]})
    ),
    Intent("volume_up", nothing, cannot, weight=0.9, wish=wishes("volume_step", direction="up")),
    Intent("volume_down", nothing, cannot, weight=0.9, wish=wishes("volume_step", direction="down")),
    Intent("mute", nothing, cannot, weight=0.8, wish=wishes("mute")),
    Intent("play_music", each_of(kind=words.MUSIC), cannot, wish=lambda v, s: Act("play_music", {"kind": v["kind"]})),
    Intent("stop_music", nothing, cannot, weight=0.8, wish=wishes("stop_music")),
    Intent(
        "call_person",
        each_of(name=words.NAMES),
        cannot,
        weight=1.4,
        wish=lambda v, s: Act("call_person", {"name": capitalised(v["name"])}),
    ),
    Intent(
        "convert",
        _conversion,
        cannot,
        weight=1.6,
        wish=lambda v, s: Act("convert", {"value": VALUE[v["n"]], "from": v["from"], "to": v["to"]}),
    ),
    Intent("weather", _CITY, cannot, weight=2.2, wish=_in_city("weather")),
    Intent("weather_tomorrow", _CITY, cannot, weight=1.4, wish=_in_city("weather", day="tomorrow")),
    Intent("rain", _CITY, cannot, weight=1.0, wish=_in_city("weather", "rain")),
    Intent("temperature", _CITY, cannot, weight=1.2, wish=_in_city("weather", "temperature")),
    Intent("time_in", _CITY, cannot, weight=1.4, wish=_in_city("time")),
    Intent(
        "search",
        each_of(query=words.TOPICS),
        cannot,
        weight=1.6,
        wish=lambda v, s: Act("search", {"query": v["query"]}),
    ),
    Intent(
        "who_is",
        each_of(person=words.PERSONS),
        cannot,
        weight=1.2,
        wish=lambda v, s: Act("search", {"query": capitalised(v["person"])}),
    ),
    Intent("news", nothing, cannot, weight=0.8, wish=wishes("news")),
)
