"""From a session's events to the playback of a transport that plays the speech itself."""

from __future__ import annotations

import asyncio
from typing import Protocol

from realtime.audio.streams import AudioFormat, AudioReader, Samples
from realtime.protocol import events as wire
from realtime.session.formats import audio_format
from realtime.transports.playout import RATE


class Playback(Protocol):
    """One call's. None of these waits."""

    def add(self, response_id: str, item_id: str, samples: Samples) -> None:
        """Queue speech of an item, float32 at 24 kHz."""

    def complete(self, response_id: str, now: float) -> None:
        """No more speech of this response will come. ``now``: of the event loop's clock."""

    def clear(self) -> None:
        """Drop all speech, at once."""

    def pause(self) -> None:
        """Play silence until `resume`."""

    def resume(self) -> None:
        """Go on from the same sample."""


class SpeechFeed:
    """One session's speech: decodes it and carries out the session's commands."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._readers: dict[str, AudioReader] = {}

    def take(self, event: wire.ServerEvent) -> bool:
        """Take in an event. Gives whether it was speech and is dealt with."""
        match event:
            case wire.ResponseCreated():
                self._readers[event.response.id] = AudioReader(_speech_format(event), RATE)
            case wire.ResponseOutputAudioDelta():
                samples = self._readers[event.response_id].push(event.delta)
                self._playback.add(event.response_id, event.item_id, samples)
                return True
            case wire.ResponseDone():
                self._readers.pop(event.response.id, None)
                self._playback.complete(event.response.id, asyncio.get_running_loop().time())
            case wire.OutputAudioBufferCleared():
                self._playback.clear()
            case wire.OutputAudioBufferPaused():
                self._playback.pause()
            case wire.OutputAudioBufferResumed():
                self._playback.resume()
        return False


def _speech_format(event: wire.ResponseCreated) -> AudioFormat:
    """How the deltas of a response are coded."""
    audio = event.response.audio
    return AudioFormat() if audio is None else audio_format(audio.output.format)
