"""Is what the microphone hears our own voice, back from the loudspeaker? Sans-I/O, numpy, one object a stream.

We know what we play and when, to within the caller's buffers. So the echo is predicted, in bands of energy: what was
played some delay ago, dying away as in a room, times a gain a band. What the prediction does not explain is somebody
else's voice. Energies stand what waveforms do not: clocks that drift, jitter of some 30 ms, loudspeakers that distort.

1. The delay is where the energies heard go up and down as the energies played did: the lag with the highest correlation
   over the last seconds. Until it stands out, any lag up to ``MOST_DELAY_MS`` counts, and the echo is over-estimated.
2. The gain of each band is a running quantile of heard over predicted: somebody who speaks over us now and then hardly
   moves it, headphones bring it down within a second of our first words.
3. A frame is the caller's when it is louder than echo and room together, by `Margins.start` dB in the mean over the
   bands while they are silent, by `Margins.hold` once they speak.
4. In the first second of our voice neither delay nor gain is known, and a loud echo would pass for a caller. A sound
   that begins then, and may be our echo, is held back until its waveform tells (`waveform`): when it is a copy of what
   we played, delay and gains are known at once; when it is none after ``MOST_DOUBT_MS``, it is the caller's, all of it.

Letters: [b] bands, [d] lags in hops.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realtime.turns.gcc_phat import copy_gains, find_copy

_Values = NDArray[np.float64]

SAMPLE_RATE = 16_000
HOP_SAMPLES = 256
MOST_DELAY_MS = 800
"""From our sending to the microphone's frame: the network both ways, the caller's buffers, the air."""
MOST_DOUBT_MS = 448
"""A sound is held back no longer."""

_WINDOW = 512
_BANDS = 16
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 6000.0
_LAGS = MOST_DELAY_MS * SAMPLE_RATE // 1000 // HOP_SAMPLES
_DECAY = 0.68  # of the energy a hop: 60 dB in 0.57 s, a living room
_JITTER = 2  # hops around the delay in which the echo may come
_FLOOR = 1e-9  # -90 dBFS
_AUDIBLE_DB = -55.0  # what we play softer than this has no echo that a detector would take for speech

_MEMORY = 0.992  # of the correlation, a hop: 2 s
_SLOW = 0.98  # of the mean energy, a hop: 0.8 s
_CLEAR = 0.45  # correlation at which the delay is known
_PRIOR_GAIN_DB = -12.0
_LOUDEST_GAIN_DB = 6.0  # what is louder against what we played is no echo
_QUANTILE = 0.8  # of the ratios; the median would leave half of the echo unexplained
_FAST_DB, _FAST_HOPS, _STEADY_DB = 0.7, 60, 0.15  # the gain's steps; the fast ones in the first second of our voice
_QUIET_ROOM_DB = -80.0  # in a band
_ROOM_UP_DB, _ROOM_DOWN_DB = 0.05, 0.5  # the room's noise: its energy follows the quietest moments
_SMOOTH = 0.6  # of the score, a hop

_LOOKS = {256: (7.2, 12.0), 320: (8.8, 12.0), 384: (9.5, 12.0), MOST_DOUBT_MS: (10.0, 10.0)}
"""How much of a doubtful sound is compared, in ms: below which clearness it is none of ours, and from which it is."""
_DOUBT_SAMPLES = MOST_DOUBT_MS * SAMPLE_RATE // 1000
_DOUBT_HOPS = _DOUBT_SAMPLES // HOP_SAMPLES
_PLAYED_SAMPLES = 20_480  # a length that is quick to transform
_HELD_HOPS = 60  # for so long a delay that a waveform gave is not doubted


@dataclass(frozen=True, slots=True)
class Margins:
    """dB over the prediction at which a voice is the caller's."""

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
    """One stream. Give it every frame of the microphone with what was played meanwhile, in order."""

    def __init__(self, margins: Margins | None = None) -> None:
        self._margins = margins or Margins()
        self._mic_tail = np.zeros(_WINDOW - HOP_SAMPLES)
        self._played_tail = np.zeros(_WINDOW - HOP_SAMPLES)
        self._smeared = np.full((_LAGS + 2 * _JITTER + _DOUBT_HOPS, _BANDS), _FLOOR)  # newest first: the echo by energy
        self._levels = np.full((_LAGS, _BANDS), 10 * np.log10(_FLOOR))  # newest first: what was played, in dB
        self._heard_mean = np.full(_BANDS, 10 * np.log10(_FLOOR))
        self._played_mean = np.full(_BANDS, 10 * np.log10(_FLOOR))
        self._together = np.zeros(_LAGS)
        self._played_square = np.full(_LAGS, 1e-6)
        self._heard_square = 1e-6
        self._exact, self._anywhere = _Gain(), _Gain()
        self._room_db = np.full(_BANDS, _QUIET_ROOM_DB)
        self._lag = -1
        self._score = 0.0
        self._foreign = False
        self._plausible = False  # whether a loud echo could explain what is heard
        self._held_hops = 0
        self._played = np.zeros(_PLAYED_SAMPLES, np.float32)
        self._heard_db: deque[_Values] = deque(maxlen=_DOUBT_HOPS)
        self._doubtful: list[NDArray[np.float32]] | None = None  # the frames that are held back
        self._trusted = False  # what is heard was doubted and is the caller's: it tells nothing of the echo

    @property
    def delay_ms(self) -> float | None:
        """From playing to hearing, where it is known."""
        return self._lag * HOP_SAMPLES * 1000 / SAMPLE_RATE if self._lag >= 0 else None

    @property
    def echo_db(self) -> float:
        """What is heard of what is played, in dB: the mean gain."""
        return float(np.mean((self._exact if self._lag >= 0 else self._anywhere).db))

    def judge(self, heard: NDArray[np.float32], played: NDArray[np.float32], *, starts: bool = True) -> list[bool]:
        """Whether a frame holds more than our echo; always when nothing of ours can be heard.

        Float32 [512] of the microphone and of what was played meanwhile, at 16 kHz -> the verdicts that are sure now,
        on frames in order: mostly one, none while a sound is held back, then those of all of its frames. ``starts``:
        this frame may be the start of somebody's speech; only such a sound is worth to be held back.
        """
        for start in range(0, len(heard), HOP_SAMPLES):
            self._hop(heard[start : start + HOP_SAMPLES], played[start : start + HOP_SAMPLES])
        self._played = np.concatenate((self._played[len(played) :], played))
        self._trusted = self._trusted and self._foreign
        doubts = self._plausible and self._foreign and starts and not self._trusted
        if self._doubtful is None and not doubts:
            return [self._foreign]
        self._doubtful = [*(self._doubtful or []), heard]
        return self._look(self._doubtful)

    def settle(self) -> list[bool]:
        """Hold nothing back any longer. Gives the verdicts: the caller's."""
        count = len(self._doubtful or [])
        self._doubtful = None
        return [True] * count

    def _look(self, frames: list[NDArray[np.float32]]) -> list[bool]:
        """Compare the doubtful sound with what we played, if it is time to."""
        look = _LOOKS.get(sum(map(len, frames)) * 1000 // SAMPLE_RATE)
        if look is None:
            return []
        none, ours = look
        sound = np.concatenate(frames)
        copy = find_copy(sound, self._played, SAMPLE_RATE)
        if copy.clearness >= ours:
            return self._learn_copy(sound, copy.delay)
        if copy.clearness < none:
            self._trusted = True
            return self.settle()
        return []

    def _learn_copy(self, sound: NDArray[np.float32], delay: int) -> list[bool]:
        """The doubtful sound is our echo after ``delay`` samples. Gives what is more than that in each of its
        frames."""
        self._lag, self._held_hops = min(round(delay / HOP_SAMPLES), _LAGS - 1), _HELD_HOPS
        gains = copy_gains(sound, self._played, delay, _EDGES_HZ, SAMPLE_RATE)
        self._exact = _Gain(gains)
        self._anywhere = _Gain(gains.copy(), _FAST_HOPS)
        self._foreign, self._score = False, 0.0
        verdicts = []
        for age in reversed(range(len(sound) // HOP_SAMPLES)):
            self._judge_hop(self._heard_db[-1 - age], self._exact.db + self._prediction(age, True))
            verdicts.append(self._foreign)
        self._doubtful = None
        return verdicts[1::2]

    def _hop(self, heard: NDArray[np.float32], played: NDArray[np.float32]) -> None:
        self._mic_tail, heard_db = _band_levels(self._mic_tail, heard)
        self._played_tail, played_db = _band_levels(self._played_tail, played)
        self._remember(played_db)
        self._heard_db.append(heard_db)
        audible = float(self._levels.max()) > _AUDIBLE_DB
        if audible:
            self._correlate(heard_db)
        self._decide(heard_db, audible)
        self._learn_room(heard_db)

    def _remember(self, played_db: _Values) -> None:
        smeared = np.maximum(10 ** (played_db / 10), self._smeared[0] * _DECAY)
        self._smeared = np.concatenate((smeared[None], self._smeared[:-1]))
        self._levels = np.concatenate((played_db[None], self._levels[:-1]))

    def _correlate(self, heard_db: _Values) -> None:
        self._heard_mean += (1 - _SLOW) * (heard_db - self._heard_mean)
        self._played_mean += (1 - _SLOW) * (self._levels[0] - self._played_mean)
        heard, played = heard_db - self._heard_mean, self._levels - self._played_mean
        self._together = _MEMORY * self._together + played @ heard
        self._played_square = _MEMORY * self._played_square + np.square(played).sum(axis=1)
        self._heard_square = _MEMORY * self._heard_square + float(np.square(heard).sum())
        if self._held_hops:
            self._held_hops -= 1
            return
        likeness = self._together / np.sqrt(self._played_square * self._heard_square)
        best = int(likeness.argmax())
        if likeness[best] >= _CLEAR:
            if abs(best - self._lag) > _JITTER:
                self._exact.learned = 0
            self._lag = best
        elif likeness[best] < _CLEAR / 2:
            self._lag = -1

    def _decide(self, heard_db: _Values, audible: bool) -> None:
        near, anywhere = self._prediction(0, True), self._prediction(0, False)
        known = self._lag >= 0
        gain, played = (self._exact, near) if known else (self._anywhere, anywhere)
        echo_db = gain.db + played
        hidden = audible and bool(np.any(echo_db > self._room_db + 3.0))
        self._judge_hop(heard_db, echo_db)
        self._foreign = self._foreign or not hidden
        unlearned = hidden and self._anywhere.learned < _FAST_HOPS  # whatever the energies say of the delay by now
        self._plausible = unlearned and self._excess(heard_db, _LOUDEST_GAIN_DB + anywhere) < self._margins.start
        if audible and self._doubtful is None and not self._trusted:
            self._exact.learn(heard_db - near, (near > _AUDIBLE_DB) & known)
            self._anywhere.learn(heard_db - anywhere, anywhere > _AUDIBLE_DB)

    def _judge_hop(self, heard_db: _Values, echo_db: _Values) -> None:
        self._score += (1 - _SMOOTH) * (self._excess(heard_db, echo_db) - self._score)
        self._foreign = self._score > (self._margins.hold if self._foreign else self._margins.start)

    def _excess(self, heard_db: _Values, echo_db: _Values) -> float:
        """How much louder it is than echo and room together, in dB."""
        explained = np.logaddexp(echo_db * _NEPER, self._room_db * _NEPER) / _NEPER
        return float(np.mean(np.clip(heard_db - explained, 0.0, 15.0)))

    def _prediction(self, age: int, near: bool) -> _Values:
        """What was played, in dB, ``age`` hops ago: around the delay (``near``) or at any."""
        first = max(0, self._lag - _JITTER) if near else 0
        last = max(0, self._lag) + _JITTER + 1 if near else _LAGS + 2 * _JITTER
        energies: _Values = self._smeared[age + first : age + last].max(axis=0)
        return 10 * np.log10(energies)

    def _learn_room(self, heard_db: _Values) -> None:
        quieter = heard_db < self._room_db
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
