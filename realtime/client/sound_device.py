"""A conversation by microphone and loudspeaker, with the optional package `sounddevice`."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from realtime.audio.streams import ms_of_samples
from realtime.client.connection import WIRE_RATE, ClientError, RealtimeConnection, Received
from realtime.client.speech_turn import FRAME_MS, FRAME_SAMPLES, Watcher, beside

_BACKLOG_FRAMES = 1000 // FRAME_MS
"""Microphone frames queued for a slow connection (1 s); older ones are dropped."""


class Playback:
    """The playback queue, PCM16. The event loop's thread pushes and stops, the sound device's thread pulls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[tuple[str, memoryview]] = deque()
        self._item_id = ""
        self._played_bytes = 0
        self._paused = False

    def push(self, item_id: str, audio: bytes) -> None:
        """Append audio of this answer."""
        with self._lock:
            self._queue.append((item_id, memoryview(audio)))

    def pull(self, length: int) -> bytes:
        """The next ``length`` bytes; silence where nothing is queued or playback is paused."""
        out = bytearray()
        with self._lock:
            while self._queue and not self._paused and len(out) < length:
                out += self._take(length - len(out))
        return bytes(out).ljust(length, b"\0")

    def pause(self) -> None:
        """Play silence and keep the queue."""
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Continue at the sample at which playback was paused."""
        with self._lock:
            self._paused = False

    def stop(self) -> tuple[str, int] | None:
        """Clear the queue. Returns the interrupted answer's item id and how many ms of it were played; None if none
        was."""
        with self._lock:
            if not self._queue:
                return None
            self._queue.clear()
            return (self._item_id, ms_of_samples(self._played_bytes // 2, WIRE_RATE)) if self._item_id else None

    def _take(self, length: int) -> memoryview:
        item_id, audio = self._queue.popleft()
        if item_id != self._item_id:
            self._item_id, self._played_bytes = item_id, 0
        if len(audio) > length:
            self._queue.appendleft((item_id, audio[length:]))
        self._played_bytes += len(audio[:length])
        return audio[:length]


class SoundDevice(Protocol):
    """A microphone and a loudspeaker at `WIRE_RATE`, PCM16 mono."""

    @property
    def playback(self) -> Playback: ...

    def frames(self) -> AsyncIterator[bytes]:
        """Endless microphone frames of `FRAME_SAMPLES` samples."""


class PortAudioDevice:
    """This machine's default audio devices, open while `opened` is entered."""

    def __init__(self) -> None:
        self.playback = Playback()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(_BACKLOG_FRAMES)

    async def frames(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._frames.get()

    @contextmanager
    def opened(self) -> Iterator[PortAudioDevice]:
        """Raises `ClientError` if the package, PortAudio or a device is missing."""
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: the package is installed, the PortAudio library is not
            raise ClientError(
                f"the microphone needs the package sounddevice ({error}); pip install 'realtime-voice[microphone]' "
                "(and on Debian: apt install libportaudio2), or use a FILE.wav"
            ) from error
        loop = asyncio.get_running_loop()

        def record(data: Any, *_: object) -> None:
            loop.call_soon_threadsafe(self._keep, bytes(data))

        def play(out: Any, *_: object) -> None:
            out[:] = self.playback.pull(len(out))

        shape = {"samplerate": WIRE_RATE, "blocksize": FRAME_SAMPLES, "channels": 1, "dtype": "int16"}
        try:
            with (
                sounddevice.RawInputStream(**shape, callback=record),
                sounddevice.RawOutputStream(**shape, callback=play),
            ):
                yield self
        except sounddevice.PortAudioError as error:
            raise ClientError(f"the sound device did not open ({error}); use a FILE.wav instead") from error

    def _keep(self, frame: bytes) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)


_PAUSING = {"type": "realtime", "audio": {"input": {"turn_detection": {"interruption": "pause"}}}}


async def converse(connection: RealtimeConnection, device: SoundDevice, watch: Watcher) -> None:
    """Talk until the connection closes (raises `ClientError`) or the task is cancelled.

    A barge-in stops playback, and the server is told how much was played. Sounds that may not be a barge-in (a cough,
    "mhm") pause playback until the server has classified them.
    """
    await connection.send("session.update", session=_PAUSING)
    async with beside(_send_microphone(connection, device), name="microphone"):
        while True:
            event = await connection.receive()
            watch(event)
            await _follow(event, connection, device.playback)


async def _send_microphone(connection: RealtimeConnection, device: SoundDevice) -> None:
    async for frame in device.frames():
        await connection.append(frame)


async def _follow(event: Received, connection: RealtimeConnection, playback: Playback) -> None:
    if event.type == "response.output_audio.delta":
        playback.push(event["item_id"], event.audio())
    elif event.type == "output_audio_buffer.paused":
        playback.pause()
    elif event.type == "output_audio_buffer.resumed":
        playback.resume()
    elif event.type == "input_audio_buffer.speech_started":
        played = playback.stop()
        playback.resume()
        if played is not None:
            await connection.truncate(*played)
