"""A voice over ours: what takes the floor and what was nothing. Sounds are made here; words are recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.turns.interruption import InterruptionConfig, Verdict, Voice, judge, speech_level
from tests.turns import sounds
from tests.turns.sounds import RATE

WORDS = sorted((Path(__file__).parents[1] / "data" / "speech" / "short").glob("*.wav"))


def heard(
    sound: NDArray[np.float32], *, room: NDArray[np.float32] | None = None, usual_db: float | None = None
) -> Voice:
    """All of it, and the silence after it. Of a short word, less than 480 ms are voiced."""
    length = len(sound) * 1000 / RATE
    return Voice(sound, min(length, 450), 160, length + 160, room=room, usual_db=usual_db)


def verdict(sound: NDArray[np.float32], **known: float | NDArray[np.float32]) -> Verdict:
    return judge(heard(sound, **known), InterruptionConfig())  # type: ignore[arg-type]


@pytest.mark.parametrize("pitch", [90, 120, 180, 240])
@pytest.mark.parametrize("beats", [(0.3,), (0.12, 0.15)])
def test_a_hum_is_nothing(pitch: float, beats: tuple[float, ...]) -> None:
    assert verdict(sounds.hum(pitch, beats)) is Verdict.NOTHING


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("make", [sounds.cough, sounds.door])
def test_what_has_no_tone_is_nothing(make: sounds.Noise, seed: int) -> None:
    assert verdict(make(seed)) is Verdict.NOTHING


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
def test_a_short_word_takes_the_floor(path: Path) -> None:
    assert verdict(sounds.read(path)) is Verdict.TAKES


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
def test_a_word_much_softer_than_the_callers_turns_is_nothing(path: Path) -> None:
    word = sounds.read(path)
    level = speech_level(word)
    assert level is not None
    assert verdict(word, usual_db=level + 15) is Verdict.NOTHING
    assert verdict(word, usual_db=level + 5) is Verdict.TAKES


def test_a_longer_voice_much_softer_than_the_callers_turns_has_time_to_fall_silent() -> None:
    words = np.concatenate([sounds.read(WORDS[0]), sounds.read(WORDS[1])])
    level = speech_level(words)
    assert level is not None
    aside = Voice(words, 480, 0, 550, usual_db=level + 15)
    assert judge(aside, InterruptionConfig()) is Verdict.WAIT
    assert judge(replace(aside, hushed_ms=160, lasted_ms=710), InterruptionConfig()) is Verdict.NOTHING
    assert judge(replace(aside, voiced_ms=890, lasted_ms=960), InterruptionConfig()) is Verdict.TAKES
    assert judge(replace(aside, usual_db=level + 5), InterruptionConfig()) is Verdict.TAKES


def test_a_hum_in_a_noisy_room_is_still_a_hum() -> None:
    room = sounds.noise(2.0, -40)
    hum = sounds.hum(130, (0.35,))
    assert verdict(hum + room[: len(hum)], room=room[-RATE:]) is Verdict.NOTHING


def test_undecided_sound_waits() -> None:
    word = sounds.read(WORDS[0])
    assert judge(Voice(word, 300, 64, 364), InterruptionConfig()) is Verdict.WAIT


@pytest.mark.parametrize("make", [lambda: sounds.hum(130, (1.2,)), lambda: sounds.read(WORDS[0])])
def test_everything_is_decided_in_time(make: sounds.Sound) -> None:
    sound = make()
    assert judge(Voice(sound, 400, 0, 960), InterruptionConfig()) is not Verdict.WAIT


@pytest.mark.parametrize("length", [0, 100, 1023, 1024])
def test_the_shortest_of_sounds_is_judged(length: int) -> None:
    assert verdict(np.zeros(length, np.float32)) is Verdict.NOTHING


# Where a transcript can be had


@pytest.mark.parametrize("path", WORDS, ids=lambda path: path.stem)
def test_a_short_word_is_asked_for_as_soon_as_it_is_over(path: Path) -> None:
    word = replace(heard(sounds.read(path)), hushed_ms=96, lasted_ms=700, words=True)
    assert judge(word, InterruptionConfig()) is Verdict.WORD
    assert judge(replace(word, hushed_ms=64), InterruptionConfig()) is Verdict.WAIT
    assert judge(replace(word, hushed_ms=320, lasted_ms=960), InterruptionConfig()) is Verdict.TAKES


def test_a_voice_that_goes_on_beyond_a_word_takes_the_floor_unheard() -> None:
    words = np.concatenate([sounds.read(WORDS[0]), sounds.read(WORDS[1])])
    going_on = Voice(words, 608, 0, 608, words=True)
    assert judge(going_on, InterruptionConfig()) is Verdict.WAIT
    assert judge(replace(going_on, voiced_ms=640, lasted_ms=640), InterruptionConfig()) is Verdict.TAKES


@pytest.mark.parametrize(
    "sound", [sounds.hum(120, (0.3,)), sounds.cough(1), sounds.door(1)], ids=["hum", "cough", "door"]
)
def test_what_is_surely_no_word_is_not_asked_for(sound: NDArray[np.float32]) -> None:
    nothing = replace(heard(sound), words=True)
    assert judge(nothing, InterruptionConfig()) is Verdict.NOTHING
    assert judge(replace(nothing, hushed_ms=96), InterruptionConfig()) is Verdict.WAIT
