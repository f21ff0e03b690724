"""Is the turn complete, or is this a pause in it? The probability by prosody, and the silence to wait for.

Without a model, `completion_probability` uses the prosodic cues of the literature on turn-taking (Gravano & Hirschberg
2011, Skantze 2021). A final fall or rise of the pitch and a fading voice are cues for the end; a level pitch, a
sustained level and a lengthened last sound ("aaand …") are cues against it. These cues are weak, so the silence that
ends the turn depends smoothly on the probability, between two bounds (`EndpointingDelay`).

The upper bound adapts to the caller: the longer the pauses within turns so far (`Pauses`), the longer the wait.
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
"""The part of the speech that prosody is taken from: its end."""

Eagerness = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class EndpointingDelay:
    """Bounds of the silence that ends a turn, in ms. ``min_ms``: at probability 1. ``max_ms``: always.

    ``pause_factor``: the wait at probability 0, in long pauses of this caller.
    """

    min_ms: float
    max_ms: float
    pause_factor: float

    def by_prosody_ms(self, finished: float, pauses: Pauses) -> float:
        """The silence that ends the turn. ``finished``: the probability by prosody that it is complete. At 0 the wait
        is ``pause_factor`` long pauses of this caller, since prosody is not reliable enough for more."""
        ceiling = float(np.clip(self.pause_factor * pauses.long_ms, self.min_ms, self.max_ms))
        return self._between(finished, ceiling)

    def by_model_ms(self, finished: float, lasted_ms: float, pauses: Pauses) -> float:
        """The silence that ends the turn, in a pause of ``lasted_ms`` so far. ``finished``: the probability by a model
        that it is complete; at 0 the wait is ``max_ms``.

        The silence is evidence as well: nine in ten pauses within turns are over after a long pause, and no pause
        after a turn. So the odds grow tenfold with each ``pause_factor`` long pauses of this caller (Bayes), not
        counting the first `_SILENCE_EVIDENCE_FROM` of one."""
        odds = finished / max(1.0 - finished, 1e-9)
        long_pauses = lasted_ms / (self.pause_factor * pauses.long_ms)
        odds *= 10.0 ** float(np.clip(long_pauses - _SILENCE_EVIDENCE_FROM, 0.0, 9.0))
        return self._between(odds / (1.0 + odds), self.max_ms)

    def _between(self, finished: float, ceiling: float) -> float:
        return float(self.min_ms * (ceiling / self.min_ms) ** (1.0 - finished))


ENDPOINTING_DELAYS: dict[Eagerness, EndpointingDelay] = {
    "high": EndpointingDelay(min_ms=250, max_ms=2000, pause_factor=1.0),
    "medium": EndpointingDelay(min_ms=400, max_ms=4000, pause_factor=1.5),
    "low": EndpointingDelay(min_ms=600, max_ms=8000, pause_factor=2.5),
}
"""``max_ms`` is what the API documents for each eagerness."""

_TYPICAL_PAUSES_MS = (300.0, 450.0, 650.0, 1000.0)  # within turns; the prior for a new caller
_KEPT_PAUSES = 32
_LONG_PERCENTILE = 90
_SILENCE_EVIDENCE_FROM = 0.8  # long pauses; from 0.5 on, `auto` split 17 % of unseen sentences at pauses of 1 s
RESUMES_MS = 1200
"""Speech that starts so soon after the end of a turn shows that this was a pause in it."""


class Pauses:
    """The lengths of this caller's pauses within turns."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=_KEPT_PAUSES)

    def add(self, ms: float) -> None:
        """A pause that did not end a turn."""
        self._ms.append(ms)

    @property
    def long_ms(self) -> float:
        """Nine in ten are shorter."""
        return float(np.percentile([*_TYPICAL_PAUSES_MS, *self._ms], _LONG_PERCENTILE))


def completion_probability(samples: NDArray[np.float32]) -> float:
    """Float32 [n] at 16 kHz, up to the last voiced frame -> probability by prosody that the turn is complete; 0.5 where
    there is too little voiced speech."""
    sound = contour(samples[-TAIL_SAMPLES:])
    loudest = sound.level_db.max(initial=-math.inf)
    voiced = np.flatnonzero(sound.voiced & (sound.level_db > loudest - _LOUD_DB))
    if len(voiced) < _MIN_VOICED:
        return 0.5
    weights = _WEIGHTS
    score = (
        weights.base
        + weights.pitch_move * min(abs(_pitch_move(sound, voiced)), 0.6)
        + weights.fade * float(np.clip(_fade(sound, voiced), -3.0, 15.0))
        + weights.lengthening * min(_lengthening(sound, voiced), 0.5)
    )
    return float(1.0 / (1.0 + np.exp(-score)))


@dataclass(frozen=True, slots=True)
class _Weights:
    """Of the logistic function: per octave, per dB, per second."""

    base: float
    pitch_move: float
    fade: float
    lengthening: float


_WEIGHTS = _Weights(base=-0.9, pitch_move=3.0, fade=0.16, lengthening=-5.0)
_MIN_VOICED = 8  # windows of 16 ms
_END_WINDOWS = 8  # the last voiced eighth of a second
_LOUD_DB = 30.0  # voiced windows this far under the loudest are room noise
_LEVEL_OCTAVES = 0.06  # a pitch within this range is level: a semitone is 0.083
_VOWEL_S = 0.2  # the length of a stressed vowel


def _pitch_move(sound: Contour, voiced: NDArray[np.intp]) -> float:
    """Octaves from the median pitch to the pitch at the end; negative: a fall."""
    octaves = np.log2(sound.pitch_hz[voiced])
    return float(np.median(octaves[-_END_WINDOWS // 2 :]) - np.median(octaves[: -_END_WINDOWS // 2]))


def _fade(sound: Contour, voiced: NDArray[np.intp]) -> float:
    """By how many dB the end is softer than the median."""
    level = sound.level_db[voiced]
    return float(np.median(level) - np.mean(level[-_END_WINDOWS // 2 :]))


def _lengthening(sound: Contour, voiced: NDArray[np.intp]) -> float:
    """For how many seconds, beyond a vowel's length, the last pitch stayed level without a break."""
    octaves = np.log2(sound.pitch_hz[voiced])
    held = (np.diff(voiced) == 1) & (np.abs(octaves[:-1] - octaves[-1]) < _LEVEL_OCTAVES)
    breaks = np.flatnonzero(~held)
    windows = len(held) - (breaks[-1] + 1 if len(breaks) else 0)
    return max(0.0, windows * HOP_SAMPLES / SAMPLE_RATE - _VOWEL_S)
