"""The scripted conversations: reproducible, and true to their descriptions."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.bench.turns.corpus import CLIPS, SPEECH_DB, Case, clips, compose
from realtime.bench.turns.synthetic_noise import RATE, level_db

KINDS = ("sentence", "filler", "short", "barge", "backchannel", "reply")


def test_a_seed_determines_the_samples(corpus: tuple[Case, ...]) -> None:
    again, other = compose(0), compose(1)
    assert [case.name for case in corpus] == [case.name for case in again] == [case.name for case in other]
    for case, twin in zip(corpus, again, strict=True):
        assert np.array_equal(case.speech, twin.speech) and np.array_equal(case.room, twin.room)
        assert (case.overlap is None) == (twin.overlap is None)
        if case.overlap is not None and twin.overlap is not None:
            assert np.array_equal(case.overlap.samples, twin.overlap.samples)
            assert case.overlap.after_s == twin.overlap.after_s
    assert any(len(case.speech) != len(twin.speech) for case, twin in zip(corpus, other, strict=True))


def test_every_kind_has_enough_cases(corpus: tuple[Case, ...]) -> None:
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


def test_pauses_are_as_long_as_named(corpus: tuple[Case, ...]) -> None:
    for case in corpus:
        if case.kind.startswith("pause"):
            silent = np.flatnonzero(case.speech == 0.0)
            runs = np.split(silent, np.flatnonzero(np.diff(silent) > 1) + 1)
            inside = max(len(run) for run in runs if run[0] > 0)
            assert inside / RATE == pytest.approx(float(case.kind.split()[1]), abs=0.01), case.name


def test_noise_is_as_loud_as_named(corpus: tuple[Case, ...]) -> None:
    for case in corpus:
        if case.kind.startswith("noise"):
            assert SPEECH_DB - level_db(case.room) == pytest.approx(float(case.kind.split()[1]), abs=0.1)


def test_only_barge_ins_are_marked_as_such(corpus: tuple[Case, ...]) -> None:
    for case in corpus:
        if case.overlap is not None:
            assert case.overlap.is_barge_in == case.kind.startswith("barge-in")
            assert np.isfinite(case.overlap.samples).all()


def test_the_clips_are_complete_and_small() -> None:
    assert sum(path.stat().st_size for path in CLIPS.glob("*.flac")) < 2e6
    assert sum(len(clips(kind)) for kind in KINDS) == len(list(CLIPS.glob("*.flac")))
    for clip in clips("sentence"):
        assert clip.cut is None or 0.2 * len(clip.samples) < clip.cut < 0.8 * len(clip.samples), clip.name
