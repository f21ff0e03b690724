"""The scripted conversations: reproducible, with a truth that their sound bears out."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bench.turns.corpus import CLIPS, SPEECH_DB, Case, clips, compose
from realtime.bench.turns.synthetic_noise import RATE, level_db

KINDS = ("sentence", "filler", "short", "barge", "backchannel", "reply")


@pytest.fixture(scope="module")
def corpus() -> tuple[Case, ...]:
    return compose(0)


def test_the_same_seed_gives_the_same_samples_and_another_one_others(corpus: tuple[Case, ...]) -> None:
    again, other = compose(0), compose(1)
    assert [case.name for case in corpus] == [case.name for case in again] == [case.name for case in other]
    for case, twin in zip(corpus, again, strict=True):
        assert np.array_equal(case.speech, twin.speech) and np.array_equal(case.room, twin.room)
        assert (case.over is None) == (twin.over is None)
        if case.over is not None and twin.over is not None:
            assert np.array_equal(case.over.samples, twin.over.samples)
            assert case.over.after_s == twin.over.after_s
    assert any(len(case.speech) != len(twin.speech) for case, twin in zip(corpus, other, strict=True))


def test_there_are_enough_cases_of_every_kind(corpus: tuple[Case, ...]) -> None:
    assert len(corpus) >= 100
    assert len({case.name for case in corpus}) == len(corpus)
    kinds = {case.kind for case in corpus}
    assert kinds >= {"plain", "pause 0.9 s", "hesitation", "short", "noise 0 dB", "nothing", "barge-in"}
    assert kinds >= {"barge-in, noise", "barge-in, echo", "cough", "door", "mhm", "word 14 dB softer", "echo"}


def test_a_turn_ends_with_its_last_voiced_sample(corpus: tuple[Case, ...]) -> None:
    for case in corpus:
        if case.turn_end is not None:
            assert case.turn_end == len(case.speech)
            assert level_db(case.speech[case.turn_end - RATE // 20 : case.turn_end]) > SPEECH_DB - 40, case.name


def test_pauses_in_sentences_are_as_long_as_they_say(corpus: tuple[Case, ...]) -> None:
    for case in corpus:
        if case.kind.startswith("pause"):
            silent = np.flatnonzero(case.speech == 0.0)
            runs = np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1)
            inside = max(len(run) for run in runs if run[0] > 0)
            assert inside / RATE == pytest.approx(float(case.kind.split()[1]), abs=0.01), case.name


def test_noise_is_as_loud_as_it_says(corpus: tuple[Case, ...]) -> None:
    for case in corpus:
        if case.kind.startswith("noise"):
            assert SPEECH_DB - level_db(case.room) == pytest.approx(float(case.kind.split()[1]), abs=0.1)


def test_what_must_not_stop_the_reply_is_said_to_be_not_meant(corpus: tuple[Case, ...]) -> None:
    for case in corpus:
        if case.over is not None:
            assert case.over.meant == case.kind.startswith("barge-in")
            assert np.isfinite(case.over.samples).all()


def test_the_clips_are_small_and_there() -> None:
    assert sum(path.stat().st_size for path in CLIPS.glob("*.flac")) < 2e6
    assert sum(len(clips(kind)) for kind in KINDS) == len(list(CLIPS.glob("*.flac")))
    for clip in clips("sentence"):
        assert clip.cut is None or 0.2 * len(clip.samples) < clip.cut < 0.8 * len(clip.samples), clip.name
