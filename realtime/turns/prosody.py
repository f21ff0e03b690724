"""Samples -> level, pitch, periodicity and openness of the mouth over time. Numpy, no state.

A contour has one value every ``HOP_SAMPLES`` (16 ms), each from a window of 64 ms: two periods of a pitch of 60 Hz
fit into half of it. [k] is the number of windows.

The periodicity is the autocorrelation of the window over that of the window function (Boersma 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
HOP_SAMPLES = 256
WINDOW_SAMPLES = 1024

_FFT = 1280  # the window and the longest lag fit: no lag wraps around
_LOWEST_HZ, _HIGHEST_HZ = 70, 420  # pitch, from a low male voice to a child's
_FIRST_LAG, _LAST_LAG = SAMPLE_RATE // _HIGHEST_HZ, SAMPLE_RATE // _LOWEST_HZ
_OCTAVE_COST = (
    0.9  # a peak at half the period counts when it is nearly as high: else low voices come out an octave down
)
_BAND_HZ = (60, 3500)
_CLOSED_HZ = 450  # a closed mouth passes little but the lowest harmonics; vowels have their first formant from here on
_CLOSED_HARMONICS = 2.2
_OVERSUBTRACTION = 2.0  # noise exceeds its mean at times; as in spectral subtraction (Berouti 1979)
_SILENCE = 1e-10

VOICED_PERIODICITY = 0.6
"""Periodicity from which a window counts as voiced: vowels and hums are over 0.8, coughs and doors under 0.4."""


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """``level_db``: RMS in dBFS. ``pitch_hz``: valid where ``voiced``. ``periodicity``: 0 to 1. ``openness``: share of
    the energy in the band that only an open mouth passes, 0 to 1. All float32 [k]."""

    level_db: NDArray[np.float32]
    pitch_hz: NDArray[np.float32]
    periodicity: NDArray[np.float32]
    openness: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.level_db)

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """Where the sound has a pitch, [k]."""
        return self.periodicity >= VOICED_PERIODICITY


def contour(samples: NDArray[np.float32], room: NDArray[np.float32] | None = None) -> Contour:
    """Float32 [n] at 16 kHz -> k = (n - 1024) // 256 + 1 windows; none when n < 1024.

    ``room``: room noise without speech, float32 [m]; it is subtracted before the openness is computed.
    """
    if len(samples) < WINDOW_SAMPLES:
        nothing = np.zeros(0, np.float32)
        return Contour(nothing, nothing, nothing, nothing)
    windows, power = _spectra(samples)
    shape_lags = _window()[1]
    level = 10 * np.log10(np.mean(np.square(windows), axis=1) + _SILENCE)
    pitch, periodicity = _pitch(power, shape_lags)
    return Contour(level.astype(np.float32), pitch, periodicity, _openness(_without(room, power), pitch))


def _spectra(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.floating]]:
    windows = sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    windows = windows - windows.mean(axis=1, keepdims=True)  # microphones have a DC offset
    return windows, np.abs(np.fft.rfft(windows * _window()[0], _FFT)) ** 2


def _without(room: NDArray[np.float32] | None, power: NDArray[np.floating]) -> NDArray[np.floating]:
    if room is None or len(room) < WINDOW_SAMPLES:
        return power
    noise = _spectra(room)[1].mean(axis=0)
    left: NDArray[np.floating] = np.maximum(power - _OVERSUBTRACTION * noise, 0)
    return left


def _pitch(
    power: NDArray[np.floating], shape_lags: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    lags = np.fft.irfft(power)[:, : _LAST_LAG + 1]
    correlation = lags / np.maximum(lags[:, :1], _SILENCE) / shape_lags
    searched = correlation[:, _FIRST_LAG:]
    highest = searched.max(axis=1)
    is_peak = np.zeros_like(searched, dtype=bool)
    is_peak[:, 1:-1] = (searched[:, 1:-1] >= searched[:, :-2]) & (searched[:, 1:-1] >= searched[:, 2:])
    good = is_peak & (searched >= _OCTAVE_COST * highest[:, None])
    lag = np.where(good.any(axis=1), good.argmax(axis=1), searched.argmax(axis=1)) + _FIRST_LAG
    periodicity = np.where(good.any(axis=1), np.clip(highest, 0, 1), 0)
    return (SAMPLE_RATE / lag).astype(np.float32), periodicity.astype(np.float32)


def _openness(power: NDArray[np.floating], pitch: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = (_bin(hertz) for hertz in _BAND_HZ)
    total = power[:, low:high].sum(axis=1)
    closed = np.maximum(_CLOSED_HZ, _CLOSED_HARMONICS * pitch)
    is_open = np.arange(low, high) * (SAMPLE_RATE / _FFT) >= closed[:, None]
    share: NDArray[np.float32] = np.where(is_open, power[:, low:high], 0).sum(axis=1) / np.maximum(total, _SILENCE)
    return share.astype(np.float32)


def _bin(hertz: float) -> int:
    return round(hertz * _FFT / SAMPLE_RATE)


@lru_cache(maxsize=1)
def _window() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The Hann window and its own autocorrelation, at the lags in use."""
    shape = np.hanning(WINDOW_SAMPLES).astype(np.float32)
    lags = np.fft.irfft(np.abs(np.fft.rfft(shape, _FFT)) ** 2)[: _LAST_LAG + 1]
    return shape, lags / lags[0]
