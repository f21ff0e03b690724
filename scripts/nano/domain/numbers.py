"""Numbers and times of day between words, digits and clock notation."""

from __future__ import annotations

from datetime import datetime

from realtime.checkpoint import instructions as spoken

MOST = 9999
"""The greatest number that a user says."""


def spoken_number(n: int) -> str:
    """Say an integer from 0 to 999999: 42 is "forty two", 4365 "four thousand three hundred sixty five"."""
    return spoken.number(n)


def spoken_decimal(value: float) -> str:
    """Say a number with at most one decimal: -2.5 is "minus two point five"."""
    sign = "minus " if value < 0 else ""
    tenths = round(abs(value) * 10)
    whole, tenth = divmod(tenths, 10)
    return sign + spoken_number(whole) + (f" point {spoken_number(tenth)}" if tenth else "")


def written_decimal(value: float) -> str:
    """Write a number with at most one decimal: "6.2", "6"."""
    return f"{round(value, 1):.1f}".removesuffix(".0")


def with_and(words: str) -> str:
    """The other way to say a number: "one hundred and five", "two thousand and five"."""
    size = " hundred " if " hundred " in words else " thousand "
    head, found, tail = words.rpartition(size)
    return f"{head}{found}and {tail}" if found and "hundred" not in tail else words


VALUE: dict[str, int] = {spoken_number(n): n for n in range(MOST + 1)}
"""Spoken number -> value; both with and without "and"."""
VALUE |= {with_and(words): n for words, n in VALUE.items()}
NUMBER_WORDS = frozenset(word for words in VALUE for word in words.split())

DIGIT = {str(n): spoken_number(n) for n in range(10)}


def spoken_digits(digits: str) -> str:
    """Say digits one by one: "407" is "four zero seven"."""
    return " ".join(DIGIT[d] for d in digits)


def digits_of(words: str) -> str:
    """Write digits that were said one by one; "oh" is a zero."""
    return "".join(str(VALUE["zero" if w == "oh" else w]) for w in words.split())


def spoken_time(hour: int, minute: int) -> str:
    """Say a time of day: 15:05 is "three oh five p m", 15:00 is "three o'clock p m"."""
    return spoken.time(datetime(2000, 1, 1, hour, minute))


def spoken_date(month: int, day: int) -> str:
    """Say a date: (11, 22) is "November twenty second"."""
    return spoken.date(datetime(2000, month, day))


def clock(hour: int, minute: int) -> str:
    """Write a time of day: "07:05"."""
    return f"{hour:02d}:{minute:02d}"


def sayings_of_time(hour: int, minute: int) -> tuple[str, ...]:
    """The ways in which a user may say a time of day, most usual first. Without a half of the day it is as written."""
    half = "a m" if hour < 12 else "p m"
    name, following = spoken_number(hour % 12 or 12), spoken_number((hour + 1) % 12 or 12)
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    said = [spoken_time(hour, minute)]
    if minute == 0:
        said += [f"{name} {half}", f"{name} {part}", f"{name} o'clock {part}"]
    elif minute == 30:
        said += [f"half past {name} {part}"]
    elif minute == 15:
        said += [f"quarter past {name} {part}"]
    elif minute == 45:
        said += [f"quarter to {following} {part}"]
    else:
        said += [f"{spoken_time(hour, minute).removesuffix(half).strip()} {part}"]
    if 1 <= hour <= 12:
        bare = spoken_time(hour, minute).rsplit(" ", 2)[0]
        said.append(bare)
        if minute == 30:
            said.append(f"half past {name}")
        elif minute == 15:
            said.append(f"quarter past {name}")
        elif minute == 0:
            said.append(name)
    if minute == 0 and hour in (0, 12):
        said.append("midnight" if hour == 0 else "noon")
    return tuple(said)


CLOCK: dict[str, str] = {}
"""Spoken time of day -> "HH:MM"; what has no half of the day is read as written."""
for _hour in range(24):
    for _minute in range(60):
        for _words in sayings_of_time(_hour, _minute):
            CLOCK.setdefault(_words, clock(_hour, _minute))


def say_clock(written: str) -> str:
    """Say "07:05" as "seven oh five a m". Raises ValueError for what is no time."""
    hour, minute = written.split(":")
    return spoken_time(int(hour), int(minute))


def sentence(text: str, end: str = ".") -> str:
    """Capitalise the first letter and close with `end`."""
    return text[0].upper() + text[1:] + end
