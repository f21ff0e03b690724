"""What the microphone tells about speech. Times are samples at 16 kHz received since the session began."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.turns.floor import TurnConfig


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Decided at sample ``at``; what belongs to the turn begins at ``start``."""

    at: int
    start: int


@dataclass(frozen=True, slots=True)
class ShortSilenceStarted:
    """Silence that may become a pause. If the turn ends with it, its audio ends here, at ``at``."""

    at: int


@dataclass(frozen=True, slots=True)
class PauseStarted:
    """Perhaps the end of the turn: the last voiced frame ended at ``voiced_until``. If it is, the turn's audio ends
    where the lull began: what is made of it now will be the answer to just this audio. ``finished``: the probability
    that it is, by the sound of the voice; None where only the length of the silence counts."""

    at: int
    voiced_until: int
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class PauseContinued:
    """The pause after ``voiced_until`` goes on. What judged its beginning may judge it anew, with the silence; it comes
    at growing intervals, where not only the length of the silence counts."""

    at: int
    voiced_until: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The user went on."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The end of the turn, decided at ``at``; the last voiced frame ended at ``voiced_until``.

    ``end``: where the turn's audio ends, which is where its last `ShortSilenceStarted` was. The silence that it took
    to be sure is not the turn's.
    """

    at: int
    voiced_until: int
    end: int


@dataclass(frozen=True, slots=True)
class TranscriptRequested:
    """The voice over ours, from ``start`` to ``voiced_until``, is a short word: what it says decides. The answer goes
    to `Endpointer.apply_word_verdict`; `BargeInConfirmed` comes without one if it is late, or the voice goes on."""

    at: int
    start: int
    voiced_until: int


@dataclass(frozen=True, slots=True)
class BargeInConfirmed:
    """The voice over ours wants the floor (`Endpointer.begin_overlap`)."""

    at: int


@dataclass(frozen=True, slots=True)
class FalseInterruption:
    """The voice over ours was nothing: no `SpeechStopped` will follow."""

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
    """The client commits what it has sent (the session has checked that there is enough)."""

    at: int


@dataclass(frozen=True, slots=True)
class ManualClear:
    """The client throws away what it has sent."""

    at: int


@dataclass(frozen=True, slots=True)
class ResponseCreate:
    """The client asks for a response in the default conversation."""

    at: int


@dataclass(frozen=True, slots=True)
class ResponseCancel:
    """The client wants the running response to end."""

    at: int


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """The response ended by itself: completed, incomplete or failed."""

    at: int


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """The caller has heard all that was sent."""

    at: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The alarm that `SetTimer` set."""

    at: int


@dataclass(frozen=True, slots=True)
class Configured:
    """Turn detection was changed. ``detecting``: whether there is any now."""

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
