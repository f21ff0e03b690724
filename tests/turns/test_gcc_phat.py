"""The echo of playback, found in the microphone signal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realtime.turns.gcc_phat import echo_gains, find_delay
from tests.turns import sounds

SPEECH = Path(__file__).parents[1] / "data" / "speech"
PLAYED = sounds.read(SPEECH / "what_time_is_it_slt.wav")[:24_000]
OTHER = sounds.read(SPEECH / "hello_rms.wav")
HEARD = 7168
EDGES = np.array([300.0, 800.0, 2000.0, 4000.0])


def delayed(by: int) -> np.ndarray:
    """The last `HEARD` samples of the echo of `PLAYED` with this delay."""
    return PLAYED[len(PLAYED) - by - HEARD : len(PLAYED) - by]


@pytest.mark.parametrize("by", [0, 1, 1600, 8000])
def test_the_delay_is_exact_to_the_sample(by: int) -> None:
    found = find_delay(0.1 * delayed(by), PLAYED, sounds.RATE)
    assert found.delay == by and found.peak_to_rms > 15


def test_another_voice_is_no_echo() -> None:
    heard = OTHER[2000 : 2000 + HEARD]
    assert np.abs(heard).max() > 0.05
    assert find_delay(heard, PLAYED, sounds.RATE).peak_to_rms < 10


def test_silence_is_no_echo() -> None:
    assert find_delay(np.zeros(HEARD, np.float32), PLAYED, sounds.RATE).peak_to_rms < 10


@pytest.mark.parametrize("db", [-20.0, 0.0])
def test_speech_over_the_echo_leaves_its_gain(db: float) -> None:
    echo = delayed(1600) * 10 ** (db / 20)
    alone = echo_gains(echo, PLAYED, 1600, EDGES, sounds.RATE)
    assert alone == pytest.approx([db] * 3, abs=0.01)
    voice = OTHER[2000 : 2000 + HEARD]
    voice = voice * np.sqrt(np.mean(np.square(echo)) / np.mean(np.square(voice)))
    over = echo_gains(echo + voice, PLAYED, 1600, EDGES, sounds.RATE)
    assert np.mean(over) == pytest.approx(db, abs=3.0)
