"""Speech during playback: a barge-in, or a false interruption? No I/O; asked again with each frame.

The rules, in their order (`InterruptionConfig` has the numbers):

1. ``barge_in_ms`` of voiced speech is a barge-in: nobody says "mhm" for so long. Not yet when it is a hum or much
   softer than this caller's turns ("I see", "that's right"); then rule 2 or 3 decides.
2. After ``silence_ms`` of silence, speech is classified. It is a false interruption when it is hardly voiced (a cough,
   a door), is a hum ("mm", "mhm": the mouth stays closed), or is much softer than this caller's turns ("yeah" in the
   background). Anything else is a short utterance ("stop", "no") and a barge-in.
3. At ``decision_ms``, undecided sound is a barge-in if it is voiced, else a false interruption.
4. Where a transcript can be had (``has_transcripts``), the words of a short utterance decide: "yeah" is a false
   interruption, "stop" a barge-in. The transcript is requested after ``transcript_silence_ms`` of silence, and rule 1
   then starts at ``short_utterance_ms``. Without a transcript at ``decision_ms`` it is a barge-in. Only a certain hum
   is classified without one: one speaker's "no" is nearly as closed as some hums.

Measured with three synthetic voices: "no", "stop", "yes", "wait" are voiced for 290 to 510 ms. Their most open tenth
has 0.10 or more of its energy in the band where a closed mouth has 0.07 at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.ma  # else np.percentile loads it at its first call: 0.13 s at the end of the first caller's first turn
from numpy.typing import NDArray

from realtime.turns.prosody import HOP_SAMPLES, Contour, contour


class OverlapClass(Enum):
    """``UNDECIDED``: ask again with the next frame. ``SHORT_UTTERANCE``: its words decide; wait for the transcript."""

    UNDECIDED = "undecided"
    BARGE_IN = "barge-in"
    FALSE_INTERRUPTION = "false interruption"
    SHORT_UTTERANCE = "short utterance"


@dataclass(frozen=True, slots=True)
class InterruptionConfig:
    """Limits of the rules above. ``decision_ms`` counts from the first voiced frame; keep it at a second or less.

    ``min_voicing``: the least share of windows with a pitch. ``hum_openness``: a more open sound is no hum;
    ``certain_hum_openness``: the same where a transcript can be had. ``softer_db``: below this caller's usual level.
    """

    barge_in_ms: int = 480
    short_utterance_ms: int = 640
    transcript_silence_ms: int = 96
    silence_ms: int = 160
    decision_ms: int = 960
    min_voicing: float = 0.35
    hum_openness: float = 0.085
    certain_hum_openness: float = 0.04
    softer_db: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class OverlappingSpeech:
    """What was received so far. ``samples``: float32 [n] at 16 kHz from the first voiced frame to the last one;
    ``voiced_ms``: the voiced part of it; ``silence_ms``: since the last voiced frame; ``elapsed_ms``: since the first.

    ``room``: float32 [m] from before the speech. ``usual_db``: the level of this caller's turns, None while unknown.
    ``ended``: no more will come. ``has_transcripts``: its words can be asked for.
    """

    samples: NDArray[np.float32]
    voiced_ms: float
    silence_ms: float
    elapsed_ms: float
    room: NDArray[np.float32] | None = None
    usual_db: float | None = None
    ended: bool = False
    has_transcripts: bool = False


def classify(speech: OverlappingSpeech, config: InterruptionConfig) -> OverlapClass:
    """See the rules at the top."""
    late = speech.elapsed_ms >= config.decision_ms
    over = speech.silence_ms >= config.silence_ms or speech.ended
    limit_ms = config.short_utterance_ms if speech.has_transcripts else config.barge_in_ms
    short = speech.voiced_ms < limit_ms
    asks = (
        speech.has_transcripts and speech.silence_ms >= config.transcript_silence_ms and not late and not speech.ended
    )
    if short and not (late or over or asks):
        return OverlapClass.UNDECIDED
    sound = _loud_part(contour(speech.samples, speech.room), speech.room)
    voiced = len(sound) > 0 and float(np.mean(sound.voiced)) >= config.min_voicing
    closed = config.certain_hum_openness if speech.has_transcripts else config.hum_openness
    aside = voiced and (_is_hum(sound, closed) or _is_soft(sound, speech.usual_db, config))
    if short and voiced and not aside and asks:
        return OverlapClass.SHORT_UTTERANCE
    if short and over:
        return OverlapClass.FALSE_INTERRUPTION if aside or not voiced else OverlapClass.BARGE_IN
    if voiced and (late or not aside):
        return OverlapClass.BARGE_IN
    return OverlapClass.FALSE_INTERRUPTION if late or over else OverlapClass.UNDECIDED


def speech_level(samples: NDArray[np.float32]) -> float | None:
    """The level of the loud part of a turn in dBFS; None for too few samples."""
    if len(samples) < HOP_SAMPLES:
        return None
    power = np.mean(np.square(samples[: len(samples) // HOP_SAMPLES * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)), axis=1)
    return float(10 * np.log10(np.percentile(power, _LOUD_PERCENTILE) + 1e-10))


_LOUD_PERCENTILE = 75

_LOUD_DB = 20.0
"""Windows softer than the loudest by more than this are room noise."""
_OVER_ROOM_DB = 6.0


def _loud_part(sound: Contour, room: NDArray[np.float32] | None) -> Contour:
    if not len(sound):
        return sound
    min_db = sound.level_db.max() - _LOUD_DB
    if room is not None and len(room):
        min_db = max(min_db, 10 * np.log10(np.mean(np.square(room)) + 1e-10) + _OVER_ROOM_DB)
    loud = sound.level_db >= min(min_db, sound.level_db.max())
    return Contour(sound.level_db[loud], sound.pitch_hz[loud], sound.periodicity[loud], sound.openness[loud])


def _is_hum(sound: Contour, closed: float) -> bool:
    return float(np.percentile(sound.openness, 90)) < closed


def _is_soft(sound: Contour, usual_db: float | None, config: InterruptionConfig) -> bool:
    return usual_db is not None and float(np.percentile(sound.level_db, _LOUD_PERCENTILE)) < usual_db - config.softer_db
