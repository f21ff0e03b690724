"""Outputs of the turn-taking state machine, for the session to carry out.

Positions are samples at 16 kHz received since the session began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class AnnounceSpeechStarted:
    """Send `input_audio_buffer.speech_started`: the peer's cue to stop its playback."""

    start: int


@dataclass(frozen=True, slots=True)
class AnnounceSpeechStopped:
    """Send `input_audio_buffer.speech_stopped`."""

    end: int


@dataclass(frozen=True, slots=True)
class AnnounceTimeout:
    """Send `input_audio_buffer.timeout_triggered`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CommitTurn:
    """Make the buffered audio up to ``end`` a user item."""

    end: int


@dataclass(frozen=True, slots=True)
class DropTurn:
    """Discard the buffered audio."""


@dataclass(frozen=True, slots=True)
class ForgetSpeech:
    """The turn ended without the endpointer: reset it, so that no `SpeechStopped` follows."""


@dataclass(frozen=True, slots=True)
class StartResponse:
    """Start a response to the conversation as it is now. ``asked``: the client's event says how."""

    asked: bool = False


@dataclass(frozen=True, slots=True)
class CancelResponse:
    """End the running response now: only its closing events may still be sent."""

    reason: Literal["turn_detected", "client_cancelled"]


@dataclass(frozen=True, slots=True)
class CutPlayback:
    """The peer stops playback: the history keeps the part of the last reply that was played."""


@dataclass(frozen=True, slots=True)
class PausePlayback:
    """The peer pauses playback; `ResumePlayback` or `CutPlayback` follows."""


@dataclass(frozen=True, slots=True)
class ResumePlayback:
    """The peer resumes playback at the sample where it was paused."""


@dataclass(frozen=True, slots=True)
class ClassifyOverlap:
    """Classify the overlapping speech: `BargeInConfirmed` or `FalseInterruption` follows within a second."""


@dataclass(frozen=True, slots=True)
class StopClassifying:
    """Playback has ended: the overlapping speech needs no classification."""


@dataclass(frozen=True, slots=True)
class AwaitPlayback:
    """Send `PlaybackEnded` when all audio that was sent has been played; at once if it has been."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client's event with an `error` of this code."""

    code: Literal["conversation_already_has_active_response", "response_cancel_not_active"]


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Set the timer to this sample, or stop it with None."""

    sample: int | None


Effect = (
    AnnounceSpeechStarted
    | AnnounceSpeechStopped
    | AnnounceTimeout
    | CommitTurn
    | DropTurn
    | ForgetSpeech
    | StartResponse
    | CancelResponse
    | CutPlayback
    | PausePlayback
    | ResumePlayback
    | ClassifyOverlap
    | StopClassifying
    | AwaitPlayback
    | Refuse
    | SetTimer
)
