"""Synthetic sounds for the turn benchmark, float32 [n] at 16 kHz: noise, coughs, doors, hums. The generator's seed
determines the samples."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Samples = NDArray[np.float32]
Colour = Literal["white", "pink", "hum"]

_LOUD_DB = 20.0  # windows more than this below the loudest are pauses and do not count for the level
_WINDOW = RATE // 50


def silence(seconds: float) -> Samples:
    """Digital silence."""
    return np.zeros(round(seconds * RATE), np.float32)


def level_db(samples: Samples) -> float:
    """The level of the loud part in dBFS: RMS of the 20 ms windows within 20 dB of the loudest one."""
    windows = samples[: len(samples) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    power = np.mean(np.square(windows if len(windows) else samples[None, :], dtype=np.float64), axis=1)
    loud = power[power >= power.max() * 10 ** (-_LOUD_DB / 10)]
    return float(10 * np.log10(loud.mean() + 1e-12))


def at_level(samples: NDArray[np.floating], db: float) -> Samples:
    """The samples scaled to this `level_db`."""
    sound = np.asarray(samples, np.float32)
    return np.asarray(sound * 10 ** ((db - level_db(sound)) / 20), np.float32)


def noise(seconds: float, colour: Colour, db: float, rng: np.random.Generator) -> Samples:
    """Room noise: white, pink (ventilation, traffic), or the hum of mains and fans over pink noise."""
    count = round(seconds * RATE)
    if colour == "white":
        return at_level(rng.standard_normal(count), db)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0)), count)
    if colour == "pink":
        return at_level(pink, db)
    time = np.arange(count) / RATE
    fan = sum(rng.uniform(0.2, 1.0) * np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) / k for k in range(1, 9))
    return at_level(fan + pink / pink.std(), db)


def cough(db: float, rng: np.random.Generator) -> Samples:
    """Two bursts of noise, the second weaker, band-limited between 300 and 4000 Hz."""
    time = np.arange(round(rng.uniform(0.3, 0.45) * RATE)) / RATE
    second = rng.uniform(0.17, 0.24)
    shape = np.exp(-time / rng.uniform(0.03, 0.06)) + rng.uniform(0.3, 0.7) * np.exp(-(((time - second) / 0.05) ** 2))
    breath = _band(len(time), rng.uniform(300, 500), rng.uniform(2500, 4000), rng)
    return at_level(breath * shape, db)


def door(db: float, rng: np.random.Generator) -> Samples:
    """A slamming door: a low thud and the click of the lock."""
    time = np.arange(round(rng.uniform(0.25, 0.4) * RATE)) / RATE
    thud = _band(len(time), 30, rng.uniform(200, 600), rng) * np.exp(-time / rng.uniform(0.04, 0.08))
    crack = _band(len(time), 600, 6000, rng) * np.exp(-time / 0.012)
    return at_level(thud + rng.uniform(0.3, 1.0) * crack, db)


def voiced_cough(db: float, rng: np.random.Generator) -> Samples:
    """A cough with a voiced end: breath noise, then a rough "uh" of falling pitch."""
    breath = at_level(cough(0.0, rng)[: round(0.12 * RATE)], 0.0)
    rough = _vowel(rng.uniform(0.16, 0.24), rng.uniform(110, 230), -1.2, (620, 1200, 2500), 0.25, rng)
    return at_level(np.concatenate((breath, rough)), db)


def ah(db: float, rng: np.random.Generator) -> Samples:
    """A short exclamation "ah"."""
    return at_level(_vowel(rng.uniform(0.2, 0.32), rng.uniform(100, 240), -0.4, (730, 1150, 2500), 0.03, rng), db)


def door_and_voices(db: float, rng: np.random.Generator) -> Samples:
    """A door opening to distant talk: a thud, then unintelligible vowels."""
    talk = [
        _vowel(rng.uniform(0.07, 0.12), rng.uniform(100, 240), rng.uniform(-0.5, 0.5), formants, 0.2, rng)
        for formants in ((500, 1500, 2500), (300, 2200, 2900), (650, 1000, 2400))
    ]
    far = np.concatenate(talk) + 0.3 * _band(sum(map(len, talk)), 200, 3000, rng) / 10
    return at_level(np.concatenate((at_level(door(0.0, rng), 0.0), at_level(far, -8.0))), db)


def hum(db: float, rng: np.random.Generator) -> Samples:
    """ "mhm" or "mm": one or two syllables with the mouth closed."""
    pitch, parts = rng.uniform(95, 220), []
    for beat in range(int(rng.integers(1, 3))):
        time = np.arange(round(rng.uniform(0.16, 0.26) * RATE)) / RATE
        frequency = pitch * (1.0 + 0.15 * beat) * (1 + rng.uniform(-0.3, 0.3) * time)
        phase = 2 * np.pi * np.cumsum(frequency) / RATE
        tone = sum(np.sin(k * phase) / k / (1 + (k * frequency / 330) ** 2) for k in range(1, 14))
        breath = 0.01 * rng.standard_normal(len(time))
        parts += [(tone + breath) * np.sqrt(np.hanning(len(time))), np.zeros(round(0.07 * RATE))]
    return at_level(np.concatenate(parts[:-1]), db)


def _vowel(
    seconds: float,
    pitch: float,
    slide: float,
    formants: tuple[float, ...],
    breath: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Harmonics shaped by ``formants`` (Hz); the pitch changes by ``slide`` octaves per second."""
    time = np.arange(round(seconds * RATE)) / RATE
    frequency = pitch * 2 ** (slide * time) * (1 + 0.01 * rng.standard_normal())
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    tone = np.zeros(len(time))
    for harmonic in range(1, int(4000 / pitch)):
        hertz = harmonic * frequency
        throat = sum(1 / (1 + ((hertz - formant) / (0.08 * formant + 40)) ** 2) for formant in formants)
        tone += np.sin(harmonic * phase) * throat / harmonic**0.5
    rise = np.minimum(1, time / 0.02) * np.minimum(1, (seconds - time) / 0.06)
    voice: NDArray[np.float64] = (tone / tone.std() + breath * rng.standard_normal(len(time))) * rise
    return voice


def _band(count: int, low: float, high: float, rng: np.random.Generator) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hertz = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 1.0)
    made: NDArray[np.float64] = np.fft.irfft(spectrum / (1 + (low / hertz) ** 4) / (1 + (hertz / high) ** 4), count)
    return made
