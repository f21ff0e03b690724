"""What a media stream says and is told, in the same types for every vendor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.audio.streams import AudioFormat
from realtime.errors import PeerError
from realtime.protocol.events import TelephoneKey

# From the far end


@dataclass(frozen=True, slots=True)
class Started:
    """The stream begins. ``stream_id``: to be repeated in commands, where the vendor wants that. ``call_id``: the
    vendor's, empty where it gives none. ``parameters``: set where the call is routed. ``plain``: the far end writes
    its control messages without JSON (Asterisk)."""

    format: AudioFormat
    stream_id: str = ""
    call_id: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Media:
    """The caller's audio, in the format of `Started`. ``chunk``: its number, where pieces may come out of order."""

    audio: bytes
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Digit:
    """The caller pressed a key."""

    digit: TelephoneKey


@dataclass(frozen=True, slots=True)
class Marked:
    """All audio before the mark of this name has been played, or dropped by a clear."""

    name: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The far end ends the stream."""

    reason: str


Message = Started | Media | Digit | Marked | Stopped

# To the far end


@dataclass(frozen=True, slots=True)
class Play:
    """Queue audio, in the format of `Started`, in whole frames of 20 ms."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Tell when all audio before this has been played."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Drop the queued audio."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call, where there is a message for it; elsewhere closing the connection does."""


Command = Play | Mark | Clear | HangUp


def wrong(message: str) -> PeerError:
    """The error for a message that ends the call."""
    return PeerError("invalid_message", message)
