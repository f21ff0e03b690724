"""Noise reduction by a spectral gate. Depends on numpy only.

In frames of 32 ms, the noise of each frequency bin is estimated as its minimum power over about a second (minimum
statistics, Martin 2001, in the simplest form). The gain follows the estimated signal-to-noise ratio, smoothed over time
against musical noise (decision-directed, Ephraim and Malah 1984). Steady noise (fans, hum, hiss) is attenuated; music
and other voices are not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_RATE = 16_000
_FRAME, _HOP = 512, 256
_BINS = _FRAME // 2 + 1
_POWER_SMOOTHING = 0.8
_GAIN_SMOOTHING = 0.96
_MINIMA, _MINIMUM_FRAMES = 6, 12
"""The minimum is taken over 6 · 12 hops of 16 ms: 1.15 s, longer than a syllable."""
_MINIMUM_BIAS = 2.0
"""The minimum of many smoothed powers is below their mean by about this factor."""


class NoiseReducer:
    """One stream, float32 mono at 16 kHz. Sample i of the output corresponds to sample i of the input, with a delay of
    up to 32 ms. ``most_db``: the largest attenuation.
    """

    def __init__(self, most_db: float) -> None:
        self._floor = np.float32(10 ** (-most_db / 20))
        self._window = np.sqrt(np.hanning(_FRAME + 1)[:_FRAME]).astype(np.float32)
        self._smoothed: NDArray[np.float32] | None = None
        self._minima = np.full((_MINIMA, _BINS), np.inf, np.float32)
        self._frames = 0
        self._cleaned = np.zeros(_BINS, np.float32)  # last frame: power after the gain divided by the noise
        self._restart()

    def _restart(self) -> None:
        self._input = np.zeros(_HOP, np.float32)  # half a frame before the first sample
        self._tail = np.zeros(_HOP, np.float32)
        self._fresh = True
        self._owed = 0

    def push(self, samples: Samples) -> Samples:
        """Float32 [n] -> float32 [k], a multiple of 256."""
        self._owed += len(samples)
        self._input = np.concatenate((self._input, samples), dtype=np.float32)
        hops: list[Samples] = []
        while len(self._input) >= _FRAME:
            hops.append(self._frame(self._input[:_FRAME]))
            self._input = self._input[_HOP:]
        if hops and self._fresh:  # the part before the stream's first sample
            hops, self._fresh = hops[1:], False
        out = np.concatenate(hops) if hops else np.zeros(0, np.float32)
        self._owed -= len(out)
        return out

    def flush(self) -> Samples:
        """The samples held back. The next `push` begins a new stream and keeps the noise estimate."""
        wanted = self._owed
        rest = self.push(np.zeros(2 * _FRAME, np.float32))[:wanted]
        self._restart()
        return rest

    def _frame(self, samples: Samples) -> Samples:
        spectrum = np.fft.rfft(samples * self._window)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        cleaned = np.fft.irfft(spectrum * self._gain(power), _FRAME).astype(np.float32) * self._window
        out: Samples = self._tail + cleaned[:_HOP]
        self._tail = cleaned[_HOP:]
        return out

    def _gain(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        over = power / (self._noise(power) + np.float32(1e-12))
        speech = _GAIN_SMOOTHING * self._cleaned + (1 - _GAIN_SMOOTHING) * np.maximum(over - 1, 0)
        gain: NDArray[np.float32] = np.maximum(speech / (1 + speech), self._floor).astype(np.float32)
        self._cleaned = gain**2 * over
        return gain

    def _noise(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Noise power per bin."""
        if self._smoothed is None:
            self._smoothed = power
        self._smoothed = _POWER_SMOOTHING * self._smoothed + (1 - _POWER_SMOOTHING) * power
        block = self._frames // _MINIMUM_FRAMES % _MINIMA
        if self._frames % _MINIMUM_FRAMES == 0:
            self._minima[block] = self._smoothed
        else:
            np.minimum(self._minima[block], self._smoothed, out=self._minima[block])
        self._frames += 1
        noise: NDArray[np.float32] = _MINIMUM_BIAS * self._minima.min(axis=0)
        return noise
