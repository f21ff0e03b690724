"""What tools answer, and what nano says then. Results come in the forms that clients write: JSON or plain words."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from scripts.nano.domain import facts
from scripts.nano.domain import vocabulary as words
from scripts.nano.domain.actions import converted
from scripts.nano.domain.custom import is_custom
from scripts.nano.domain.followups import value_of
from scripts.nano.domain.intents import Act
from scripts.nano.domain.numbers import (
    clock,
    say_clock,
    sentence,
    spoken_decimal,
    spoken_digits,
    spoken_number,
    written_decimal,
)

Outcome = tuple[str, str]
"""Result as the model is told it, and the reply."""

MOST_SAID = 999_999
FAILED = "Sorry, that did not work."
_FAILURES = (
    '{"error": "failed"}', '{"error": "not found"}', "error", "failed", '{"ok": false}', '{"success": false}',
    '{"status": "error"}', "Error: timeout", "not found",
)  # fmt: skip
_DONE = (
    "ok", "ok", "done", '{"ok": true}', '{"ok": true}', '{"success": true}', '{"status": "ok"}',
    '{"status": "success"}',
    "success", "{}", "true", '{"result": "ok"}', "Done.", "OK",
)  # fmt: skip


def outcome(act: Act, rng: random.Random, failing: float = 0.05) -> Outcome:
    """Draw what a tool answers to an act."""
    if rng.random() < failing:
        return rng.choice(_FAILURES), FAILED
    if is_custom(act.capability):
        return _custom(act, rng)
    told = _TOLD.get(act.capability)
    if told is not None:
        return told(act, rng)
    return rng.choice(_DONE), _CONFIRMED[act.capability](act.arguments)


def _custom(act: Act, rng: random.Random) -> Outcome:
    if rng.random() < 0.6:
        return rng.choice(_DONE), "Done."
    thing = act.capability.split(" ")[-1]
    if thing in ("person", "thing"):
        state = rng.choice(facts.RESULT_SENTENCES)
    else:
        state = f"The {thing} is {rng.choice(words.CUSTOM_STATES)}."
    return rng.choice((state, state, state[:-1], json.dumps({"result": state}))), state


def _for(arguments: Mapping[str, Any]) -> str:
    if "minutes" in arguments:
        amount, unit = arguments["minutes"], "minutes"
    else:
        amount, unit = arguments["amount"], arguments["unit"]
    return f"{spoken_number(amount)} {unit[:-1] if amount == 1 else unit}"


_CONFIRMED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "set_timer": lambda a: f"Timer set for {_for(a)}.",
    "cancel_timer": lambda a: "The timer is off.",
    "set_alarm": lambda a: f"Alarm set for {say_clock(a['time'])}.",
    "cancel_alarm": lambda a: "The alarm is off.",
    "remind": lambda a: "I will remind you.",
    "list_add": lambda a: sentence(f"{a['item']} on the list"),
    "list_remove": lambda a: sentence(f"{a['item']} off the list"),
    "light": lambda a: f"The {a['room']} light is {a['state']}.",
    "light_colour": lambda a: f"The {a['room']} light is {a['color']}.",
    "light_level": lambda a: f"The {a['room']} light is at {spoken_number(a['percent'])} percent.",
    "volume": lambda a: sentence(f"volume {spoken_number(a['level'])}"),
    "volume_step": lambda a: "Louder." if a["direction"] == "up" else "Quieter.",
    "mute": lambda a: "The sound is off.",
    "play_music": lambda a: f"Here is {a['kind']} music.",
    "stop_music": lambda a: "The music is off.",
    "call_person": lambda a: f"Calling {a['name']}.",
    "confirm": lambda a: "Thank you.",
    "digits": lambda a: f"Thank you, {spoken_digits(a['digits'])}.",
    "choose_day": lambda a: f"{a['day']} is booked.",
    "take_name": lambda a: f"Thank you, {a['name']}.",
    "transfer": lambda a: f"One moment, I connect you to {a['department']}.",
}


def _calculation(act: Act, rng: random.Random) -> Outcome:
    value = value_of(act.arguments["expression"])
    if abs(value) > MOST_SAID:
        return "error", FAILED
    said = f"That is {spoken_decimal(value)}."
    if rng.random() < 0.25:
        return f"{act.arguments['expression']} = {written_decimal(value)}", said
    return _number_result(value, rng), said


def _number_result(value: float, rng: random.Random, unit: str = "") -> str:
    written = written_decimal(value)
    number = json.loads(written)
    forms = [written, json.dumps({"result": number}), json.dumps({"value": number}), f"= {written}"]
    if unit:
        forms += [f"{written} {unit}", json.dumps({"value": number, "unit": unit})]
    return rng.choice(forms)


def _conversion(act: Act, rng: random.Random) -> Outcome:
    a = act.arguments
    value = round(converted(a["value"], a["from"], a["to"]), 1)
    degrees = " degrees" if a["to"] in ("celsius", "fahrenheit") else ""
    return _number_result(value, rng, a["to"]), f"That is {spoken_decimal(value)}{degrees} {a['to']}."


def _weather(act: Act, rng: random.Random) -> Outcome:
    city, tomorrow = act.arguments["city"], act.arguments.get("day") == "tomorrow"
    degrees = rng.randint(-15, 40) if rng.random() < 0.3 else rng.randint(5, 30)
    sky = rng.choice(words.CONDITIONS)
    keys = {"temperature": degrees, "condition": sky}
    renamed = {
        "temperature": rng.choice(("temperature", "temp", "temperature_c")),
        "condition": rng.choice(("condition", "weather", "sky")),
    }
    pairs = [(renamed[k], v) for k, v in keys.items()]
    if rng.random() < 0.5:
        pairs.reverse()
    if rng.random() < 0.5:
        pairs.insert(0, (rng.choice(("city", "location")), city))
    if rng.random() < 0.15:
        pairs.append(("wind", rng.randint(0, 40)))
    result = rng.choice(
        (
            json.dumps(dict(pairs)),
            json.dumps(dict(pairs)),
            f"{sky}, {degrees} degrees",
            f"{degrees} degrees and {sky}",
            f"It is {sky} and {degrees} degrees in {city}.",
            f"{city}: {degrees} C, {sky}",
        )
    )
    return result, weather_reply(city, sky, degrees, tomorrow, act.topic)


def weather_reply(city: str, sky: str, degrees: int, tomorrow: bool, topic: str) -> str:
    """Say what the weather is; `topic`: 'rain', 'temperature' or all of it."""
    warm = spoken_decimal(degrees) + (" degree" if abs(degrees) == 1 else " degrees")
    if topic == "rain" and not tomorrow:
        return f"{'Yes' if sky in ('rainy', 'stormy') else 'No'}, it is {sky} in {city}."
    if topic == "temperature" and not tomorrow:
        return f"It is {warm} in {city}."
    if tomorrow:
        return f"Tomorrow it will be {sky} and {warm} in {city}."
    return f"It is {sky} and {warm} in {city}."


def _time(act: Act, rng: random.Random) -> Outcome:
    written = clock(rng.randrange(24), rng.choice((0, 30, rng.randrange(60), rng.randrange(60), rng.randrange(60))))
    city = act.arguments.get("city")
    reply = f"It is {say_clock(written)} in {city}." if city else f"It is {say_clock(written)}."
    forms = [written, json.dumps({"time": written}), json.dumps({"city": city, "time": written}) if city else written]
    return rng.choice(forms), reply


def _timer_left(act: Act, rng: random.Random) -> Outcome:
    minutes, seconds = rng.randint(0, 59), rng.randint(1, 59)
    if rng.random() < 0.4:
        seconds = 0
        minutes = max(minutes, 1)
    parts = [f"{n} {unit[:-1] if n == 1 else unit}" for n, unit in ((minutes, "minutes"), (seconds, "seconds")) if n]
    said = " and ".join(f"{spoken_number(int(p.split()[0]))} {p.split()[1]}" for p in parts)
    result = rng.choice((" and ".join(parts), " ".join(parts), json.dumps({"minutes": minutes, "seconds": seconds})))
    return result, sentence(f"{said} left")


def _reminders(act: Act, rng: random.Random) -> Outcome:
    if rng.random() < 0.25:
        return rng.choice(("[]", "none", "no reminders")), "You have no reminders."
    rows = [
        (rng.choice(words.TASKS), clock(rng.randrange(24), rng.choice((0, 15, 30, 45))))
        for _ in range(rng.choice((1, 1, 2)))
    ]
    result = rng.choice(
        (
            ", ".join(f"{task} at {at}" for task, at in rows),
            json.dumps([{"text": task, "time": at} for task, at in rows]),
            json.dumps([f"{at} {task}" for task, at in rows]),
        )
    )
    return result, " ".join(sentence(f"{task} at {say_clock(at)}") for task, at in rows)


def _list(act: Act, rng: random.Random) -> Outcome:
    if rng.random() < 0.2:
        return rng.choice(("[]", "empty", "the list is empty")), "The list is empty."
    items = rng.sample(words.ITEMS, rng.choice((1, 2, 2, 3, 3, 4)))
    result = rng.choice((json.dumps(items), ", ".join(items), json.dumps({"items": items})))
    said = items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" and {items[-1]}"
    return result, f"You need {said}."


def _search(act: Act, rng: random.Random) -> Outcome:
    query = act.arguments["query"]
    person = query.lower() in words.PERSONS
    if person and rng.random() < 0.6:
        last = query.split()[-1]
        text = f"{last} was a famous {rng.choice(words.PROFESSIONS)}."
    else:
        text = _made_up(rng)
    return _told_text(text, rng), text


def _made_up(rng: random.Random) -> str:
    """Make a sentence from known words: the reader has to copy it, not to know it."""
    kind = rng.random()
    noun = rng.choice(words.REPEAT_WORDS)
    if kind < 0.35:
        return rng.choice(facts.RESULT_SENTENCES)
    if kind < 0.6:
        return f"The {noun} is {rng.choice(words.CUSTOM_STATES)}."
    if kind < 0.8:
        return f"The {noun} is in {words.capitalised(rng.choice(words.CITIES))}."
    return f"The {noun} and the {rng.choice(words.REPEAT_WORDS)} are {rng.choice(words.CUSTOM_STATES)}."


def _told_text(text: str, rng: random.Random) -> str:
    return rng.choice((text, text, text, json.dumps({"result": text}), json.dumps({"text": text}), text[:-1]))


def _news(act: Act, rng: random.Random) -> Outcome:
    text = _made_up(rng)
    return _told_text(text, rng), text


_TOLD: dict[str, Callable[[Act, random.Random], Outcome]] = {
    "calculate": _calculation,
    "convert": _conversion,
    "weather": _weather,
    "time": _time,
    "timer_left": _timer_left,
    "reminders": _reminders,
    "list_read": _list,
    "search": _search,
    "news": _news,
}
