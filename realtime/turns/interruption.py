"""A voice over our own: does it want the floor, or was it nothing? Sans-I/O; asked again with each frame.

The rules, in their order (`InterruptionConfig` has the numbers):

1. Much voice with a tone in it takes the floor: nobody says "mhm" for ``take_ms``. A hum has until
   ``decide_ms``, and so has a voice much softer than this caller's turns ("I see", "that's right").
2. A voice that falls silent is judged at once, after ``hush_ms``. It was nothing when it has hardly any tone (a cough,
   a door), is a hum ("mm", "mhm": the mouth stays closed), or is much softer than this caller's turns ("yeah"
   behind our words). All else is a short word ("stop", "no") and takes the floor.
3. What is undecided at ``decide_ms`` takes the floor if it has a tone, else it is noise.
4. Where a transcript can be had (`Voice.words`), a short word does not take the floor unheard: "yeah" is told from
   "stop" by what it says. It is asked for after ``ask_ms`` of silence already, and a voice may then last ``word_ms``
   before rule 1 holds; until ``decide_ms`` it must be there, or the floor is taken. Only a sure hum is not asked about:
   one man's "no" is nearly as closed as some of them.

Measured with three synthetic voices: "no", "stop", "yes", "wait" are voiced for 290 to 510 ms; their openest tenth has
0.10 or more of its energy where a closed mouth has 0.07 at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.ma  # else np.percentile loads it at its first call: 0.13 s at the end of the first caller's first turn
from numpy.typing import NDArray

from realtime.turns.prosody import HOP_SAMPLES, Contour, contour


class Verdict(Enum):
    """``WAIT``: ask again with the next frame."""

    WAIT = "wait"
    TAKES = "takes the floor"
    NOTHING = "nothing"
    WORD = "a short word"  # what it says decides; until that is known, wait


@dataclass(frozen=True, slots=True)
class InterruptionConfig:
    """Limits of the rules above. ``decide_ms`` counts from the first voiced frame; keep it at a second or less."""

    take_ms: int = 480
    word_ms: int = 640
    ask_ms: int = 96
    hush_ms: int = 160
    decide_ms: int = 960
    least_tone: float = 0.35
    hum_openness: float = 0.085
    sure_hum_openness: float = 0.04
    softer_db: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """What was heard so far. ``samples``: float32 [n] at 16 kHz from the first voiced frame to the last one;
    ``voiced_ms``: of them voiced; ``hushed_ms``: silence since; ``lasted_ms``: since the first voiced frame.

    ``room``: float32 [m] from before the voice. ``usual_db``: how loud this caller's turns are, None while that is not
    known. ``ended``: no more will come. ``words``: a transcript can be had.
    """

    samples: NDArray[np.float32]
    voiced_ms: float
    hushed_ms: float
    lasted_ms: float
    room: NDArray[np.float32] | None = None
    usual_db: float | None = None
    ended: bool = False
    words: bool = False


def judge(voice: Voice, config: InterruptionConfig) -> Verdict:
    """See the rules at the top."""
    late = voice.lasted_ms >= config.decide_ms
    hushed = voice.hushed_ms >= config.hush_ms or voice.ended
    short = voice.voiced_ms < (config.word_ms if voice.words else config.take_ms)
    asks = voice.words and voice.hushed_ms >= config.ask_ms and not late and not voice.ended
    if short and not (late or hushed or asks):
        return Verdict.WAIT
    sound = _loud_part(contour(voice.samples, voice.room), voice.room)
    toned = len(sound) > 0 and float(np.mean(sound.toned)) >= config.least_tone
    closed = config.sure_hum_openness if voice.words else config.hum_openness
    aside = toned and (_is_hum(sound, closed) or _is_soft(sound, voice.usual_db, config))
    if short and toned and not aside and asks:
        return Verdict.WORD
    if short and hushed:
        return Verdict.NOTHING if aside or not toned else Verdict.TAKES
    if toned and (late or not aside):
        return Verdict.TAKES
    return Verdict.NOTHING if late or hushed else Verdict.WAIT


def speech_level(samples: NDArray[np.float32]) -> float | None:
    """How loud the loud part of a turn is, in dBFS; None for too few samples."""
    if len(samples) < HOP_SAMPLES:
        return None
    power = np.mean(np.square(samples[: len(samples) // HOP_SAMPLES * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)), axis=1)
    return float(10 * np.log10(np.percentile(power, _LOUD_PERCENTILE) + 1e-10))


_LOUD_PERCENTILE = 75

_LOUD_DB = 20.0
"""What is softer than the loudest window by more is the room, not the voice."""
_OVER_ROOM_DB = 6.0


def _loud_part(sound: Contour, room: NDArray[np.float32] | None) -> Contour:
    if not len(sound):
        return sound
    least = sound.level_db.max() - _LOUD_DB
    if room is not None and len(room):
        least = max(least, 10 * np.log10(np.mean(np.square(room)) + 1e-10) + _OVER_ROOM_DB)
    loud = sound.level_db >= min(least, sound.level_db.max())
    return Contour(sound.level_db[loud], sound.pitch_hz[loud], sound.periodicity[loud], sound.openness[loud])


def _is_hum(sound: Contour, closed: float) -> bool:
    return float(np.percentile(sound.openness, 90)) < closed


def _is_soft(sound: Contour, usual_db: float | None, config: InterruptionConfig) -> bool:
    return usual_db is not None and float(np.percentile(sound.level_db, _LOUD_PERCENTILE)) < usual_db - config.softer_db
