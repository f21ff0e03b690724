"""How long to wait in a pause: what the voice tells, and what is known of the caller."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from realtime.turns.turn_completion import ENDPOINTING_DELAYS, Pauses, completion_probability
from tests.turns import sounds


def voice(pitches: list[float], levels_db: list[float], seconds: float) -> NDArray[np.float32]:
    """Harmonics whose pitch and loudness go through these points."""
    count = int(seconds * sounds.RATE)
    at = np.linspace(0, 1, count)
    frequency = np.interp(at, np.linspace(0, 1, len(pitches)), pitches)
    phase = 2 * np.pi * np.cumsum(frequency) / sounds.RATE
    gain = 10 ** (np.interp(at, np.linspace(0, 1, len(levels_db)), levels_db) / 20)
    return (gain * sum(np.sin(k * phase) / k for k in range(1, 12))).astype(np.float32)


LIVELY = [140.0, 160.0, 135.0, 155.0, 130.0]


def test_falling_pitch_sounds_more_final_than_level_pitch() -> None:
    falls = voice([*LIVELY, 90.0], [-20, -20, -26], 1.5)
    level = np.concatenate((voice(LIVELY, [-20], 1.0), voice([130.0], [-20], 0.5)))
    assert completion_probability(falls) > 0.6 > 0.4 > completion_probability(level)


def test_a_drawn_out_sound_says_not_yet() -> None:
    sentence = voice(LIVELY, [-20], 0.9)
    short, long = (np.concatenate((sentence, voice([130.0], [-20], seconds))) for seconds in (0.1, 0.6))
    assert completion_probability(long) < completion_probability(short)


@pytest.mark.parametrize("count", [0, 100, 5000])
def test_too_little_to_go_by_says_nothing(count: int) -> None:
    assert completion_probability(np.zeros(count, np.float32)) == 0.5


@given(
    st.sampled_from(list(ENDPOINTING_DELAYS)), st.none() | st.floats(0, 1e6), st.lists(st.floats(50, 5000), max_size=40)
)
def test_completeness_shortens_the_delay_within_its_bounds(
    eagerness: str, lasted_ms: float | None, heard: list[float]
) -> None:
    delay, pauses = ENDPOINTING_DELAYS[eagerness], Pauses()  # type: ignore[index]
    for pause in heard:
        pauses.add(pause)
    chances = (0.0, 0.2, 0.5, 0.8, 1.0)
    if lasted_ms is None:
        waits = [delay.by_prosody_ms(chance, pauses) for chance in chances]
    else:
        waits = [delay.by_model_ms(chance, lasted_ms, pauses) for chance in chances]
    assert all(more >= less for more, less in pairwise(waits))
    assert delay.min_ms <= min(waits) and max(waits) <= delay.max_ms + 1e-6


def test_the_lower_the_eagerness_the_longer_the_wait() -> None:
    eager = [ENDPOINTING_DELAYS[e] for e in ("high", "medium", "low")]  # type: ignore[index]
    for waits in (
        [delay.by_prosody_ms(0.5, Pauses()) for delay in eager],
        [delay.by_model_ms(0.1, 500, Pauses()) for delay in eager],
    ):
        assert waits == sorted(waits)


def test_who_pauses_long_is_waited_for_longer() -> None:
    slow, quick = Pauses(), Pauses()
    for _ in range(10):
        slow.add(1500.0)
        quick.add(250.0)
    medium = ENDPOINTING_DELAYS["medium"]
    assert medium.by_prosody_ms(0.2, slow) > 1.5 * medium.by_prosody_ms(0.2, quick)
    assert medium.by_model_ms(0.2, 1000, slow) > 1.1 * medium.by_model_ms(0.2, 1000, quick)


@given(st.sampled_from(list(ENDPOINTING_DELAYS)), st.floats(0, 1), st.floats(0, 9000), st.floats(0, 9000))
def test_silence_itself_speaks_for_the_end(eagerness: str, finished: float, one_ms: float, other_ms: float) -> None:
    delay, shorter, longer = ENDPOINTING_DELAYS[eagerness], min(one_ms, other_ms), max(one_ms, other_ms)  # type: ignore[index]
    assert delay.by_model_ms(finished, longer, Pauses()) <= delay.by_model_ms(finished, shorter, Pauses()) + 1e-6
