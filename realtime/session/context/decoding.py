"""Recordings that come inside client events: wire bytes -> samples at 16 kHz."""

from __future__ import annotations

import asyncio
from itertools import count

import numpy as np

from realtime.audio.streams import AudioReader, Samples
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.protocol.events import ClientEvent
from realtime.session.context.history import recordings
from realtime.session.input.audio_input import AudioInput

_LONG_RECORDING_BYTES = 480_000
"""10 s at 24 kHz: 6 ms to read. What is longer is read in slices, so that other callers do not wait."""


class AudioDecoder:
    """One session's recordings, in the input format of its audio."""

    def __init__(self, session_id: str, audio_input: AudioInput) -> None:
        self._session_id = session_id
        self._audio_input = audio_input
        self._ids = count(1)
        self._decoded: dict[int, Samples] = {}

    async def prepare(self, event: ClientEvent) -> None:
        """Decode the long recordings of an event, slice by slice; `decode` then has them."""
        self._decoded.clear()
        for data in recordings(event):
            if len(data) > _LONG_RECORDING_BYTES:
                self._decoded[id(data)] = await self._decode_slowly(data)

    def decode(self, data: bytes) -> Samples:
        """Float32 [n] at 16 kHz."""
        if (decoded := self._decoded.pop(id(data), None)) is not None:
            return decoded
        reader = AudioReader(self._audio_input.format, MODEL_SAMPLE_RATE)
        return np.concatenate((reader.push(data), reader.flush()))

    def next_id(self) -> str:
        """The id of a recording. Never the same twice, also when a client deletes an item and uses its id again."""
        return f"{self._session_id}/audio{next(self._ids)}"

    async def _decode_slowly(self, data: bytes) -> Samples:
        reader = AudioReader(self._audio_input.format, MODEL_SAMPLE_RATE)
        pieces = []
        for piece in self._audio_input.slices(data):
            pieces.append(reader.push(piece))
            await asyncio.sleep(0)
        return np.concatenate((*pieces, reader.flush()))
