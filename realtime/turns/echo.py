"""Does a microphone frame hold more than the echo of playback? No I/O, numpy, one object a stream.

Far-end is what is played, near-end what the microphone receives. The far-end signal is known, and its time to within
the caller's buffers. So the echo is predicted, in bands of energy: the far-end some delay ago, decaying as in a room,
times a gain a band. What the prediction does not explain is speech at the near end. Energies are robust where waveforms
are not: against clock drift, jitter of some 30 ms, and distorting loudspeakers.

1. The delay is the lag at which near-end energies correlate best with far-end energies over the last seconds. Until one
   lag stands out, any up to ``MAX_DELAY_MS`` counts, and the echo is overestimated.
2. The gain of each band is a running quantile of near-end over prediction: speech during playback hardly moves it, and
   headphones lower it within a second of playback.
3. A frame is near-end speech when it is louder than echo and room noise together, by `Margins.start` dB in the mean
   over the bands after silence, and by `Margins.hold` within speech.
4. In the first second of playback neither delay nor gain is known, and a loud echo would pass for speech. A sound that
   begins then, and may be echo, is held back until its waveform is compared with the playback (`gcc_phat`). If it is
   echo, delay and gains are known at once. If it is not, or after ``MAX_HOLD_MS``, all of it is near-end speech.
5. The delay may jump: the network or the server's process stalls, the caller's buffer runs dry. A sound that the known
   echo could explain at another delay is held back for 96 to 224 ms, until one delay explains it, which is the new one,
   or none does: then it is near-end speech.

Letters: [b] bands, [d] lags in hops.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realtime.turns.gcc_phat import echo_gains, find_delay

_Values = NDArray[np.float64]

SAMPLE_RATE = 16_000
HOP_SAMPLES = 256
MAX_DELAY_MS = 800
"""From sending playback to the microphone's frame: the network both ways, the caller's buffers, the air."""
MAX_HOLD_MS = 448
"""The longest that a sound is held back."""

_WINDOW = 512
_BANDS = 16
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 6000.0
_LAGS = MAX_DELAY_MS * SAMPLE_RATE // 1000 // HOP_SAMPLES
_DECAY = 0.68  # of the energy a hop: 60 dB in 0.57 s, a living room
_JITTER = 2  # hops around the delay in which the echo may come
_FLOOR = 1e-9  # -90 dBFS
_AUDIBLE_DB = -55.0  # of playback; the echo of softer playback is never taken for speech

_MEMORY = 0.992  # of the correlation, a hop: 2 s
_SLOW = 0.98  # of the mean energy, a hop: 0.8 s
_KNOWN_CORRELATION = 0.45  # at which the delay is known
_PRIOR_GAIN_DB = -12.0
_MAX_GAIN_DB = 6.0  # a sound louder than that against the playback is no echo
_SHIFT_DB = 3.0  # over the known gain; a sound louder than that is not the echo at another delay
_OVER_ANYWHERE_DB = 15.0  # of the gain at the known delay over that at any; 3 to 12 in simulated rooms
_QUANTILE = 0.8  # of the ratios; the median would leave half of the echo unexplained
_FAST_DB, _FAST_HOPS, _STEADY_DB = 0.7, 60, 0.15  # steps of the gain; the fast ones in the first second of playback
_QUIET_ROOM_DB = -80.0  # in a band
_ROOM_UP_DB, _ROOM_DOWN_DB = 0.05, 0.5  # steps of the room noise estimate, which follows the quietest moments
_SMOOTH = 0.6  # of the score, a hop

_COMPARISONS = {256: (7.2, 12.0), 320: (8.8, 12.0), 384: (9.5, 12.0), MAX_HOLD_MS: (10.0, 10.0)}
"""Lengths of a held sound at which it is compared with the playback, in ms, each with two peak-to-RMS ratios: below the
first it is no echo, from the second on it is."""
_SHIFTS = {96: (1.2, 4.0), 128: (1.5, 3.2), 160: (1.7, 2.8), 192: (1.9, 2.6), 224: (2.1, 2.1)}
"""The same once the echo is known, with the dB that its best delay leaves unexplained: up to the first it is echo, over
the second it is not. In simulated rooms (echo at -20 to -6 dB, jumps of 20 to 200 ms), after 128 ms it was under 1.5 in
95 % of the jumps and over 1.7 in 95 % of the interruptions."""
_SHIFT_HOPS = 20  # from the known delay; 320 ms
_SHIFTED_HOPS = 10  # a delay found by energies is kept for so long; of a soft echo it may be wrong
_SHIFT_MEMORY = 0.1  # what is kept of the correlation at the old delay
_HOLD_HOPS = MAX_HOLD_MS * SAMPLE_RATE // 1000 // HOP_SAMPLES
_FAR_END_SAMPLES = 20_480  # a length that is quick to transform
_FIXED_HOPS = 60  # a delay found by waveform is kept for so long


@dataclass(frozen=True, slots=True)
class Margins:
    """dB over the prediction from which a frame is near-end speech: after silence, and within speech."""

    start: float = 4.0
    hold: float = 2.2


@dataclass(slots=True)
class _Gain:
    """The echo's gain a band in dB, [b]: a running quantile."""

    db: _Values = field(default_factory=lambda: np.full(_BANDS, _PRIOR_GAIN_DB))
    learned: int = 0

    def learn(self, ratio_db: _Values, where: NDArray[np.bool_]) -> None:
        step = _FAST_DB if self.learned < _FAST_HOPS else _STEADY_DB
        up, down = 2 * _QUANTILE * step, 2 * (1 - _QUANTILE) * step
        self.db += np.where(where, np.where(ratio_db > self.db, up, -down), 0.0)
        self.learned += 1


