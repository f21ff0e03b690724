"""Intents that nano answers by itself: small talk, the moment, counting, facts, the answers at a phone desk."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from scripts.nano.domain import facts
from scripts.nano.domain.abilities import UNKNOWN_PATTERN, listed_replies, unknown_replies
from scripts.nano.domain.intents import (
    CANNOT,
    Act,
    Draw,
    Intent,
    Replies,
    Situation,
    Values,
    Wish,
    cannot,
    each_of,
    fixed,
    nothing,
    one_of,
    wishes,
)
from scripts.nano.domain.numbers import VALUE, digits_of, sentence, spoken_digits, spoken_number, with_and
from scripts.nano.domain.phrasings import Phrasings, load
from scripts.nano.domain.vocabulary import DEPARTMENTS, MONTHS, NAMES, REPEAT_WORDS, WEEKDAYS, capitalised

# --- numbers ----------------------------------------------------------------------------------------------

SUM_MOST, FACTOR_MOST = 20, 10
"""Sums and products of numbers up to these are known by heart; all else needs a calculator."""


def sample_number(rng: random.Random, least: int = 0) -> int:
    """Draw a number up to 9999, small ones more often."""
    most = rng.choice((20, 20, 100, 100, 1000, 9999))
    number = rng.randint(least, most)
    if number > 200 and rng.random() < 0.3:
        number = min(max(round(number, -2), 100), 9900)
    return number


def said(number: int, rng: random.Random) -> str:
    """Say a number, sometimes with an "and"."""
    words = spoken_number(number)
    return with_and(words) if rng.random() < 0.15 else words


def _two_numbers(rng: random.Random) -> dict[str, str]:
    a, b = (rng.randint(0, SUM_MOST) for _ in "ab") if rng.random() < 0.4 else (sample_number(rng) for _ in "ab")
    return {"a": said(a, rng), "b": said(b, rng)}


def _falling_numbers(rng: random.Random) -> dict[str, str]:
    values = _two_numbers(rng)
    b, a = sorted(values.values(), key=lambda words: VALUE[words])
    return {"a": a, "b": b}


def _factors(rng: random.Random) -> dict[str, str]:
    a, b = rng.randint(1, FACTOR_MOST), rng.randint(1, FACTOR_MOST)
    if rng.random() >= 0.5:
        a = sample_number(rng, 1)
        b = rng.randint(1, min(100, 9999 // a))
    return {"a": said(a, rng), "b": said(b, rng)}


def _divided(rng: random.Random) -> dict[str, str]:
    b = rng.choice((2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 12, 20, 100))
    a = b * rng.randint(1, min(500, 9999 // b)) if rng.random() < 0.75 else sample_number(rng, 1)
    return {"a": said(a, rng), "b": said(b, rng)}


def _percent(rng: random.Random) -> dict[str, str]:
    a = rng.choice((rng.randint(1, 99) * 100, rng.randint(1, 50) * 10, sample_number(rng, 1)))
    return {"a": said(a, rng), "b": spoken_number(rng.choice((1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 90)))}


def _calculated(form: str) -> Wish:
    return lambda v, situation: Act("calculate", {"expression": form.format(a=VALUE[v["a"]], b=VALUE[v["b"]])})


def _by_heart(word: str, operation: Callable[[int, int], int], most: int) -> Replies:
    def replies(values: Values, situation: Situation) -> tuple[str, ...]:
        a, b = VALUE[values["a"]], VALUE[values["b"]]
        if max(a, b) > most or operation(a, b) < 0:
            return (CANNOT,)
        return (sentence(f"{spoken_number(a)} {word} {spoken_number(b)} is {spoken_number(operation(a, b))}"),)

    return replies


def _bigger(values: Values, situation: Situation) -> tuple[str, ...]:
    return (sentence(f"{spoken_number(max(VALUE[values['a']], VALUE[values['b']]))} is bigger"),)


def _different_numbers(rng: random.Random) -> dict[str, str]:
    a, b = rng.sample(range(100), 2)
    return {"a": spoken_number(a), "b": spoken_number(b)}


def _stepped(step: int, word: str) -> Replies:
    return lambda v, situation: (sentence(f"{spoken_number(VALUE[v['a']] + step)} comes {word} {v['a']}"),)


def count_reply(first: int, last: int) -> str:
    """Return the spoken count from `first` to `last`, both included: "One, two, three."."""
    step = 1 if last >= first else -1
    return sentence(", ".join(spoken_number(n) for n in range(first, last + step, step)))


def _count(values: Values, situation: Situation) -> tuple[str, ...]:
    return (count_reply(VALUE[values.get("a", "one")], VALUE[values["b"]]),)


def _count_down(values: Values, situation: Situation) -> tuple[str, ...]:
    return (count_reply(VALUE[values["b"]], 1),)


def _count_range(rng: random.Random) -> dict[str, str]:
    first = 1 if rng.random() < 0.3 else rng.randint(1, 90)
    last = min(100, first + rng.randint(2, 14))
    if rng.random() < 0.15:
        first, last = 1, rng.choice((30, 50, 100, 100))
    return {"a": spoken_number(first), "b": spoken_number(last)}


def _count_end(rng: random.Random) -> dict[str, str]:
    last = rng.choice((3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 12, 15, 20))
    if rng.random() < 0.12:
        last = rng.choice((30, 50, 100))
    return {"b": spoken_number(last)}


# --- the moment, neighbours -------------------------------------------------------------------------------


def neighbour(names: Sequence[str], name: str, step: int) -> str:
    """Return the name that stands `step` places after `name`, around the end."""
    return names[([n.lower() for n in names].index(name.lower()) + step) % len(names)]


def from_moment(form: str, what: str) -> Replies:
    """Fill {time}, {weekday}, {date}, {tomorrow}, {yesterday}, or say that the `what` is not known."""

    def replies(values: Values, situation: Situation) -> tuple[str, ...]:
        moment = situation.moment
        if moment is None:
            return (f"Sorry, I do not know the {what}.",)
        day = moment.weekday
        around = {"tomorrow": neighbour(WEEKDAYS, day, 1), "yesterday": neighbour(WEEKDAYS, day, -1)}
        return (form.format(time=moment.time, weekday=day, date=moment.date, **around),)

    return replies


def _beside(names: Sequence[str], step: int, word: str) -> Replies:
    return lambda v, situation: (f"{neighbour(names, v['a'], step)} comes {word} {v['a'].capitalize()}.",)


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


# --- words and facts --------------------------------------------------------------------------------------


def _words_to_repeat(rng: random.Random) -> dict[str, str]:
    return {"a": " ".join(rng.sample(REPEAT_WORDS, rng.choice((1, 1, 2, 2, 3))))}


def _fact(form: str, table: Mapping[str, str], capital: bool = False) -> Replies:
    def replies(values: Values, situation: Situation) -> tuple[str, ...]:
        key = values["a"]
        return (sentence(form.format(key.capitalize() if capital else key, table[key]), ""),)

    return replies


SPELLED = tuple(word for word in REPEAT_WORDS if len(word) <= 5)


def spelled(word: str) -> str:
    """Spell: "cat" is "C, A, T."."""
    return ", ".join(word.upper()) + "."


# --- the desk ---------------------------------------------------------------------------------------------


def _digits(rng: random.Random) -> dict[str, str]:
    words = spoken_digits("".join(rng.choice("0123456789") for _ in range(rng.choice((3, 4, 4, 4, 5, 6)))))
    return {"digits": words.replace("zero", "oh") if rng.random() < 0.2 else words}


def _heard_digits(values: Values, situation: Situation) -> tuple[str, ...]:
    return (f"I heard {spoken_digits(digits_of(values['digits']))}.",)


def _me(values: Values, situation: Situation) -> tuple[str, ...]:
    return (f"I am {situation.name}, a small voice assistant.",)


def _again(values: Values, situation: Situation) -> tuple[str, ...]:
    return (situation.last.reply_text if situation.last else SAID_NOTHING,)


GREETINGS = ("Hello, how can I help you?", "Hi, what can I do for you?", "Hello, what can I do for you?")
GREETING_PATTERN = r"(hello|hi) (how|what) can i"
SAID_NOTHING = "I did not say anything."
OUTSIDE = load()["unknown"]
"""Whole sentences that are no business of nano's."""
_MONTH = "|".join(_lower(MONTHS))
_NUMBERS_1: Draw = one_of("a", (spoken_number(n) for n in range(100)))

