"""Is a stretch of sound a copy of what we played, and from how long ago? By waveforms: generalised cross-correlation.

Both spectra are flattened, most of the way (PHAT to the power `_WHITENING`), so that a copy gives one sharp peak at its
delay where plain correlation gives the hills of the voice's pitch. With 0.45 s of sound in simulated rooms
(`scripts/measure_echo.py`; echo at -6 dB, most of it from the walls) the clearness of the echo was above 10 in 96 of
100, that of another voice in 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WHITENING = 0.85
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 5000.0
_WINDOW = 1024  # of the spectra that coherence is averaged over, in samples


@dataclass(frozen=True, slots=True)
class Copy:
    """The best match: ``delay`` samples before it was heard it was played; ``clearness``: its height over the root mean
    square at all delays."""

    delay: int
    clearness: float


def find_copy(heard: NDArray[np.float32], played: NDArray[np.float32], rate: int) -> Copy:
    """``heard`` [n] and ``played`` [m], m > n, both up to now -> the likeliest delay, 0 to m - n samples."""
    size, most = len(played), len(played) - len(heard)
    ours = np.fft.rfft(played)
    theirs = np.fft.rfft(heard * np.hanning(len(heard)), size)
    cross = np.conj(theirs) * ours
    hertz = np.fft.rfftfreq(size, 1 / rate)
    cross[(hertz < _LOWEST_HZ) | (hertz > _HIGHEST_HZ)] = 0.0
    likeness = np.abs(np.fft.irfft(cross / np.maximum(np.abs(cross), 1e-20) ** _WHITENING, size)[most::-1])
    best = int(likeness.argmax())
    return Copy(best, float(likeness[best] / np.sqrt(np.mean(np.square(likeness)) + 1e-30)))


def copy_gains(
    heard: NDArray[np.float32], played: NDArray[np.float32], delay: int, edges: NDArray[np.float64], rate: int
) -> NDArray[np.float64]:
    """How loud the copy is against what was played, in dB, in the bands between ``edges`` (Hz, [b + 1]): [b].

    ``heard`` [n] and ``played`` [m] both up to now, n + delay <= m. Only what is coherent with the played sound counts,
    so a voice over the copy hardly adds to it: with 0.45 s, where plain energies were 6 dB too high, 0 dB (median).
    """
    source = played[len(played) - delay - len(heard) : len(played) - delay]
    theirs, ours = _spectra(heard), _spectra(source)
    energy = np.sum(np.square(np.abs(ours)), axis=0)
    coherent = np.square(np.abs(np.sum(np.conj(ours) * theirs, axis=0))) / np.maximum(energy, 1e-12)
    bins = np.round(edges * _WINDOW / rate).astype(int)
    copied, given = (np.add.reduceat(x[: bins[-1]], bins[:-1]) + 1e-12 for x in (coherent, energy))
    gains: NDArray[np.float64] = 10 * np.log10(copied / given)
    return gains


def _spectra(sound: NDArray[np.float32]) -> NDArray[np.complex128]:
    starts = range(0, len(sound) - _WINDOW + 1, _WINDOW // 4)
    return np.stack([np.fft.rfft(sound[start : start + _WINDOW] * np.hanning(_WINDOW)) for start in starts])
