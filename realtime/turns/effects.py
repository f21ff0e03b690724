"""What the session does when the floor changes. Positions are samples at 16 kHz received since the session began."""

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
    """Forget the buffered audio."""


@dataclass(frozen=True, slots=True)
class ForgetSpeech:
    """The turn ended without the endpointer: tell it, so that no `SpeechStopped` follows."""


@dataclass(frozen=True, slots=True)
class StartResponse:
    """Answer the conversation as it is now. ``asked``: by the client, whose event says how."""

    asked: bool = False


@dataclass(frozen=True, slots=True)
class CancelResponse:
    """End the running response now; nothing of it may be sent afterwards but its closing events."""

    reason: Literal["turn_detected", "client_cancelled"]


@dataclass(frozen=True, slots=True)
class CutPlayback:
    """The peer stops playing: the history keeps of the last reply what was heard."""


@dataclass(frozen=True, slots=True)
class PausePlayback:
    """The peer holds its playback: from this sample on it goes on, or is cut."""


@dataclass(frozen=True, slots=True)
class ResumePlayback:
    """The peer's playback goes on where it was paused."""


@dataclass(frozen=True, slots=True)
class ClassifyOverlap:
    """Find out whether the voice wants the floor: `BargeInConfirmed` or `FalseInterruption` follows within a second."""


@dataclass(frozen=True, slots=True)
class StopClassifying:
    """The floor is free: neither follows."""


@dataclass(frozen=True, slots=True)
class AwaitPlayback:
    """Say `PlaybackEnded` once the caller has heard all that was sent, at once if that is so already."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client's event with an `error` of this code."""

    code: Literal["conversation_already_has_active_response", "response_cancel_not_active"]


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Set the alarm to this sample, or with None stop it."""

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
