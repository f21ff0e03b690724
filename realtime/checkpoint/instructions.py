"""Times and dates as spoken English words, for the placeholders of an instructions template."""

from __future__ import annotations

from datetime import datetime

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = (
    "_ first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()


def number(n: int) -> str:
    """0..999999 as words: ``forty two``, ``three thousand six hundred five``. Raises ValueError outside."""
    if not 0 <= n <= 999_999:
        raise ValueError(f"got {n}, expected 0 to 999999")
    if n < 20:
        return _ONES[n]
    if n < 100:
        return _TENS[n // 10] + (f" {_ONES[n % 10]}" if n % 10 else "")
    size, name = (1000, "thousand") if n >= 1000 else (100, "hundred")
    return f"{number(n // size)} {name}" + (f" {number(n % size)}" if n % size else "")


def time(moment: datetime) -> str:
    """``three fifteen p m``, ``three oh five a m``, ``twelve o'clock p m``."""
    hour = number(moment.hour % 12 or 12)
    half = "a m" if moment.hour < 12 else "p m"
    if moment.minute == 0:
        return f"{hour} o'clock {half}"
    return f"{hour} {'oh ' if moment.minute < 10 else ''}{number(moment.minute)} {half}"


def date(moment: datetime) -> str:
    """``November twenty second``."""
    tens, ones = divmod(moment.day, 10)
    if moment.day <= 20:
        day = _ORDINALS[moment.day]
    elif ones == 0:
        day = "thirtieth"
    else:
        day = f"{_TENS[tens] if tens < 3 else 'thirty'} {_ORDINALS[ones]}"
    return f"{moment:%B} {day}"


def fill(template: str, moment: datetime) -> str:
    """Replace ``{time}``, ``{weekday}`` and ``{date}``; text without placeholders is returned unchanged.

    All other braces are kept: instructions may contain JSON.
    """
    values = {"time": time(moment), "weekday": f"{moment:%A}", "date": date(moment)}
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return template
