"""The seam between a session and the socket that carries it.

A transport implements `Channel`, the session drives it. The division of work:

* The transport owns the wire: it reads frames, decodes them (a binary frame is an `input_audio_buffer.append`), and
  encodes what it is given, with an ``event_id`` and in the client's dialect; `realtime.protocol.dialect` does both.
  Sessions know only GA events, a transport nothing of turns, models or items.
* A frame that cannot be decoded raises `ProtocolError` from `receive`, with the client's ``event_id`` in it when one
  could be read. The session answers with an `error` event, in order, and calls `receive` again.
* A channel that is gone raises `ChannelClosed` from `receive` and from `send`, from then on always. Nothing else may
  leave these methods but `CancelledError`.
* One task receives and one task sends, so neither method is called twice at once. A cancelled `receive` must not lose
  a frame.
* `send` returns when the transport took the event over and has room for the next one. Its own buffer must be small
  (well under a second of audio), because what is in it cannot be taken back at barge-in. The session puts a time limit
  on `send` and gives up on a peer that does not read (`SlowReader`).

A transport that plays the speech itself (WebRTC, phone lines) is a `PlaybackChannel`:

* It decodes the caller's audio itself and gives samples (`AudioHeard`), silence included, whatever input format the
  session names.
* It reports what it has played with `AudioPlayed`, and when a response becomes audible and silent with
  `PlaybackChanged`, from which the session makes `output_audio_buffer.started` and `.stopped`. It need not pass
  `response.output_audio.delta` on. It may take all audio that it is given: the session limits the lead.
* `output_audio_buffer.cleared` is the only command to stop: it drops all speech that it holds, and passes the event on.
  The event comes behind every delta that it cancels. `speech_started` is no such command: with
  ``interrupt_response: false`` the reply is played to its end.
* At `output_audio_buffer.paused` it holds its playback, and at `.resumed` goes on from the same sample. Where the far
  end cannot hold (a phone line), the transport sends at the pace of playback and pauses that.

A client behind another channel owns its playback: it gets no `output_audio_buffer.cleared` and stops at
`speech_started` by itself, as the API has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from realtime.audio.streams import Samples
from realtime.protocol.events import ClientEvent, ServerEvent


@dataclass(frozen=True, slots=True)
class AudioPlayed:
    """``samples`` at 24 kHz of the item's speech have left the speaker. Sent by transports that own the playback;
    without such reports the session goes by the clock."""

    item_id: str
    samples: int


@dataclass(frozen=True, slots=True)
class AudioHeard:
    """The caller's audio, float32 at 16 kHz. Sent by transports that decode it themselves."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class PlaybackChanged:
    """The speech of a response begins to play, or has been played to its end. Speech that was cleared has no end."""

    response_id: str
    playing: bool


Report: TypeAlias = AudioPlayed | AudioHeard | PlaybackChanged
"""What a transport that plays the speech itself tells the session."""

Inbound: TypeAlias = ClientEvent | Report


class Channel(Protocol):
    """One peer. See the module's text for the contract."""

    async def receive(self) -> Inbound:
        """The next thing the peer said. Raises `ProtocolError` (go on) or `ChannelClosed` (the end)."""

    async def send(self, event: ServerEvent) -> None:
        """Hand one event over; waits while the transport has no room. Raises `ChannelClosed`."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection in good order. Never raises, may be called twice, bounded in time."""


@runtime_checkable
class PlaybackChannel(Channel, Protocol):
    """A channel whose transport plays the speech itself."""

    @property
    def plays_audio(self) -> Literal[True]: ...


def plays_audio(channel: Channel) -> bool:
    """Whether this channel plays the speech, so that a cut has to be sent to it (`OutputAudioBufferCleared`)."""
    return isinstance(channel, PlaybackChannel) and channel.plays_audio
