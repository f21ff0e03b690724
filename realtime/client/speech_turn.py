"""One turn with a server, at the pace of speech, and what the caller could measure of it.

`speak` streams an utterance as a microphone would (20 ms frames, each when its last sample would have been
spoken, then silence) until the reply is complete and would have been heard; `ask` sends a text. Both fill a
`TurnRecord`.
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
"""Sees every event as it comes, e.g. to print a transcript."""


def _ignore(_: Received) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ChunkArrival:
    """One piece of the reply's sound. ``margin_s``: how long before its playback deadline it came; the
    deadline counts from the first piece's arrival, and a negative margin is heard as a gap."""

    at: float
    audio_s: float
    margin_s: float


@dataclass(slots=True)
class TurnRecord:
    """The milestones of one turn, in seconds of `time.perf_counter`; None: not reached.

    ``asked``: the last voiced sample, or the moment a text was sent. The owner gives it every event in order.
    An answer that the user's own speech cancelled (the pause within an utterance was taken for its end) is
    forgotten: the answer to the whole utterance is the one that counts. So is one that calls a tool of the server: the
    answer to the result follows by itself.
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
    _called: bool = False

    @property
    def complete(self) -> bool:
        return self.done is not None

    @property
    def audio_s(self) -> float:
        return len(self.audio) / 2 / WIRE_RATE

    @property
    def heard_at(self) -> float:
        """When a listener has heard it all: each piece plays when it is there and the one before is over."""
        end = 0.0
        for chunk in self.chunks:
            end = max(end, chunk.at) + chunk.audio_s
        return end

    @property
    def least_margin_s(self) -> float | None:
        """Of the pieces after the first, whose own margin is zero by definition."""
        return min((chunk.margin_s for chunk in self.chunks[1:]), default=None)

    def take(self, event: Received) -> None:
        """Note what this event means for the turn."""
        match event.type:
            case "input_audio_buffer.speech_stopped":
                self.speech_stopped = event.at
            case "conversation.item.input_audio_transcription.completed":
                self.user_transcript = event["transcript"]
            case "response.created":
                self._forget_reply()
                self.response_id = event["response.id"]
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self.first_text = self.first_text or event.at
                self.transcript += event["delta"]
            case "response.output_audio.delta":
                self._take_sound(event)
            case "response.output_item.done":
                self._called |= event["item.type"] in ("function_call", "mcp_call")
            case "response.done":
                self._take_end(event)

    def _take_sound(self, event: Received) -> None:
        sound = event.sound()
        self.first_audio = self.first_audio or event.at
        self.chunks.append(
            ChunkArrival(event.at, len(sound) / 2 / WIRE_RATE, self.first_audio + self.audio_s - event.at)
        )
        self.audio += sound

    def _take_end(self, event: Received) -> None:
        self.status = event["response.status"]
        if self.status == "failed":
            raise ClientError(f"the answer failed: {event['response.status_details.error.message']}")
        # Before the end of the speech only a part of it was answered: the whole answer is still to come.
        if self.status != "cancelled" and event.at >= self.asked and not self._called:
            self.done = event.at

    def _forget_reply(self) -> None:
        self._called = False
        self.first_text = self.first_audio = None
        self.transcript = ""
        self.audio.clear()
        self.chunks.clear()

    def missing(self) -> str:
        """The first thing that did not come, for an error's text."""
        if self.speech_stopped is None and not self.response_id:
            return "the server never heard the end of the speech (no speech_stopped, no response)"
        if not self.response_id:
            return "the server heard the speech and made no response"
        return f"response {self.response_id} did not end"


async def speak(
    connection: RealtimeConnection, utterance: Utterance, *, watch: Watcher = _ignore, patience_s: float = 60.0
) -> TurnRecord:
    """Say it and hear the reply out. Raises `ClientError` when the reply is not complete ``patience_s`` after
    the speech, or the server reports a fault."""
    started = time.perf_counter()
    record = TurnRecord(asked=started + utterance.voiced_s)
    async with beside(_stream(connection, utterance, started), name="microphone"):
        await _listen(connection, record, watch, record.asked + patience_s)
        await _hear_out(connection, record, watch)  # the microphone stays open, as in a call
    return record


async def ask(
    connection: RealtimeConnection, text: str, *, watch: Watcher = _ignore, patience_s: float = 60.0
) -> TurnRecord:
    """Send a typed turn and collect its reply. Raises `ClientError` as `speak` does."""
    record = TurnRecord(asked=time.perf_counter())
    await connection.ask(text)
    await _listen(connection, record, watch, record.asked + patience_s)
    return record


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Runs ``work`` until the block ends. Its failure is left to the block, which reads the same socket."""
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


async def _hear_out(connection: RealtimeConnection, record: TurnRecord, watch: Watcher) -> None:
    """Until a listener has heard it all: what comes meanwhile is of no later turn."""
    try:
        async with asyncio.timeout(record.heard_at - time.perf_counter()):
            while True:
                watch(await connection.receive())
    except TimeoutError:
        pass


async def _stream(connection: RealtimeConnection, utterance: Utterance, started: float) -> None:
    """A microphone: frame k leaves when its last sample has been spoken; after a stall it catches up."""
    for index in itertools.count():
        due = started + (index + 1) * FRAME_MS / 1000
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await connection.append(utterance.frame(index, FRAME_SAMPLES))
