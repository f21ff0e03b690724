"""Overlapping speech: barge-ins and false interruptions. Sounds are synthetic; words are recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.turns.interruption import InterruptionConfig, OverlapClass, OverlappingSpeech, classify, speech_level
from tests.turns import sounds
from tests.turns.sounds import RATE

WORDS = sorted((Path(__file__).parents[1] / "data" / "speech" / "short").glob("*.wav"))


def heard(
    sound: NDArray[np.float32], *, room: NDArray[np.float32] | None = None, usual_db: float | None = None
) -> OverlappingSpeech:
    """All of it, and the silence after it. Of a short word, less than 480 ms are voiced."""
    length = len(sound) * 1000 / RATE
    return OverlappingSpeech(sound, min(length, 450), 160, length + 160, room=room, usual_db=usual_db)


def classified(sound: NDArray[np.float32], **known: float | NDArray[np.float32]) -> OverlapClass:
    return classify(heard(sound, **known), InterruptionConfig())  # type: ignore[arg-type]


@pytest.mark.parametrize("pitch", [90, 120, 180, 240])
@pytest.mark.parametrize("beats", [(0.3,), (0.12, 0.15)])
def test_a_hum_is_a_false_interruption(pitch: float, beats: tuple[float, ...]) -> None:
    assert classified(sounds.hum(pitch, beats)) is OverlapClass.FALSE_INTERRUPTION


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("make", [sounds.cough, sounds.door])
def test_an_unvoiced_sound_is_a_false_interruption(make: sounds.Noise, seed: int) -> None:
    assert classified(make(seed)) is OverlapClass.FALSE_INTERRUPTION


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
def test_a_short_word_is_a_barge_in(path: Path) -> None:
    assert classified(sounds.read(path)) is OverlapClass.BARGE_IN


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
def test_a_much_softer_word_is_a_false_interruption(path: Path) -> None:
    word = sounds.read(path)
    level = speech_level(word)
    assert level is not None
    assert classified(word, usual_db=level + 15) is OverlapClass.FALSE_INTERRUPTION
    assert classified(word, usual_db=level + 5) is OverlapClass.BARGE_IN


def test_longer_soft_speech_is_decided_later() -> None:
    words = np.concatenate([sounds.read(WORDS[0]), sounds.read(WORDS[1])])
    level = speech_level(words)
    assert level is not None
    aside = OverlappingSpeech(words, 480, 0, 550, usual_db=level + 15)
    assert classify(aside, InterruptionConfig()) is OverlapClass.UNDECIDED
    assert (
        classify(replace(aside, silence_ms=160, elapsed_ms=710), InterruptionConfig())
        is OverlapClass.FALSE_INTERRUPTION
    )
    assert classify(replace(aside, voiced_ms=890, elapsed_ms=960), InterruptionConfig()) is OverlapClass.BARGE_IN
    assert classify(replace(aside, usual_db=level + 5), InterruptionConfig()) is OverlapClass.BARGE_IN


def test_a_hum_in_noise_is_still_a_hum() -> None:
    room = sounds.noise(2.0, -40)
    hum = sounds.hum(130, (0.35,))
    assert classified(hum + room[: len(hum)], room=room[-RATE:]) is OverlapClass.FALSE_INTERRUPTION


def test_undecided_sound_waits() -> None:
    word = sounds.read(WORDS[0])
    assert classify(OverlappingSpeech(word, 300, 64, 364), InterruptionConfig()) is OverlapClass.UNDECIDED


@pytest.mark.parametrize("make", [lambda: sounds.hum(130, (1.2,)), lambda: sounds.read(WORDS[0])])
def test_everything_is_decided_in_time(make: sounds.Sound) -> None:
    sound = make()
    assert classify(OverlappingSpeech(sound, 400, 0, 960), InterruptionConfig()) is not OverlapClass.UNDECIDED


@pytest.mark.parametrize("length", [0, 100, 1023, 1024])
def test_the_shortest_sounds_are_classified(length: int) -> None:
    assert classified(np.zeros(length, np.float32)) is OverlapClass.FALSE_INTERRUPTION


# Where a transcript can be had


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
def test_a_transcript_is_requested_after_a_short_word(path: Path) -> None:
    word = replace(heard(sounds.read(path)), silence_ms=96, elapsed_ms=700, has_transcripts=True)
    assert classify(word, InterruptionConfig()) is OverlapClass.SHORT_UTTERANCE
    assert classify(replace(word, silence_ms=64), InterruptionConfig()) is OverlapClass.UNDECIDED
    assert classify(replace(word, silence_ms=320, elapsed_ms=960), InterruptionConfig()) is OverlapClass.BARGE_IN


def test_speech_longer_than_a_word_needs_no_transcript() -> None:
    words = np.concatenate([sounds.read(WORDS[0]), sounds.read(WORDS[1])])
    going_on = OverlappingSpeech(words, 608, 0, 608, has_transcripts=True)
    assert classify(going_on, InterruptionConfig()) is OverlapClass.UNDECIDED
    assert classify(replace(going_on, voiced_ms=640, elapsed_ms=640), InterruptionConfig()) is OverlapClass.BARGE_IN


@pytest.mark.parametrize(
    "sound", [sounds.hum(120, (0.3,)), sounds.cough(1), sounds.door(1)], ids=["hum", "cough", "door"]
)
def test_a_sound_without_words_needs_no_transcript(sound: NDArray[np.float32]) -> None:
    nothing = replace(heard(sound), has_transcripts=True)
    assert classify(nothing, InterruptionConfig()) is OverlapClass.FALSE_INTERRUPTION
    assert classify(replace(nothing, silence_ms=96), InterruptionConfig()) is OverlapClass.UNDECIDED
