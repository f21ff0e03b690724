"""Words of one syllable are heard, on the real voice detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.turns.endpointing import Endpointer
from realtime.turns.events import SpeechEvent, SpeechStarted, SpeechStopped
from realtime.turns.vad import SileroVad
from tests.turns import sounds

WORDS = sorted((Path(__file__).parents[1] / "data" / "speech" / "short").glob("*.wav"))


@pytest.fixture(scope="module")
def model() -> SileroVad:
    return SileroVad()


def hear(model: SileroVad, samples: NDArray[np.float32]) -> list[SpeechEvent]:
    room = sounds.noise(len(samples) / sounds.RATE, -65)
    turns = (SpeechStarted, SpeechStopped)
    return [event for event in Endpointer(model.open()).push(samples + room) if isinstance(event, turns)]


@pytest.mark.parametrize("level_db", [-15, -30, -42])
@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
def test_a_short_word_is_one_turn(model: SileroVad, path: Path, level_db: float) -> None:
    word = sounds.read(path, level_db)
    started, stopped = hear(model, np.concatenate((sounds.silence(0.8), word, sounds.silence(0.8))))
    assert isinstance(started, SpeechStarted) and isinstance(stopped, SpeechStopped)
    assert started.start <= 0.8 * sounds.RATE + 512  # nothing of the word is cut off
    assert stopped.voiced_until >= (0.8 * sounds.RATE + len(word)) * 0.85


@pytest.mark.parametrize("path", WORDS[:3], ids=lambda path: path.stem)
def test_short_words_are_heard_after_minutes_of_noise(model: SileroVad, path: Path) -> None:
    room = sounds.noise(120.0, -55)
    started, _ = hear(model, np.concatenate((room, sounds.read(path), sounds.silence(0.8))))
    assert isinstance(started, SpeechStarted)
    assert started.start >= 119 * sounds.RATE
