"""Is the turn over, or is this a pause in it? What the voice tells, and how long to wait in the light of it.

Without a model, `completion_probability` goes by prosody, as the literature on turn-taking has it (Gravano &
Hirschberg 2011, Skantze 2021): a final fall or rise of the pitch and a voice that fades say "over"; a level pitch, a
held loudness and a drawn-out last sound ("aaand …") say "not yet". These cues are weak; so the answer is a
probability, and the silence that ends the turn slides with it between two bounds (`EndpointingDelay`).

The upper bound follows the caller: somebody who pauses long in mid-sentence is waited for longer (`Pauses`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realtime.turns.prosody import HOP_SAMPLES, SAMPLE_RATE, Contour, contour

TAIL_SAMPLES = 3 * SAMPLE_RATE // 2
"""How much of the end of the speech is looked at."""

Eagerness = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class EndpointingDelay:
    """Bounds of the silence that ends a turn, in ms. ``least_ms``: when it is surely over. ``most_ms``: ever.

    ``pause_factor``: how many of the caller's own long pauses to wait for when it sounds unfinished.
    """

    least_ms: float
    most_ms: float
    pause_factor: float

    def by_prosody_ms(self, finished: float, pauses: Pauses) -> float:
        """The silence to wait for. ``finished``: the probability that the turn is over, by the sound of the voice: it
        is trusted only as far as this caller is known to pause."""
        ceiling = float(np.clip(self.pause_factor * pauses.long_ms, self.least_ms, self.most_ms))
        return self._between(finished, ceiling)

    def by_model_ms(self, finished: float, lasted_ms: float, pauses: Pauses) -> float:
        """The silence to wait for, in a pause of ``lasted_ms`` so far. ``finished``: the probability that the turn is
        over, by a model, which is trusted up to ``most_ms`` when it says no. But silence speaks as well: each
        ``pause_factor`` long pauses of this caller that go by, nine in ten within turns would have ended, and none at
        their end. So the odds that it is over grow tenfold with each (Bayes), after the first half of one, which is
        left to the model."""
        odds = finished / max(1.0 - finished, 1e-9)
        long_pauses = lasted_ms / (self.pause_factor * pauses.long_ms)
        odds *= 10.0 ** float(np.clip(long_pauses - 0.5, 0.0, 9.0))
        return self._between(odds / (1.0 + odds), self.most_ms)

    def _between(self, finished: float, ceiling: float) -> float:
        return float(self.least_ms * (ceiling / self.least_ms) ** (1.0 - finished))


PATIENCE: dict[Eagerness, EndpointingDelay] = {
    "high": EndpointingDelay(least_ms=250, most_ms=2000, pause_factor=1.0),
    "medium": EndpointingDelay(least_ms=400, most_ms=4000, pause_factor=1.5),
    "low": EndpointingDelay(least_ms=600, most_ms=8000, pause_factor=2.5),
}
"""``most_ms`` is what the API documents for each eagerness."""

_TYPICAL_PAUSES_MS = (300.0, 450.0, 650.0, 1000.0)  # within turns; before any were heard of this caller
_REMEMBERED_PAUSES = 32
_LONG_PERCENTILE = 90
GOES_ON_MS = 1200
"""Who speaks again so soon after the end of a turn had not ended it."""


class Pauses:
    """How long this caller pauses within turns."""

    def __init__(self) -> None:
        self._heard: deque[float] = deque(maxlen=_REMEMBERED_PAUSES)

    def add(self, ms: float) -> None:
        """A pause that was none of a turn's end."""
        self._heard.append(ms)

    @property
    def long_ms(self) -> float:
        """Nine in ten are shorter."""
        return float(np.percentile([*_TYPICAL_PAUSES_MS, *self._heard], _LONG_PERCENTILE))


def completion_probability(samples: NDArray[np.float32]) -> float:
    """Float32 [n] at 16 kHz, up to the last voiced frame -> probability that the turn is over; 0.5 knows nothing."""
    sound = contour(samples[-TAIL_SAMPLES:])
    loudest = sound.level_db.max(initial=-math.inf)
    toned = np.flatnonzero(sound.toned & (sound.level_db > loudest - _LOUD_DB))
    if len(toned) < _LEAST_TONED:
        return 0.5
    weights = _WEIGHTS
    score = (
        weights.base
        + weights.pitch_move * min(abs(_pitch_move(sound, toned)), 0.6)
        + weights.fade * float(np.clip(_fade(sound, toned), -3.0, 15.0))
        + weights.drawn_out * min(_drawn_out(sound, toned), 0.5)
    )
    return float(1.0 / (1.0 + np.exp(-score)))


@dataclass(frozen=True, slots=True)
class _Weights:
    """Of the logistic function: per octave, per dB, per second."""

    base: float
    pitch_move: float
    fade: float
    drawn_out: float


_WEIGHTS = _Weights(base=-0.9, pitch_move=3.0, fade=0.16, drawn_out=-5.0)
_LEAST_TONED = 8  # windows of 16 ms
_END_WINDOWS = 8  # the last eighth of a second with a tone in it
_LOUD_DB = 30.0  # softer tones than that under the loudest are the room's
_HELD_OCTAVES = 0.06  # a pitch that stays this close is held: a semitone is 0.083
_DRAWN_OUT_S = 0.2  # as long as a stressed vowel is anyway


def _pitch_move(sound: Contour, toned: NDArray[np.intp]) -> float:
    """Octaves from the usual pitch of the tail to its end; negative: a fall."""
    octaves = np.log2(sound.pitch_hz[toned])
    return float(np.median(octaves[-_END_WINDOWS // 2 :]) - np.median(octaves[: -_END_WINDOWS // 2]))


def _fade(sound: Contour, toned: NDArray[np.intp]) -> float:
    """By how many dB the end is softer than the tail."""
    level = sound.level_db[toned]
    return float(np.median(level) - np.mean(level[-_END_WINDOWS // 2 :]))


def _drawn_out(sound: Contour, toned: NDArray[np.intp]) -> float:
    """For how many seconds, beyond a vowel's own length, the last pitch was held without a break."""
    octaves = np.log2(sound.pitch_hz[toned])
    held = (np.diff(toned) == 1) & (np.abs(octaves[:-1] - octaves[-1]) < _HELD_OCTAVES)
    breaks = np.flatnonzero(~held)
    windows = len(held) - (breaks[-1] + 1 if len(breaks) else 0)
    return max(0.0, windows * HOP_SAMPLES / SAMPLE_RATE - _DRAWN_OUT_S)
