"""One turn with a server in real time, and the client's measurements of it.

`speak` streams an utterance like a microphone (20 ms frames, each sent when its last sample would have been spoken,
then silence) until the reply is complete and would have been played. `ask` sends a text. Both return a `TurnRecord`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from realtime.client.connection import WIRE_RATE, ClientError, RealtimeConnection, Received
from realtime.client.utterance import Utterance

FRAME_MS = 20
FRAME_SAMPLES = WIRE_RATE * FRAME_MS // 1000

Watcher = Callable[[Received], None]
"""Called with every event as it arrives, e.g. to print a transcript."""


def _ignore(_: Received) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ChunkArrival:
    """One chunk of the reply's audio. ``margin_s``: time from its arrival to its playback deadline, if playback starts
    at the first chunk's arrival; a negative margin is an audible gap."""

    at: float
    audio_s: float
    margin_s: float


@dataclass(slots=True)
class TurnRecord:
    """The milestones of one turn, in seconds of `time.perf_counter`; None: not reached.

    ``asked``: the time of the last voiced sample, or when a text was sent. Pass every event to `take`, in order. An
    answer that the user's own speech cancelled is discarded (a pause within the utterance was taken for its end): the
    answer to the whole utterance counts. So is an answer that calls a server tool: the answer to the result follows by
    itself. ``server_plays``: the turn ends when the server says that the answer was played.
    """

    asked: float
    speech_stopped: float | None = None
    first_text: float | None = None
    first_audio: float | None = None
    done: float | None = None
    status: str = ""
    response_id: str = ""
    transcript: str = ""
    user_transcript: str = ""
    audio: bytearray = field(default_factory=bytearray, repr=False)
    chunks: list[ChunkArrival] = field(default_factory=list, repr=False)
    server_plays: bool = False
    _called: bool = False
    _plays: bool = False

    @property
    def complete(self) -> bool:
        return self.done is not None and not self._plays

    @property
    def audio_s(self) -> float:
        return len(self.audio) / 2 / WIRE_RATE

    @property
    def heard_at(self) -> float:
        """When playback of all chunks ends; a chunk starts when it has arrived and the one before has ended."""
        end = 0.0
        for chunk in self.chunks:
            end = max(end, chunk.at) + chunk.audio_s
        return end

    @property
    def least_margin_s(self) -> float | None:
        """The smallest margin after the first chunk, whose own is 0 by definition; None without further chunks."""
        return min((chunk.margin_s for chunk in self.chunks[1:]), default=None)

    def take(self, event: Received) -> None:
        """Update the milestones. Raises `ClientError` if the response failed."""
        match event.type:
            case "input_audio_buffer.speech_stopped":
                self.speech_stopped = event.at
            case "conversation.item.input_audio_transcription.completed":
                self.user_transcript = event["transcript"]
            case "response.created":
                self._discard_reply()
                self.response_id = event["response.id"]
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self.first_text = self.first_text or event.at
                self.transcript += event["delta"]
            case "response.output_audio.delta":
                self._take_audio(event)
            case "response.output_item.done":
                self._called |= event["item.type"] in ("function_call", "mcp_call")
            case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
                self._plays = False
            case "response.done":
                self._take_end(event)

    def _take_audio(self, event: Received) -> None:
        audio = event.audio()
        self.first_audio = self.first_audio or event.at
        self.chunks.append(
            ChunkArrival(event.at, len(audio) / 2 / WIRE_RATE, self.first_audio + self.audio_s - event.at)
        )
        self.audio += audio

    def _take_end(self, event: Received) -> None:
        self.status = event["response.status"]
        if self.status == "failed":
            raise ClientError(f"the answer failed: {event['response.status_details.error.message']}")
        # A response that ends before the speech does answers only part of it: the whole answer is still to come.
        if self.status != "cancelled" and event.at >= self.asked and not self._called:
            self.done = event.at
            self._plays = self.server_plays and _has_speech(event)

    def _discard_reply(self) -> None:
        self._called = False
        self.first_text = self.first_audio = None
        self.transcript = ""
        self.audio.clear()
        self.chunks.clear()

    def missing(self) -> str:
        """What is missing, for an error message."""
        if self.speech_stopped is None and not self.response_id:
            return "the server did not detect the end of the speech (no speech_stopped, no response)"
        if not self.response_id:
            return "the server detected the speech but made no response"
        return f"response {self.response_id} did not end"


def _has_speech(done: Received) -> bool:
    """Whether the response of a `response.done` speaks."""
    parts = (part for item in done["response.output"] for part in item.get("content") or ())
    return any(part.get("type") == "output_audio" for part in parts)


async def speak(
    connection: RealtimeConnection, utterance: Utterance, *, watch: Watcher = _ignore, timeout_s: float = 60.0
) -> TurnRecord:
    """Send the utterance and receive the reply until it has been played. Raises `ClientError` if the reply is not
    complete ``timeout_s`` after the speech, or the server reports an error."""
    started = time.perf_counter()
    record = TurnRecord(asked=started + utterance.voiced_s, server_plays=connection.server_plays)
    async with beside(_stream(connection, utterance, started), name="microphone"):
        await _listen(connection, record, watch, record.asked + timeout_s)
        await _play_out(connection, record, watch)  # the microphone stays open, as in a call
    return record


async def ask(
    connection: RealtimeConnection, text: str, *, watch: Watcher = _ignore, timeout_s: float = 60.0
) -> TurnRecord:
    """Send a typed turn and receive its reply. Raises `ClientError` as `speak` does."""
    record = TurnRecord(asked=time.perf_counter(), server_plays=connection.server_plays)
    await connection.ask(text)
    await _listen(connection, record, watch, record.asked + timeout_s)
    return record


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Runs ``work`` while the block runs. Its exceptions are ignored: the block reads the same socket and fails
    itself."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listen(connection: RealtimeConnection, record: TurnRecord, watch: Watcher, deadline: float) -> None:
    try:
        async with asyncio.timeout(deadline - time.perf_counter()):
            while not record.complete:
                event = await connection.receive()
                record.take(event)
                watch(event)
    except TimeoutError:
        raise ClientError(f"no complete reply in time: {record.missing()}") from None


async def _play_out(connection: RealtimeConnection, record: TurnRecord, watch: Watcher) -> None:
    """Receive until playback ends: events in that time do not belong to the next turn."""
    try:
        async with asyncio.timeout(record.heard_at - time.perf_counter()):
            while True:
                watch(await connection.receive())
    except TimeoutError:
        pass


async def _stream(connection: RealtimeConnection, utterance: Utterance, started: float) -> None:
    """Send frames like a microphone: each when its last sample has been spoken. After a stall it catches up."""
    for index in itertools.count():
        due = started + (index + 1) * FRAME_MS / 1000
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await connection.append(utterance.frame(index, FRAME_SAMPLES))
