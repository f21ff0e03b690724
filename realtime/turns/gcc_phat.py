"""Is a stretch of sound an echo of the playback, and how late? By generalised cross-correlation (GCC-PHAT).

Both spectra are whitened, most of the way (PHAT to the power `_WHITENING`), so that an echo gives one sharp peak at its
delay where plain correlation follows the pitch of the voice. With 0.45 s of sound in simulated rooms
(`scripts/measure_echo.py`; echo at -6 dB, most of it from the walls) the peak was over 10 times the root mean square in
96 of 100 echoes, and in 5 of 100 other voices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WHITENING = 0.85
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 5000.0
_WINDOW = 1024  # of the spectra that coherence is averaged over, in samples


@dataclass(frozen=True, slots=True)
class DelayEstimate:
    """The best match: ``delay`` samples from playback to microphone; ``peak_to_rms``: the height of the correlation's
    peak over its root mean square at all delays."""

    delay: int
    peak_to_rms: float


def find_delay(near_end: NDArray[np.float32], far_end: NDArray[np.float32], rate: int) -> DelayEstimate:
    """Microphone [n] and playback [m], m > n, both up to now -> the likeliest delay, 0 to m - n samples."""
    size, max_delay = len(far_end), len(far_end) - len(near_end)
    far = np.fft.rfft(far_end)
    near = np.fft.rfft(near_end * np.hanning(len(near_end)), size)
    cross = np.conj(near) * far
    hertz = np.fft.rfftfreq(size, 1 / rate)
    cross[(hertz < _LOWEST_HZ) | (hertz > _HIGHEST_HZ)] = 0.0
    correlation = np.abs(np.fft.irfft(cross / np.maximum(np.abs(cross), 1e-20) ** _WHITENING, size)[max_delay::-1])
    best = int(correlation.argmax())
    return DelayEstimate(best, float(correlation[best] / np.sqrt(np.mean(np.square(correlation)) + 1e-30)))


def echo_gains(
    near_end: NDArray[np.float32], far_end: NDArray[np.float32], delay: int, edges: NDArray[np.float64], rate: int
) -> NDArray[np.float64]:
    """The echo's level against the playback in dB, in the bands between ``edges`` (Hz, [b + 1]): [b].

    ``near_end`` [n] and ``far_end`` [m] both up to now, n + delay <= m. Only what is coherent with the playback counts,
    so speech over the echo hardly adds to it: with 0.45 s, where plain energies were 6 dB too high, 0 dB (median).
    """
    source = far_end[len(far_end) - delay - len(near_end) : len(far_end) - delay]
    near, far = _spectra(near_end), _spectra(source)
    energy = np.sum(np.square(np.abs(far)), axis=0)
    coherent = np.square(np.abs(np.sum(np.conj(far) * near, axis=0))) / np.maximum(energy, 1e-12)
    bins = np.round(edges * _WINDOW / rate).astype(int)
    echo, played = (np.add.reduceat(x[: bins[-1]], bins[:-1]) + 1e-12 for x in (coherent, energy))
    gains: NDArray[np.float64] = 10 * np.log10(echo / played)
    return gains


def _spectra(sound: NDArray[np.float32]) -> NDArray[np.complex128]:
    starts = range(0, len(sound) - _WINDOW + 1, _WINDOW // 4)
    return np.stack([np.fft.rfft(sound[start : start + _WINDOW] * np.hanning(_WINDOW)) for start in starts])
