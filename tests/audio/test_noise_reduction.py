"""The spectral gate: steady noise goes down, speech stays, and the stream keeps its sample count."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from realtime.audio.noise_reduction import NoiseReducer, Samples
from tests.audio.test_time_scale import SPEECH


def clean_and_noisy(snr_db: float) -> tuple[Samples, Samples]:
    """Speech with a second of pause before and behind it, without and with white noise."""
    speech = np.asarray(soundfile.read(SPEECH, dtype="float32")[0], np.float32)
    pause = np.zeros(16_000, np.float32)
    clean = np.concatenate((pause, speech, pause))
    level = np.sqrt(np.mean(speech**2)) * 10 ** (-snr_db / 20)
    noise = np.random.default_rng(0).standard_normal(len(clean)) * level
    return clean, (clean + noise).astype(np.float32)


def reduced(samples: Samples, piece: int = 1600, most_db: float = 18) -> Samples:
    reducer = NoiseReducer(most_db)
    pieces = [reducer.push(samples[start : start + piece]) for start in range(0, len(samples), piece)]
    return np.concatenate((*pieces, reducer.flush()))


def db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples**2)))


@pytest.mark.parametrize("snr_db", [5, 20])
def test_noise_in_pauses_goes_down_and_speech_gains(snr_db: float) -> None:
    clean, noisy = clean_and_noisy(snr_db)
    out = reduced(noisy)
    assert db(out[-8000:]) < db(noisy[-8000:]) - 14
    spoken = slice(16_000, -16_000)
    assert db((out - clean)[spoken]) < db((noisy - clean)[spoken]) - 3


def test_clean_speech_is_hardly_touched() -> None:
    clean, noisy = clean_and_noisy(50)
    assert db(reduced(noisy) - clean) < db(clean) - 25


@pytest.mark.parametrize("piece", [1, 100, 256, 5000])
def test_the_output_is_as_long_as_the_input(piece: int) -> None:
    _, noisy = clean_and_noisy(20)
    noisy = noisy[:4001]
    np.testing.assert_allclose(reduced(noisy, piece), reduced(noisy, 777), atol=1e-6)
    assert len(reduced(noisy, piece)) == len(noisy)


def test_with_nothing_to_lower_the_input_comes_back() -> None:
    _, noisy = clean_and_noisy(20)
    np.testing.assert_allclose(reduced(noisy, most_db=0), noisy, atol=1e-5)


def test_a_stream_that_was_flushed_goes_on() -> None:
    _, noisy = clean_and_noisy(20)
    reducer = NoiseReducer(12)
    first = np.concatenate((reducer.push(noisy[:5000]), reducer.flush()))
    second = np.concatenate((reducer.push(noisy[5000:9000]), reducer.flush()))
    assert (len(first), len(second)) == (5000, 4000)
