"""Batches of fixed shape give what the ragged way gives. On CUDA the same operations are captured as graphs."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming_vocoder import fixed_solver
from streaming_vocoder.errors import OptionError
from streaming_vocoder.streaming import Samples, Vocoder
from streaming_vocoder.voice import Voice
from tests.vocoder.conftest import codes, make_vocoder, make_voice

TOLERANCE = 2e-4
VOICES = [make_voice(seed, tokens) for seed, tokens in ((0, 12), (1, 60))]


@pytest.fixture(scope="module")
def fixed() -> Vocoder:
    return make_vocoder(trim="prompt", fixed_streams=3)


@pytest.fixture(scope="module")
def ragged() -> Vocoder:
    return make_vocoder(trim="prompt")


def speak(vocoder: Vocoder, rounds: list[list[int]], voices: list[Voice]) -> list[Samples]:
    """Every round gives each stream a chunk of so many tokens; a last one ends all."""
    streams = [vocoder.open(voice, seed) for seed, voice in enumerate(voices)]
    made: list[list[Samples]] = [[] for _ in streams]
    for number, sizes in enumerate([*rounds, [2] * len(streams)]):
        requests = [
            (stream, codes(stream.wanted(size), seed=number), number == len(rounds))
            for stream, size in zip(streams, sizes, strict=True)
        ]
        for parts, samples in zip(made, vocoder.step(requests), strict=True):
            parts.append(samples)
    return [np.concatenate(parts) for parts in made]


# 3 streams have a place in the pool, so with 4 one is ragged; 7 is no fixed length, 40 makes a cache leave the pool.
@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from([5, 7, 10, 25, 40]), min_size=4, max_size=4), max_size=6))
def test_fixed_shapes_sound_like_ragged_ones(fixed: Vocoder, ragged: Vocoder, rounds: list[list[int]]) -> None:
    voices = [VOICES[0], VOICES[1], VOICES[0], VOICES[1]]
    for one, other in zip(speak(fixed, rounds, voices), speak(ragged, rounds, voices), strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)


def test_fixed_length_chunks_use_the_fixed_solver(fixed: Vocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("the ragged way was taken")

    fixed.prepare(VOICES[0])
    monkeypatch.setattr(fixed._flow.solver, "step", refuse)
    streams = [fixed.open(VOICES[0]) for _ in range(3)]
    assert fixed.step([(stream, codes(28), False) for stream in streams])[2].size
    with pytest.raises(AssertionError):
        fixed.step([(streams[0], codes(7), False)])


def test_a_prepared_voice_has_all_its_shapes(fixed: Vocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a graph would be captured while callers wait."""
    voice = make_voice(2, 8)
    fixed.prepare(voice)
    gc.collect()
    streams = [fixed.open(voice) for _ in range(3)]
    monkeypatch.setattr(fixed_solver, "_Shape", None)
    for rung in (5, 10, 25):
        for count in (1, 2, 3):
            fixed.step([(stream, codes(stream.wanted(rung)), False) for stream in streams[:count]])


def test_a_dropped_stream_gives_its_place_back(fixed: Vocoder) -> None:
    pool = fixed._flow.fixed.pool  # type: ignore[union-attr]
    gc.collect()
    streams = [fixed.open(VOICES[0]) for _ in range(4)]
    assert [pool.row(stream.flow.solver) is None for stream in streams] == [False, False, False, True]
    del streams[1]
    assert pool.row(fixed.open(VOICES[1]).flow.solver) is not None


def test_a_broken_stream_does_not_affect_its_successor(fixed: Vocoder, ragged: Vocoder) -> None:
    gc.collect()
    stream = fixed.open(VOICES[0])
    with torch.inference_mode():
        stream.flow.solver.cache.own.fill_(float("nan"))
    fixed.step([(stream, codes(28), False)])  # what a mask hides must be a number too
    assert stream.report.broken_chunks == 1
    with torch.inference_mode():
        stream.flow.solver.cache.own.fill_(float("nan"))
    del stream
    rounds = [[25], [10]]
    for one, other in zip(speak(fixed, rounds, VOICES[:1]), speak(ragged, rounds, VOICES[:1]), strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)


def test_fixed_shapes_need_the_prompt_rule() -> None:
    with pytest.raises(OptionError, match="need trim=prompt"):
        make_vocoder(trim="upstream", fixed_streams=2)
