"""Sounds for tests: float32 at 16 kHz. Seeded, so the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
Sound = Callable[[], NDArray[np.float32]]
Noise = Callable[[int], NDArray[np.float32]]


def read(path: Path, level_db: float = -24) -> NDArray[np.float32]:
    """A recording, 16 kHz mono."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return at_level(samples, level_db)


def at_level(samples: NDArray[np.float64], level_db: float) -> NDArray[np.float32]:
    """With this RMS, in dBFS."""
    return (samples * 10 ** (level_db / 20) / np.sqrt(np.mean(np.square(samples)))).astype(np.float32)


def noise(seconds: float, level_db: float, seed: int = 0) -> NDArray[np.float32]:
    """White noise."""
    return at_level(np.random.default_rng(seed).normal(size=int(seconds * RATE)), level_db)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(int(seconds * RATE), np.float32)


def hum(pitch: float, beats: Sequence[float] = (0.18, 0.22), level_db: float = -24) -> NDArray[np.float32]:
    """One beat is "mm", two are "mhm": harmonics behind a closed mouth (falling over 350 Hz), the second higher."""
    parts: list[NDArray[np.float64]] = []
    for number, seconds in enumerate(beats):
        time = np.arange(int(seconds * RATE)) / RATE
        frequency = pitch * (1.15 if number else 1.0) * (1 + 0.06 * time / seconds)
        phase = 2 * np.pi * np.cumsum(frequency) / RATE
        tone = sum(np.sin(k * phase) / k / (1 + (k * frequency / 350) ** 2) for k in range(1, 14))
        parts += [tone * np.sin(np.pi * time / seconds) ** 0.5, np.zeros(int(0.08 * RATE))]
    return at_level(np.concatenate(parts[:-1]), level_db)


def cough(seed: int, level_db: float = -20) -> NDArray[np.float32]:
    """Two bursts of breath between 400 and 3500 Hz."""
    time = np.arange(int(0.35 * RATE)) / RATE
    shape = np.exp(-time / 0.05) * (time < 0.15) + 0.5 * np.exp(-(((time - 0.2) / 0.06) ** 2))
    return at_level(_band(seed, len(time), 400, 3500) * shape, level_db)


def door(seed: int, level_db: float = -20) -> NDArray[np.float32]:
    """A thud with a crack at its start."""
    time = np.arange(int(0.3 * RATE)) / RATE
    thud = _band(seed, len(time), 40, 500) * np.exp(-time / 0.06)
    return at_level(thud + _band(seed + 100, len(time), 500, 5000) * np.exp(-time / 0.01), level_db)


def _band(seed: int, count: int, low: float, high: float) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    hertz = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 1.0)
    return np.fft.irfft(spectrum / (1 + (low / hertz) ** 4) / (1 + (hertz / high) ** 4), count)
