from __future__ import annotations

from datetime import datetime

import pytest

from realtime.checkpoint import instructions as spoken


@pytest.mark.parametrize(
    ("hour", "minute", "words"),
    [
        (15, 15, "three fifteen p m"),
        (3, 5, "three oh five a m"),
        (0, 0, "twelve o'clock a m"),
        (12, 0, "twelve o'clock p m"),
        (23, 59, "eleven fifty nine p m"),
        (9, 40, "nine forty a m"),
    ],
)
def test_times_are_spoken_as_people_say_them(hour: int, minute: int, words: str) -> None:
    assert spoken.time(datetime(2026, 11, 22, hour, minute)) == words


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (1, "first"),
        (12, "twelfth"),
        (20, "twentieth"),
        (22, "twenty second"),
        (30, "thirtieth"),
        (31, "thirty first"),
    ],
)
def test_days_of_the_month_are_ordinals(day: int, words: str) -> None:
    assert spoken.date(datetime(2026, 1, day)) == f"January {words}"


def test_instructions_are_filled_and_other_braces_left_alone() -> None:
    moment = datetime(2026, 11, 22, 15, 15)
    template = 'Now it is {time}, {weekday}, {date}. Answer as {"a": 1} or {name}.'
    assert spoken.fill(template, moment) == (
        'Now it is three fifteen p m, Sunday, November twenty second. Answer as {"a": 1} or {name}.'
    )