class EchoGate:
    """One stream. Give it every microphone frame with the playback of the same time, in order."""

    def __init__(self, margins: Margins | None = None) -> None:
        self._margins = margins or Margins()
        self._near_tail = np.zeros(_WINDOW - HOP_SAMPLES)
        self._far_tail = np.zeros(_WINDOW - HOP_SAMPLES)
        self._smeared = np.full(
            (_LAGS + 2 * _JITTER + _HOLD_HOPS, _BANDS), _FLOOR
        )  # newest first: far-end energy with decay
        self._levels = np.full((_LAGS, _BANDS), 10 * np.log10(_FLOOR))  # newest first: far-end level in dB
        self._near_mean = np.full(_BANDS, 10 * np.log10(_FLOOR))
        self._far_mean = np.full(_BANDS, 10 * np.log10(_FLOOR))
        self._cross = np.zeros(_LAGS)
        self._far_square = np.full(_LAGS, 1e-6)
        self._near_square = 1e-6
        self._exact, self._anywhere = _Gain(), _Gain()
        self._room_db = np.full(_BANDS, _QUIET_ROOM_DB)
        self._lag = -1
        self._score = 0.0
        self._near_speech = False
        self._plausible = False  # whether a loud echo could explain the sound
        self._fixed_hops = 0
        self._far_end = np.zeros(_FAR_END_SAMPLES, np.float32)
        self._near_levels: deque[_Values] = deque(maxlen=_HOLD_HOPS)
        self._held: list[NDArray[np.float32]] | None = None  # the frames that are held back
        self._held_known = False  # they are compared with a known echo at other delays
        self._confirmed = False  # a held sound was near-end speech: nothing is learned of the echo until it ends

    @property
    def delay_ms(self) -> float | None:
        """From playback to microphone; None while it is not known."""
        return self._lag * HOP_SAMPLES * 1000 / SAMPLE_RATE if self._lag >= 0 else None

    @property
    def echo_db(self) -> float:
        """The echo's level against the playback in dB: the mean gain."""
        return float(np.mean((self._exact if self._lag >= 0 else self._anywhere).db))

    def push(self, near_end: NDArray[np.float32], far_end: NDArray[np.float32], *, starts: bool = True) -> list[bool]:
        """Whether each frame holds more than echo; always true without audible playback.

        Float32 [512] of microphone and playback at 16 kHz -> the results that are known now, for frames in order:
        mostly one, none while a sound is held back, then those of all of its frames. ``starts``: this frame may start
        speech; only such a sound is held back.
        """
        for start in range(0, len(near_end), HOP_SAMPLES):
            self._hop(near_end[start : start + HOP_SAMPLES], far_end[start : start + HOP_SAMPLES])
        self._far_end = np.concatenate((self._far_end[len(far_end) :], far_end))
        self._confirmed = self._confirmed and self._near_speech
        may_be_echo = self._plausible and self._near_speech and starts and not self._confirmed
        if self._held is None and not may_be_echo:
            return [self._near_speech]
        if self._held is None:
            self._held_known = self._anywhere.learned >= _FAST_HOPS
        self._held = [*(self._held or []), near_end]
        return self._compare(self._held)

    def release(self) -> list[bool]:
        """Hold nothing back any longer. Gives the results: near-end speech."""
        count = len(self._held or [])
        self._held = None
        return [True] * count

    def _compare(self, frames: list[NDArray[np.float32]]) -> list[bool]:
        """Compare the held sound with the playback, if it has one of the lengths for that."""
        if self._held_known:
            return self._compare_delays(len(frames))
        limits = _COMPARISONS.get(sum(map(len, frames)) * 1000 // SAMPLE_RATE)
        if limits is None:
            return []
        no_echo, echo = limits
        sound = np.concatenate(frames)
        found = find_delay(sound, self._far_end, SAMPLE_RATE)
        if found.peak_to_rms >= echo:
            return self._learn_echo(sound, found.delay)
        if found.peak_to_rms < no_echo:
            self._confirmed = True
            return self.release()
        return []

    def _compare_delays(self, count: int) -> list[bool]:
        """Is the held sound, of ``count`` frames, the known echo at another delay?"""
        limits = _SHIFTS.get(count * 2 * HOP_SAMPLES * 1000 // SAMPLE_RATE)
        if limits is None:
            return []
        echo, no_echo = limits
        lag, excess = self._best_lag(2 * count + 1)
        if excess > no_echo:
            self._confirmed = True
            return self.release()
        if excess > echo:
            return []
        self._lag, self._fixed_hops = lag, _SHIFTED_HOPS
        for memory in (self._cross, self._far_square):
            memory *= _SHIFT_MEMORY
        self._near_square *= _SHIFT_MEMORY
        self._near_speech, self._score, self._held = False, 0.0, None
        return [False] * count

    def _best_lag(self, hops: int) -> tuple[int, float]:
        """The delay near the known one at which the echo explains the last ``hops`` hops best, and what it leaves
        unexplained, in dB over echo and room."""
        near_db = np.array([self._near_levels[-1 - age] for age in range(hops)])
        reach = range(max(0, self._lag - _SHIFT_HOPS), min(_LAGS, self._lag + _SHIFT_HOPS + 1))
        known_db, found = self._known_db, []
        for lag in reach:
            first = max(0, lag - _JITTER)
            rows = self._smeared[first : lag + _JITTER + hops]
            echo = np.lib.stride_tricks.sliding_window_view(rows, lag + _JITTER + 1 - first, axis=0).max(axis=-1)
            found.append((self._excess(near_db, known_db + 10 * np.log10(echo)), lag))
        excess, lag = min(found)
        return lag, excess

    def _learn_echo(self, sound: NDArray[np.float32], delay: int) -> list[bool]:
        """The held sound is echo with a delay of ``delay`` samples. Gives whether each of its frames holds more."""
        self._lag, self._fixed_hops = min(round(delay / HOP_SAMPLES), _LAGS - 1), _FIXED_HOPS
        gains = echo_gains(sound, self._far_end, delay, _EDGES_HZ, SAMPLE_RATE)
        self._exact = _Gain(gains)
        self._anywhere = _Gain(gains.copy(), _FAST_HOPS)
        self._near_speech, self._score = False, 0.0
        results = []
        for age in reversed(range(len(sound) // HOP_SAMPLES)):
            self._classify_hop(self._near_levels[-1 - age], self._exact.db + self._prediction(age, True))
            results.append(self._near_speech)
        self._held = None
        return results[1::2]

    def _hop(self, near_end: NDArray[np.float32], far_end: NDArray[np.float32]) -> None:
        self._near_tail, near_db = _band_levels(self._near_tail, near_end)
        self._far_tail, far_db = _band_levels(self._far_tail, far_end)
        self._store_far_end(far_db)
        self._near_levels.append(near_db)
        audible = float(self._levels.max()) > _AUDIBLE_DB
        if audible:
            self._correlate(near_db)
        self._decide(near_db, audible)
        self._learn_room(near_db)

    def _store_far_end(self, far_db: _Values) -> None:
        smeared = np.maximum(10 ** (far_db / 10), self._smeared[0] * _DECAY)
        self._smeared = np.concatenate((smeared[None], self._smeared[:-1]))
        self._levels = np.concatenate((far_db[None], self._levels[:-1]))

    def _correlate(self, near_db: _Values) -> None:
        self._near_mean += (1 - _SLOW) * (near_db - self._near_mean)
        self._far_mean += (1 - _SLOW) * (self._levels[0] - self._far_mean)
        near, far = near_db - self._near_mean, self._levels - self._far_mean
        self._cross = _MEMORY * self._cross + far @ near
        self._far_square = _MEMORY * self._far_square + np.square(far).sum(axis=1)
        self._near_square = _MEMORY * self._near_square + float(np.square(near).sum())
        if self._fixed_hops:
            self._fixed_hops -= 1
            return
        correlation = self._cross / np.sqrt(self._far_square * self._near_square)
        best = int(correlation.argmax())
        if correlation[best] >= _KNOWN_CORRELATION:
            if abs(best - self._lag) > _JITTER:
                self._exact.learned = 0
            self._lag = best
        elif correlation[best] < _KNOWN_CORRELATION / 2:
            self._lag = -1

    def _decide(self, near_db: _Values, audible: bool) -> None:
        at_lag, anywhere = self._prediction(0, True), self._prediction(0, False)
        known = self._lag >= 0
        echo_db = self._known_db + at_lag if known else self._anywhere.db + anywhere
        hidden = audible and bool(np.any(echo_db > self._room_db + 3.0))
        self._classify_hop(near_db, echo_db)
        self._near_speech = self._near_speech or not hidden
        self._plausible = audible and self._may_be_echo(near_db, anywhere)
        if audible and self._held is None and not self._confirmed:
            self._exact.learn(near_db - at_lag, (at_lag > _AUDIBLE_DB) & known)
            self._anywhere.learn(near_db - anywhere, anywhere > _AUDIBLE_DB)

    @property
    def _known_db(self) -> _Values:
        """The gain at the known delay, [b]. Speech that begins soon behind the playback may correlate with it: a delay
        and a gain that the playback before does not bear out, because nothing was heard then, are that speech."""
        if self._anywhere.learned < _FAST_HOPS:
            return self._exact.db
        return np.minimum(self._exact.db, self._anywhere.db + _OVER_ANYWHERE_DB)

    def _may_be_echo(self, near_db: _Values, anywhere: _Values) -> bool:
        """Whether an echo could be as loud: any while nothing is learned, then the known one at any delay."""
        if self._anywhere.learned < _FAST_HOPS:  # even where a delay was found by energies
            loudest = _MAX_GAIN_DB + anywhere
        elif self._lag >= 0:
            loudest = self._known_db + _SHIFT_DB + anywhere
        else:
            return False  # headphones, mostly; a delay that is not known cannot jump
        return bool(np.any(loudest > self._room_db + 3.0)) and self._excess(near_db, loudest) < self._margins.start

    def _classify_hop(self, near_db: _Values, echo_db: _Values) -> None:
        self._score += (1 - _SMOOTH) * (self._excess(near_db, echo_db) - self._score)
        self._near_speech = self._score > (self._margins.hold if self._near_speech else self._margins.start)

    def _excess(self, near_db: _Values, echo_db: _Values) -> float:
        """The level over echo and room noise together, in dB."""
        explained = np.logaddexp(echo_db * _NEPER, self._room_db * _NEPER) / _NEPER
        return float(np.mean(np.clip(near_db - explained, 0.0, 15.0)))

    def _prediction(self, age: int, at_lag: bool) -> _Values:
        """The far-end level in dB for the near-end ``age`` hops ago: around the delay (``at_lag``) or at any."""
        first = max(0, self._lag - _JITTER) if at_lag else 0
        last = max(0, self._lag) + _JITTER + 1 if at_lag else _LAGS + 2 * _JITTER
        energies: _Values = self._smeared[age + first : age + last].max(axis=0)
        return 10 * np.log10(energies)

    def _learn_room(self, near_db: _Values) -> None:
        quieter = near_db < self._room_db
        self._room_db += np.where(quieter, -_ROOM_DOWN_DB, _ROOM_UP_DB)


_NEPER = np.log(10) / 10
_SHAPE: _Values = np.hanning(_WINDOW)
_EDGES_HZ = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1)
_EDGES = np.round(_EDGES_HZ * _WINDOW / SAMPLE_RATE).astype(int)


def _band_levels(tail: _Values, hop: NDArray[np.float32]) -> tuple[_Values, _Values]:
    """The last samples and a hop -> the next tail, and the energy of the window in each band in dBFS, [b]."""
    window: _Values = np.concatenate((tail, hop), dtype=np.float64)
    power = np.abs(np.fft.rfft(window * _SHAPE)) ** 2
    bands = np.add.reduceat(power[: _EDGES[-1]], _EDGES[:-1]) * (4.0 / _WINDOW**2)
    return window[HOP_SAMPLES:], 10 * np.log10(np.maximum(bands, _FLOOR))
