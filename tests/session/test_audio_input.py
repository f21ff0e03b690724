"""The input audio buffer: what is detected, kept and committed."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.audio.streams import AudioFormat, float_to_pcm16
from realtime.session.input.audio_input import AudioInput
from realtime.turns.echo import MAX_HOLD_MS
from realtime.turns.endpointing import EndpointingConfig
from tests.fakes import LoudnessDetector

PCM_16K = AudioFormat("pcm16", 16_000)


def microphone(keep_s: float = 10.0) -> AudioInput:
    return AudioInput(LoudnessDetector(), PCM_16K, keep_s=keep_s)


def hear(mic: AudioInput, samples: np.ndarray) -> None:
    for piece in mic.slices(float_to_pcm16(samples)):
        list(mic.push(piece))


def ramp(count: int, start: int = 0) -> np.ndarray:
    return (np.arange(start, start + count) % 1000 / 32768).astype(np.float32)


@pytest.mark.parametrize("size", [1, 100, 1600, 5000])
def test_a_turn_is_every_sample_once_in_order(size: int) -> None:
    mic, heard = microphone(), ramp(5000)
    for start in range(0, 5000, size):
        hear(mic, heard[start : start + size])
    assert np.array_equal(mic.take(4000), heard[:4000])
    assert np.array_equal(mic.take(5000), heard[4000:])


def test_a_turn_keeps_what_a_begun_turn_needs() -> None:
    mic = microphone(keep_s=0.1)
    hear(mic, ramp(1600))
    assert mic.begin_turn(600) == 600
    hear(mic, ramp(16_000))
    assert len(mic.take(17_600)) == 17_000


def test_turns_begin_no_earlier_than_the_kept_audio() -> None:
    mic = microphone(keep_s=0.1)
    hear(mic, ramp(16_000))
    assert mic.begin_turn(100) == 16_000 - 1600


def test_with_turn_detection_only_the_padding_is_kept() -> None:
    mic = microphone()
    mic.detect(EndpointingConfig(prefix_padding_ms=300))
    hear(mic, np.zeros(160_000, np.float32))
    assert mic.kept == (300 + 500 + MAX_HOLD_MS) * 16


def test_a_change_of_format_loses_no_sample() -> None:
    mic = AudioInput(LoudnessDetector(), AudioFormat("pcm16", 24_000), keep_s=10.0)
    list(mic.push(bytes(2 * 24_000)))
    mic.format = PCM_16K
    assert mic.received == 16_000
    list(mic.push(bytes(2 * 16_000)))
    assert mic.received == 32_000


def test_uncommitted_audio_counts_even_when_no_longer_kept() -> None:
    mic = microphone(keep_s=0.1)
    hear(mic, ramp(16_000))
    assert mic.uncommitted_ms == 1000
    mic.drop()
    assert (mic.uncommitted_ms, mic.kept) == (0, 0)


def test_turns_in_many_small_pieces_are_kept_whole() -> None:
    mic = microphone()
    mic.detect(EndpointingConfig())
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 320 * 211).astype(np.float32)
    mic.begin_turn(0)
    for start in range(0, len(sound), 320):
        hear(mic, sound[start : start + 320])
    middle = 30_001
    assert mic.peek(middle) == pytest.approx(sound[:middle], abs=1e-4)
    mic.pass_over(middle)
    assert mic.take(len(sound)) == pytest.approx(sound[middle:], abs=1e-4)
    assert mic.kept == 0
