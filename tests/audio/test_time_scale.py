"""Speech at another speed: as long as it should be, at the same pitch, and the same however it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from realtime.audio.time_scale import Samples, TimeScaler

RATE = 16_000
SPEECH = Path(__file__).parents[2] / "realtime" / "commands" / "speech" / "what_time_is_it.wav"


@pytest.fixture(scope="module")
def speech() -> Samples:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == RATE
    return np.asarray(samples, np.float32)


def scaled(samples: Samples, speed: float, piece: int) -> Samples:
    scaler = TimeScaler(speed, RATE)
    pieces = [scaler.push(samples[start : start + piece]) for start in range(0, len(samples), piece)]
    return np.concatenate((*pieces, scaler.flush()))


def pitch(samples: Samples) -> float:
    """Median fundamental in Hz of the voiced parts."""
    found = []
    for start in range(0, len(samples) - RATE // 20, RATE // 50):
        frame = samples[start : start + RATE // 20]
        alike = np.correlate(frame, frame, "full")[len(frame) - 1 :]
        period = RATE // 400 + int(np.argmax(alike[RATE // 400 : RATE // 70]))
        if alike[0] > 1 and alike[period] > 0.5 * alike[0]:
            found.append(RATE / period)
    return float(np.median(found))


@pytest.mark.parametrize("speed", [0.25, 0.7, 1.25, 1.5])
def test_the_length_changes_and_the_pitch_stays(speech: Samples, speed: float) -> None:
    out = scaled(speech, speed, 3200)
    assert len(out) == round(len(speech) / speed)
    assert pitch(out) == pytest.approx(pitch(speech), rel=0.03)
    assert np.sqrt(np.mean(out**2)) == pytest.approx(np.sqrt(np.mean(speech**2)), rel=0.15)


@pytest.mark.parametrize("piece", [1, 160, 1999, 100_000])
def test_how_the_input_is_cut_makes_no_difference(speech: Samples, piece: int) -> None:
    samples = speech[4000:8000] if piece == 1 else speech
    np.testing.assert_array_equal(scaled(samples, 1.3, piece), scaled(samples, 1.3, 700))


def test_speed_one_changes_nothing(speech: Samples) -> None:
    np.testing.assert_array_equal(scaled(speech, 1.0, 700), speech)


@pytest.mark.parametrize("length", [0, 1, 100, 961])
def test_even_a_short_stream_has_its_length(length: int) -> None:
    assert len(scaled(np.ones(length, np.float32), 0.5, 64)) == 2 * length


def test_a_steady_tone_stays_steady() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    out = scaled(tone, 1.4, 800)[RATE // 50 : -RATE // 20]
    levels = [np.sqrt(np.mean(out[start : start + 160] ** 2)) for start in range(0, len(out) - 160, 160)]
    assert min(levels) > 0.9 * max(levels)


def test_flush_resets_the_stream(speech: Samples) -> None:
    scaler = TimeScaler(1.5, RATE)
    first = np.concatenate((scaler.push(speech), scaler.flush()))
    np.testing.assert_array_equal(np.concatenate((scaler.push(speech), scaler.flush())), first)


def test_a_speed_beyond_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="speed"):
        TimeScaler(9.0, RATE)
