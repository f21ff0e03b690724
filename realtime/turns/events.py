"""Inputs of the turn-taking state machine: speech events, client events, timers.

Times are samples at 16 kHz received since the session began.
"""

from __future__ import annotations

from dataclasses import dataclass

from realtime.turns.floor import TurnConfig


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Detected at sample ``at``; the turn's audio begins at ``start``."""

    at: int
    start: int


@dataclass(frozen=True, slots=True)
class ShortSilenceStarted:
    """Silence that may become a pause. If it ends the turn, the turn's audio ends at ``at``."""

    at: int


@dataclass(frozen=True, slots=True)
class PauseStarted:
    """The turn may be complete: its last voiced frame ended at ``voiced_until``. Its audio would end at its last
    `ShortSilenceStarted`, so a reply speculated now answers exactly the committed audio. ``finished``: the probability
    by prosody that the turn is complete; None where only the length of the silence counts."""

    at: int
    voiced_until: int
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class PauseContinued:
    """The pause after ``voiced_until`` goes on: the end-of-turn model may be asked again. Comes after 1, 2, 4 s and so
    on; never where only the length of the silence counts."""

    at: int
    voiced_until: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The user continues the turn."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The turn is over, decided at ``at``; its last voiced frame ended at ``voiced_until``.

    ``end``: where the turn's audio ends: at its last `ShortSilenceStarted`. The silence after that is not committed.
    """

    at: int
    voiced_until: int
    end: int


@dataclass(frozen=True, slots=True)
class TranscriptRequested:
    """Overlapping speech, from ``start`` to ``voiced_until``, is a short utterance whose words decide. The answer goes
    to `Endpointer.apply_word_verdict`. `BargeInConfirmed` comes without it if it is late or the speech goes on."""

    at: int
    start: int
    voiced_until: int


@dataclass(frozen=True, slots=True)
class BargeInConfirmed:
    """Overlapping speech is a barge-in (`Endpointer.begin_overlap`)."""

    at: int


@dataclass(frozen=True, slots=True)
class FalseInterruption:
    """Overlapping sound is no barge-in: no `SpeechStopped` will follow."""

    at: int


SpeechEvent = (
    SpeechStarted
    | ShortSilenceStarted
    | PauseStarted
    | PauseContinued
    | SpeechResumed
    | SpeechStopped
    | TranscriptRequested
    | BargeInConfirmed
    | FalseInterruption
)


@dataclass(frozen=True, slots=True)
class ManualCommit:
    """The client commits its input buffer (the session has checked that it is long enough)."""

    at: int


@dataclass(frozen=True, slots=True)
class ManualClear:
    """The client clears its input buffer."""

    at: int


@dataclass(frozen=True, slots=True)
class ResponseCreate:
    """The client asks for a response in the default conversation."""

    at: int


@dataclass(frozen=True, slots=True)
class ResponseCancel:
    """The client cancels the running response."""

    at: int


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """The response ended: completed, incomplete or failed."""

    at: int


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """All audio that was sent has been played."""

    at: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The timer that `SetTimer` set has expired."""

    at: int


@dataclass(frozen=True, slots=True)
class Configured:
    """Turn detection was changed. ``detecting``: whether it is on now."""

    at: int
    config: TurnConfig
    detecting: bool


Event = (
    SpeechStarted
    | SpeechStopped
    | BargeInConfirmed
    | FalseInterruption
    | ManualCommit
    | ManualClear
    | ResponseCreate
    | ResponseCancel
    | ResponseDone
    | PlaybackEnded
    | TimerFired
    | Configured
)
