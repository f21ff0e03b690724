"""The echo gate: our own voice from a simulated loudspeaker, and others that speak over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.turns.echo import EchoGate
from realtime.turns.vad import FRAME_SAMPLES
from tests.turns import sounds

SPEECH = Path(__file__).parents[1] / "data" / "speech"
OURS = np.concatenate([sounds.read(path) for path in sorted(SPEECH.glob("*_slt.wav")) * 2])
THEIRS = sounds.read(SPEECH / "what_time_is_it_rms.wav", -24)


def echo(delay_ms: int, level_db: float, decay_s: float = 0.3) -> NDArray[np.float32]:
    """What the microphone hears of ours: a direct path and a room, after a delay, and a quiet room."""
    count = int(decay_s * sounds.RATE)
    response = np.random.default_rng(1).normal(size=count) * 10 ** (-3 * np.arange(count) / count)
    response[0] = 8.0
    size = len(OURS) + count
    wet = np.fft.irfft(np.fft.rfft(np.tanh(3 * OURS), size) * np.fft.rfft(response, size), size)[: len(OURS)]
    late = np.concatenate((np.zeros(delay_ms * 16), wet))[: len(OURS)]
    return sounds.at_level(late, -24 + level_db) + sounds.noise(len(OURS) / sounds.RATE, -65)[: len(OURS)]


def listen(gate: EchoGate, heard: NDArray[np.float32], played: NDArray[np.float32]) -> NDArray[np.bool_]:
    """For each frame, whether it holds more than our echo."""
    count = len(heard) // FRAME_SAMPLES
    frames = [slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES) for number in range(count)]
    return np.array([gate.foreign(heard[frame], played[frame]) for frame in frames])


@pytest.mark.parametrize("level_db", [-30, -15, 0])
@pytest.mark.parametrize("delay_ms", [50, 230, 500])
def test_our_own_echo_is_hardly_ever_taken_for_somebody(delay_ms: int, level_db: float) -> None:
    gate = EchoGate()
    heard = echo(delay_ms, level_db)
    foreign = listen(gate, heard, OURS)
    power = np.mean(np.square(heard[: len(foreign) * FRAME_SAMPLES].reshape(len(foreign), -1)), axis=1)
    audible = 10 * np.log10(power) > -58  # of a softer frame it does not matter
    assert foreign[40:][audible[40:]].mean() < 0.05
    assert gate.delay_ms == pytest.approx(delay_ms, abs=50)


@pytest.mark.parametrize("level_db", [-30, -15, -6])
def test_a_voice_over_the_echo_is_heard(level_db: float) -> None:
    heard, start = echo(230, level_db), 6 * sounds.RATE
    heard[start : start + len(THEIRS)] += THEIRS
    foreign = listen(EchoGate(), heard, OURS)[start // FRAME_SAMPLES :][: len(THEIRS) // FRAME_SAMPLES]
    assert foreign.mean() > 0.3
    assert foreign[:12].any(), "not within 400 ms"


def test_with_headphones_a_voice_passes_as_if_we_were_silent() -> None:
    heard, start = sounds.noise(len(OURS) / sounds.RATE, -65)[: len(OURS)], 6 * sounds.RATE
    heard[start : start + len(THEIRS)] += THEIRS
    gate = EchoGate()
    foreign = listen(gate, heard, OURS)[start // FRAME_SAMPLES :][: len(THEIRS) // FRAME_SAMPLES]
    loud = np.abs(THEIRS[: len(foreign) * FRAME_SAMPLES]).reshape(len(foreign), -1).max(axis=1) > 0.03
    assert foreign[2:][loud[2:]].mean() > 0.9
    assert gate.echo_db < -30


def test_nothing_is_gated_while_we_are_silent() -> None:
    assert listen(EchoGate(), THEIRS, np.zeros_like(THEIRS)).all()
