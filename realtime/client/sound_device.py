"""A live conversation by microphone and loudspeaker, through the optional package `sounddevice`."""

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
"""AudioInput frames that wait for a slow connection; older ones are dropped."""


class Playback:
    """Answers that wait to be played, PCM16. One thread pushes and stops, the sound device's pulls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[tuple[str, memoryview]] = deque()
        self._item_id = ""
        self._played_bytes = 0
        self._held = False

    def push(self, item_id: str, sound: bytes) -> None:
        """Append sound of this answer."""
        with self._lock:
            self._queue.append((item_id, memoryview(sound)))

    def pull(self, length: int) -> bytes:
        """The next ``length`` bytes; silence where there is nothing to play, or it is held."""
        out = bytearray()
        with self._lock:
            while self._queue and not self._held and len(out) < length:
                out += self._take(length - len(out))
        return bytes(out).ljust(length, b"\0")

    def hold(self) -> None:
        """Stand still: what waits stays, and what comes waits behind it."""
        with self._lock:
            self._held = True

    def release(self) -> None:
        """Go on from the very sample at which it was held."""
        with self._lock:
            self._held = False

    def stop(self) -> tuple[str, int] | None:
        """Forget the rest; gives the answer that this cut off and the ms of it that were played."""
        with self._lock:
            if not self._queue:
                return None
            self._queue.clear()
            return (self._item_id, ms_of_samples(self._played_bytes // 2, WIRE_RATE)) if self._item_id else None

    def _take(self, length: int) -> memoryview:
        item_id, sound = self._queue.popleft()
        if item_id != self._item_id:
            self._item_id, self._played_bytes = item_id, 0
        if len(sound) > length:
            self._queue.appendleft((item_id, sound[length:]))
        self._played_bytes += len(sound[:length])
        return sound[:length]


class SoundDevice(Protocol):
    """A microphone and a loudspeaker at `WIRE_RATE`, PCM16 mono."""

    @property
    def playback(self) -> Playback: ...

    def frames(self) -> AsyncIterator[bytes]:
        """The microphone, `FRAME_SAMPLES` at a time, without end."""


class PortAudioDevice:
    """This machine's default devices, open while `opened` is entered."""

    def __init__(self) -> None:
        self.playback = Playback()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(_BACKLOG_FRAMES)

    async def frames(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._frames.get()

    @contextmanager
    def opened(self) -> Iterator[PortAudioDevice]:
        """Raises `ClientError` when the package, PortAudio or a device is missing."""
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: the package is there, the PortAudio library is not
            raise ClientError(
                f"no microphone without sounddevice ({error}); pip install 'realtime-voice[microphone]' "
                "(and on Debian: apt install libportaudio2), or give a FILE.wav"
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
            raise ClientError(f"the sound device did not open ({error}); give a FILE.wav instead") from error

    def _keep(self, frame: bytes) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)


_PAUSING = {"type": "realtime", "audio": {"input": {"turn_detection": {"interruption": "pause"}}}}


async def converse(connection: RealtimeConnection, device: SoundDevice, watch: Watcher) -> None:
    """Speak and listen until the connection ends (raises `ClientError`) or the task is cancelled.

    The user's voice stops the answer at once, and the server is told how much of it was heard. What may be nothing
    (a cough, "mhm") only holds it, until the server knows.
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
        playback.push(event["item_id"], event.sound())
    elif event.type == "output_audio_buffer.paused":
        playback.hold()
    elif event.type == "output_audio_buffer.resumed":
        playback.release()
    elif event.type == "input_audio_buffer.speech_started":
        heard = playback.stop()
        playback.release()
        if heard is not None:
            await connection.truncate(*heard)