INTENTS: tuple[Intent, ...] = (
    Intent("greeting", nothing, fixed(*GREETINGS), GREETING_PATTERN, 1.2),
    Intent("greet_user", nothing, fixed(*GREETINGS), GREETING_PATTERN, 0.7),
    Intent("how_are_you", nothing, fixed("I am fine, thank you."), r"i am fine"),
    Intent("who_are_you", nothing, _me, r"i am \S+ a small voice assistant", 1.4),
    Intent(
        "what_can_you_do",
        nothing,
        listed_replies,
        r"i can .* and .*",
    ),
    Intent(
        "time",
        nothing,
        from_moment("It is {time}.", "time"),
        r"it is \S+( \S+)* (a|p) m$|sorry i do not know the time",
        3.0,
        wishes("time"),
    ),
    Intent(
        "weekday",
        nothing,
        from_moment("Today is {weekday}.", "day"),
        r"today is \S+day|sorry i do not know the day",
        1.8,
    ),
    Intent(
        "date",
        nothing,
        from_moment("It is {date}.", "date"),
        rf"it is ({_MONTH}) \S+( \S+)?|sorry i do not know the date",
        2.0,
    ),
    Intent("tomorrow", nothing, from_moment("Tomorrow is {tomorrow}.", "day"), r"tomorrow is \S+day", 0.8),
    Intent("yesterday", nothing, from_moment("Yesterday was {yesterday}.", "day"), r"yesterday was \S+day", 0.8),
    Intent("count", _count_range, _count, "", 1.2),
    Intent("count_to", _count_end, _count, "", 1.0),
    Intent("count_down", one_of("b", (spoken_number(n) for n in (3, 4, 5, 5, 6, 7, 8, 9, 10, 10, 12))), _count_down),
    Intent("next_number", _NUMBERS_1, _stepped(1, "after"), r"\S+( \S+)* comes after \S+( \S+)*"),
    Intent(
        "previous_number",
        one_of("a", (spoken_number(n) for n in range(1, 101))),
        _stepped(-1, "before"),
        r"\S+( \S+)* comes before \S+( \S+)*",
    ),
    Intent("bigger", _different_numbers, _bigger, r".* is bigger"),
    Intent(
        "plus",
        _two_numbers,
        _by_heart("plus", lambda a, b: a + b, SUM_MOST),
        r".* plus .* is .*",
        3.2,
        _calculated("{a} + {b}"),
    ),
    Intent(
        "minus",
        _falling_numbers,
        _by_heart("minus", lambda a, b: a - b, SUM_MOST),
        r".* minus .* is .*",
        2.4,
        _calculated("{a} - {b}"),
    ),
    Intent(
        "times",
        _factors,
        _by_heart("times", lambda a, b: a * b, FACTOR_MOST),
        r".* times .* is .*",
        2.4,
        _calculated("{a} * {b}"),
    ),
    Intent("divide", _divided, cannot, weight=1.6, wish=_calculated("{a} / {b}")),
    Intent("percent_of", _percent, cannot, weight=1.2, wish=_calculated("{a} * {b} / 100")),
    Intent("day_after", one_of("a", _lower(WEEKDAYS)), _beside(WEEKDAYS, 1, "after"), r"\S+day comes after \S+day"),
    Intent("day_before", one_of("a", _lower(WEEKDAYS)), _beside(WEEKDAYS, -1, "before"), r"\S+day comes before \S+day"),
    Intent("month_after", one_of("a", _lower(MONTHS)), _beside(MONTHS, 1, "after"), rf"({_MONTH}) comes after \S+"),
    Intent(
        "opposite",
        one_of("a", facts.OPPOSITE_OF),
        _fact("The opposite of {} is {}.", facts.OPPOSITE_OF),
        r"the opposite of .* is .*",
        1.4,
    ),
    Intent(
        "capital",
        one_of("a", facts.CAPITALS),
        _fact("The capital of {} is {}.", facts.CAPITALS, capital=True),
        r"the capital of .* is .*",
        1.4,
    ),
    Intent(
        "colour",
        one_of("a", facts.COLOUR_OF),
        _fact("{} is {}.", facts.COLOUR_OF),
        r"\S+( \S+)? is (" + "|".join(sorted(set(facts.COLOUR_OF.values()))) + r")$",
        1.2,
    ),
    Intent("sound", one_of("a", facts.SOUNDS), _fact("A {} says {}.", facts.SOUNDS), r"a \S+ says \S+"),
    Intent(
        "amount",
        one_of("a", facts.AMOUNTS),
        lambda values, situation: (facts.AMOUNTS[values["a"]],),
        r"there are .* (in|on) .*|a \S+ has \S+ legs",
        1.2,
    ),
    Intent("spell", one_of("word", SPELLED), lambda v, situation: (spelled(v["word"]),), r"\S( \S)+$", 1.4),
    Intent(
        "joke",
        nothing,
        fixed(*facts.JOKES),
        "|".join(re.sub(r"[^a-z ]", "", j.lower().split("?")[0]) + ".*" for j in facts.JOKES),
    ),
    Intent("story", nothing, fixed(*facts.STORIES), r"once upon a time.*|there was a small boat.*", 0.35),
    Intent("coin", nothing, fixed("Heads.", "Tails."), r"heads|tails", 0.8),
    Intent("die", nothing, fixed(*(f"I rolled a {spoken_number(n)}." for n in range(1, 7))), r"i rolled a \S+", 0.8),
    Intent("repeat", _words_to_repeat, lambda values, situation: (sentence(values["a"]),), "", 2.4),
    Intent("thanks", nothing, fixed("You are welcome."), r"you are welcome"),
    Intent("goodbye", nothing, fixed("Goodbye."), r"goodbye"),
    Intent("robot", nothing, fixed("I am a computer program."), r"i am a computer program"),
    Intent("age", nothing, fixed("I am very new."), r"i am very new", 0.8),
    Intent("favourite_colour", nothing, fixed("My favorite color is blue."), r"my favorite color is blue", 0.8),
    Intent("live", nothing, fixed("I live in this computer."), r"i live in this computer", 0.7),
    Intent("love", nothing, fixed("That is very kind of you."), r"that is very kind", 0.7),
    Intent("hear_me", nothing, fixed("Yes, I can hear you."), r"yes i can hear", 0.8),
    Intent("who_made_you", nothing, fixed("I was made with free software."), r"i was made", 0.7),
    Intent("apology", nothing, fixed("No problem."), r"no problem", 0.7),
    Intent("bored", nothing, fixed("I can tell you a joke."), r"i can tell you a joke", 0.7),
    Intent("sing", nothing, fixed("La, la, la, la."), r"la la", 0.7),
    Intent("acknowledge", nothing, fixed("Okay."), r"okay"),
    Intent("say_again", nothing, _again, weight=0.7),
    Intent("desk_yes", nothing, fixed("Okay."), r"okay", 0.9, wishes("confirm", answer="yes")),
    Intent("desk_no", nothing, fixed("Okay."), r"okay", 0.9, wishes("confirm", answer="no")),
    Intent(
        "desk_digits",
        _digits,
        _heard_digits,
        r"i heard .*",
        1.4,
        lambda v, situation: Act("digits", {"digits": digits_of(v["digits"])}),
    ),
    Intent(
        "desk_day",
        each_of(day=_lower(WEEKDAYS)),
        lambda values, situation: (f"You said {values['day'].capitalize()}.",),
        r"you said \S+day",
        1.0,
        lambda v, situation: Act("choose_day", {"day": v["day"].capitalize()}),
    ),
    Intent(
        "desk_name",
        each_of(name=NAMES),
        lambda values, situation: (f"Hello, {capitalised(values['name'])}.",),
        r"hello \S+$",
        1.6,
        lambda v, situation: Act("take_name", {"name": capitalised(v["name"])}),
    ),
    Intent(
        "desk_department",
        each_of(department=DEPARTMENTS),
        cannot,
        weight=1.0,
        wish=lambda v, situation: Act("transfer", {"department": v["department"]}),
    ),
    Intent(
        "unknown",
        each_of(**facts.OTHER_PARTS),
        unknown_replies,
        UNKNOWN_PATTERN,
        3.0,
        fixed=Phrasings((*facts.OTHER_FRAMES * 12, *OUTSIDE.train), OUTSIDE.unseen),
    ),
)
