"""Copies of what was played, found in what is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realtime.turns.gcc_phat import copy_gains, find_copy
from tests.turns import sounds

SPEECH = Path(__file__).parents[1] / "data" / "speech"
PLAYED = sounds.read(SPEECH / "what_time_is_it_slt.wav")[:24_000]
OTHER = sounds.read(SPEECH / "hello_rms.wav")
HEARD = 7168
EDGES = np.array([300.0, 800.0, 2000.0, 4000.0])


def delayed(by: int) -> np.ndarray:
    """The last `HEARD` samples of what is heard of `PLAYED`, so much later."""
    return PLAYED[len(PLAYED) - by - HEARD : len(PLAYED) - by]


@pytest.mark.parametrize("by", [0, 1, 1600, 8000])
def test_a_copy_is_found_to_the_sample(by: int) -> None:
    found = find_copy(0.1 * delayed(by), PLAYED, sounds.RATE)
    assert found.delay == by and found.clearness > 15


def test_another_voice_is_no_copy() -> None:
    heard = OTHER[2000 : 2000 + HEARD]
    assert np.abs(heard).max() > 0.05
    assert find_copy(heard, PLAYED, sounds.RATE).clearness < 10


def test_silence_is_no_copy() -> None:
    assert find_copy(np.zeros(HEARD, np.float32), PLAYED, sounds.RATE).clearness < 10


@pytest.mark.parametrize("db", [-20.0, 0.0])
def test_the_gain_of_a_copy_is_its_own_whatever_speaks_over_it(db: float) -> None:
    copy = delayed(1600) * 10 ** (db / 20)
    alone = copy_gains(copy, PLAYED, 1600, EDGES, sounds.RATE)
    assert alone == pytest.approx([db] * 3, abs=0.01)
    voice = OTHER[2000 : 2000 + HEARD]
    voice = voice * np.sqrt(np.mean(np.square(copy)) / np.mean(np.square(voice)))
    over = copy_gains(copy + voice, PLAYED, 1600, EDGES, sounds.RATE)
    assert np.mean(over) == pytest.approx(db, abs=3.0)
