"""Changes the speed of speech at the same pitch: waveform-similarity overlap-add (Verhelst and Roelands, ICASSP 1993).

Windows of 40 ms are read from the input at ``speed`` times the distance at which they are added to the output. Each is
shifted by up to 10 ms to where the input is most similar to the continuation of the window before, so that the pitch
periods align. Depends on numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_HOP_MS = 20
"""Hop of the output. A window is two hops, two periods of the lowest voices (50 Hz)."""
_SEARCH_MS = 10
"""Largest shift of a window in each direction: one period of a 100 Hz voice."""


class TimeScaler:
    """One stream of speech, float32 mono. Holds back up to 50 ms of input until the next `push` or `flush`.

    The total output is as long as the total input divided by ``speed``, to a sample. Speed 1 passes the input through.
    """

    def __init__(self, speed: float, rate: int) -> None:
        if not 0.25 <= speed <= 4.0:
            raise ValueError(f"speed: got {speed}, expected 0.25 to 4")
        self._speed = speed
        self._hop = rate * _HOP_MS // 1000
        self._search = rate * _SEARCH_MS // 1000
        rise = np.hanning(2 * self._hop + 1)[: self._hop].astype(np.float32)
        self._rise, self._fall = rise, 1.0 - rise
        self._reset()

    def _reset(self) -> None:
        self._input = np.zeros(0, np.float32)
        self._start = 0  # of `_input`, in samples of the stream
        self._received = 0
        self._windows = 0
        self._made = 0
        self._tail = np.zeros(self._hop, np.float32)  # second half of the last window, to be added to the next one
        self._expected: Samples | None = None  # the input after the last window's first half

    def push(self, samples: Samples) -> Samples:
        """Float32 [n] -> float32 [about n / speed], may be empty."""
        if self._speed == 1.0:
            return samples
        self._received += len(samples)
        self._input = np.concatenate((self._input, samples), dtype=np.float32)
        return self._take_windows()

    def flush(self) -> Samples:
        """The samples held back. The next `push` begins a new stream."""
        if self._speed == 1.0 or not self._received:
            return np.zeros(0, np.float32)
        wanted = round(self._received / self._speed) - self._made
        reach = self._search + 2 * self._hop
        self._input = np.concatenate((self._input, np.zeros(reach + int(reach * self._speed), np.float32)))
        rest = np.concatenate((self._take_windows(), self._tail))[:wanted]
        self._reset()
        return np.concatenate((rest, np.zeros(wanted - len(rest), np.float32)))

    def _take_windows(self) -> Samples:
        """All output for which there is enough input."""
        hops: list[Samples] = []
        while (hop := self._take_window()) is not None:
            hops.append(hop)
        self._made += len(hops) * self._hop
        return np.concatenate(hops) if hops else np.zeros(0, np.float32)

    def _take_window(self) -> Samples | None:
        """The next hop of output; None if more input is needed."""
        nominal = round(self._windows * self._hop * self._speed)
        first = max(nominal - self._search, 0) if self._expected is not None else nominal
        last = nominal + self._search if self._expected is not None else nominal
        if last + 3 * self._hop > self._start + len(self._input):
            return None
        at = first - self._start
        if self._expected is not None:
            at += _most_alike(self._input[at : last - self._start + self._hop], self._expected)
        window = self._input[at : at + 2 * self._hop]
        opening = window[: self._hop] if self._windows == 0 else self._tail + window[: self._hop] * self._rise
        self._tail = window[self._hop :] * self._fall
        self._expected = window[self._hop :].copy()
        self._windows += 1
        self._forget(round(self._windows * self._hop * self._speed) - self._search)
        return opening

    def _forget(self, until: int) -> None:
        drop = max(0, min(until - self._start, len(self._input)))
        self._input = self._input[drop:]
        self._start += drop


def _most_alike(region: Samples, wanted: Samples) -> int:
    """The offset in ``region`` with the highest normalized correlation to ``wanted``."""
    products = np.correlate(region, wanted, "valid")
    energies = np.einsum("ij,ij->i", *(2 * [sliding_window_view(region, len(wanted))]))
    return int(np.argmax(products / np.sqrt(energies + 1e-8)))
