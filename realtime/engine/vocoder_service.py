"""The vocoder as a service: many replies on one `streaming_vocoder`, in a thread of its own.

A stream is vocoded when it has the tokens of its next chunk. The chunk is as small as possible for the first sound and
as large as the lead over playback allows later (`streaming_vocoder.chunk_schedule`). All streams that are ready at the
same moment go through the vocoder in one call. No stream runs further ahead of its listener than `MAX_LEAD_SECONDS`.

Speculative streams wait until every confirmed one has sound in hand, and pause at `SPECULATIVE_SECONDS` until they are
confirmed themselves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.engine.worker import Worker, describe
from realtime.errors import EngineError
from realtime.ports.engine import SPECULATIVE_SECONDS
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE, AudioChunk, VocoderStream
from streaming_vocoder.chunk_schedule import ChunkSchedule, CostModel
from streaming_vocoder.streaming import StreamState
from streaming_vocoder.voice import Voice

logger = logging.getLogger(__name__)

TOKENS_PER_SECOND = 25
MAX_LEAD_SECONDS = 20.0
"""Audio that a stream may hold which its listener has not taken yet."""

SLACK_SECONDS = 1.0
"""Sound that every confirmed stream must have in hand before a speculative one is vocoded: far longer than a chunk
takes."""

FIRST_COSTS = CostModel(token=0.01, chunk=0.04, chunk_per_token=0.01)
"""Before anything was measured."""

_ADAPTION = 0.3
"""Weight of the newest measurement: machines are shared and their speed drifts."""


class BatchVocoder(Protocol):
    """What is needed of `streaming_vocoder.streaming.Vocoder`."""

    def open(self, voice: Voice) -> StreamState: ...

    def step(self, requests: Sequence[tuple[StreamState, Sequence[int], bool]]) -> list[NDArray[np.float32]]: ...


Delivery = AudioChunk | EngineError | None
"""A chunk, or how the stream ended: None in good order, an error when the vocoder failed."""


@dataclass(slots=True, eq=False)
class Stream:
    """One reply on its way through the service."""

    voice: Voice
    deliver: Callable[[Delivery], None]
    speculative: bool = False
    """It may not be wanted: not confirmed yet."""
    state: StreamState | None = None
    inbox: list[int] = field(default_factory=list)
    finished: bool = False
    closed: bool = False
    ended: bool = False
    """Its end has been delivered."""
    first_out: float | None = None
    last_push: float | None = None
    given_seconds: float = 0.0
    taken_seconds: float = 0.0
    """Audio that the listener has taken."""

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.closed = True

    def take(self, seconds: float) -> None:
        self.taken_seconds += seconds

    def confirm(self, now: float) -> None:
        """Playback begins now, with what there is."""
        self.speculative = False
        self.last_push = None
        if self.first_out is not None:
            self.first_out = now

    def slack(self, now: float) -> float | None:
        """Seconds of audio handed out and not yet played, None before the first chunk."""
        if self.first_out is None:
            return None
        return self.given_seconds if self.speculative else self.first_out + self.given_seconds - now

    @property
    def paused(self) -> bool:
        """As far ahead of its listener as it may be."""
        return self.playback_lead > (SPECULATIVE_SECONDS if self.speculative else MAX_LEAD_SECONDS)

    @property
    def playback_lead(self) -> float:
        """Seconds of audio handed out that the listener has not taken."""
        return self.given_seconds - self.taken_seconds


class VocodingCore:
    """Streams and their chunks, one `step` at a time. One thread only."""

    def __init__(
        self,
        vocoder: BatchVocoder,
        schedule: ChunkSchedule | None = None,
        clock: Callable[[], float] = time.monotonic,
        costs: CostModel = FIRST_COSTS,
    ) -> None:
        """``costs``: what is assumed until the first chunks and tokens have been timed."""
        self._vocoder = vocoder
        self._schedule = schedule or ChunkSchedule()
        self._clock = clock
        self._streams: list[Stream] = []
        self._costs = costs

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def open(self, stream: Stream) -> None:
        """Add a stream. Its state is made now: that takes a while, and the first tokens are still to come."""
        self._streams.append(stream)
        if not stream.speculative or self._has_slack():
            self._prepare(stream)

    def confirm(self, stream: Stream) -> None:
        """A speculative stream is wanted now."""
        stream.confirm(self._clock())

    def fail(self, stream: Stream, fault: BaseException) -> None:
        """End a stream with an error, whether it was opened or not. Does nothing to one that has ended."""
        self._end(stream, EngineError(f"the vocoder failed: {describe(fault)}"))

    def close_all(self) -> None:
        """End every stream as it is."""
        for stream in list(self._streams):
            self._end(stream)

    def fail_all(self, fault: BaseException) -> None:
        """End every stream with an error: something broke that belongs to none of them."""
        for stream in list(self._streams):
            self.fail(stream, fault)

    @contextmanager
    def _border(self, *streams: Stream) -> Iterator[None]:
        """What fails in here ends these streams; the others live on."""
        try:
            yield
        except BaseException as fault:  # a panic in a Rust library is no `Exception`
            logger.exception("the vocoder failed")
            for stream in streams:
                self.fail(stream, fault)

    def _prepare(self, stream: Stream) -> None:
        with self._border(stream):
            stream.state = self._vocoder.open(stream.voice)

    def push(self, stream: Stream, tokens: Sequence[int]) -> None:
        """Give a stream its next tokens, and learn from when they come how fast tokens are made."""
        now = self._clock()
        if stream.last_push is not None and tokens and not stream.speculative:  # the engine lets others go first
            seconds = (now - stream.last_push) / len(tokens)
            costs = self._costs
            self._costs = replace(costs, token=costs.token + _ADAPTION * (seconds - costs.token))
        stream.last_push = now
        stream.inbox.extend(tokens)

    def step(self) -> bool:
        """Vocode one chunk of every stream that is ready; False when none is."""
        self._streams = [stream for stream in self._streams if not stream.closed]
        ready = self._ready(speculative=False)
        if not ready and self._has_slack():
            ready = self._ready(speculative=True)
        if not ready:
            return False
        started = self._clock()
        made: list[NDArray[np.float32]] = []
        with self._border(*(stream for stream, _, _ in ready)):
            made = self._vocoder.step([(_state(stream), tokens, last) for stream, tokens, last in ready])
            if len(made) != len(ready):
                raise EngineError(f"{len(ready)} chunks were asked for, {len(made)} were made")
        if not made:
            return True
        seconds = self._clock() - started
        for (stream, _, last), samples in zip(ready, made, strict=False):
            with self._border(stream):
                self._hand_out(stream, samples, seconds / len(ready))
                if last:
                    self._end(stream)
        self._measure(seconds, max(len(tokens) for _, tokens, _ in ready))
        return True

    def _has_slack(self) -> bool:
        """Whether no listener would notice that a chunk is made for another stream."""
        now = self._clock()
        return all((stream.slack(now) or 0.0) >= SLACK_SECONDS for stream in self._streams if not stream.speculative)

    def _ready(self, *, speculative: bool) -> list[tuple[Stream, list[int], bool]]:
        """The streams that have their next chunk's tokens, with these and whether they are the last."""
        streams = [stream for stream in self._streams if stream.speculative is speculative]
        for stream in streams:
            if stream.state is None:
                self._prepare(stream)
        ready = []
        for stream in streams:
            with self._border(stream):
                if not stream.closed and (tokens := self._next_tokens(stream)):
                    ready.append((stream, *tokens))
        return ready

    def _next_tokens(self, stream: Stream) -> tuple[list[int], bool] | None:
        """Takes the tokens of the next chunk off the inbox, and whether they are the last."""
        if stream.paused:
            return None
        state = _state(stream)
        held = state.buffered + len(stream.inbox)
        chunk = self._schedule.choose(stream.slack(self._clock()), self._costs, held)
        wanted = state.wanted(chunk)
        if stream.finished and len(stream.inbox) <= wanted + state.lookahead:
            tokens, stream.inbox = stream.inbox, []
            return tokens, True
        if len(stream.inbox) < wanted:
            return None
        tokens, stream.inbox = stream.inbox[:wanted], stream.inbox[wanted:]
        return tokens, False

    def _hand_out(self, stream: Stream, samples: NDArray[np.float32], seconds: float) -> None:
        if not len(samples) or stream.closed:
            return
        if stream.first_out is None:
            stream.first_out = self._clock()
        stream.given_seconds += len(samples) / OUTPUT_SAMPLE_RATE
        stream.deliver(AudioChunk(samples, seconds, _state(stream).report.faults()))

    def _end(self, stream: Stream, error: EngineError | None = None) -> None:
        """Take the stream out and tell its listener, once."""
        if stream.ended:
            return
        stream.closed = stream.ended = True
        stream.state = None
        if stream in self._streams:
            self._streams.remove(stream)
        try:
            stream.deliver(error)
        except BaseException:  # the listener's fault: the vocoder's own state is whole
            logger.exception("the end of a stream could not be delivered")

    def _measure(self, seconds: float, tokens: int) -> None:
        """Scale the cost model towards what this call cost."""
        costs = self._costs
        expected = costs.seconds(tokens, 0)
        scale = 1 + _ADAPTION * (seconds / expected - 1)
        self._costs = replace(costs, chunk=costs.chunk * scale, chunk_per_token=costs.chunk_per_token * scale)


def _state(stream: Stream) -> StreamState:
    assert stream.state is not None
    return stream.state


class ThreadedVocoder:
    """`realtime.ports.vocoder.Vocoder` over one `VocodingCore` in its own thread. `start` first, `stop` at the end."""

    def __init__(
        self, vocoder: BatchVocoder, voices: Mapping[str, Voice], schedule: ChunkSchedule | None = None
    ) -> None:
        self._vocoder = vocoder
        self._voices = dict(voices)
        self._core = VocodingCore(vocoder, schedule)
        self._worker = Worker("vocoder", self._core.step, self._core.fail_all, self._core.close_all)

    @property
    def worker(self) -> Worker:
        """The vocoder's thread, for supervision."""
        return self._worker

    @property
    def voices(self) -> tuple[str, ...]:
        return tuple(self._voices)

    def open(self, voice: str, *, speculative: bool = False) -> VocoderStream:
        """A stream in this voice; an unknown name speaks in the default one (clients send names of other servers)."""
        chosen = self._voices.get(voice) or next(iter(self._voices.values()))
        return _ThreadStream(chosen, speculative, self._core, self._worker, asyncio.get_running_loop())

    def add_voice(self, name: str, voice: Voice) -> None:
        """From now on streams may be opened in this voice. From any thread."""
        self._voices = {**self._voices, name: voice}

    def remove_voice(self, name: str) -> None:
        """No new stream is opened in it; those that are open go on."""
        self._voices = {known: voice for known, voice in self._voices.items() if known != name}

    def warm_up(self) -> None:
        """Take every voice's snapshot and run a few chunks, before the thread starts."""
        for voice in self._voices.values():
            state = self._vocoder.open(voice)
            tokens = voice.tokens[:28].tolist()
            self._vocoder.step([(state, tokens[:8], False)])
            self._vocoder.step([(state, tokens[8:], True)])

    def start(self) -> None:
        self._worker.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread; open streams end."""
        self._worker.stop(timeout)


class _ThreadStream:
    """`realtime.ports.vocoder.VocoderStream`: carries tokens to the vocoder's thread and audio to the event loop."""

    def __init__(
        self, voice: Voice, speculative: bool, core: VocodingCore, worker: Worker, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        self._core = core
        self._worker = worker
        self._chunks: asyncio.Queue[Delivery] = asyncio.Queue()
        self._cut = False
        self._stream = Stream(voice, self._deliver, speculative)
        self._put(partial(core.open, self._stream))

    def _put(self, command: Callable[[], None]) -> None:
        """A command that fails ends this stream with an error."""
        self._worker.put(command, partial(self._core.fail, self._stream))

    @property
    def made_seconds(self) -> float:
        return self._stream.given_seconds

    def confirm(self) -> None:
        self._put(partial(self._core.confirm, self._stream))

    def push(self, tokens: Sequence[int]) -> None:
        self._put(partial(self._core.push, self._stream, list(tokens)))

    def finish(self) -> None:
        self._put(self._stream.finish)

    def close(self) -> None:
        if not self._cut:
            self._cut = True
            self._chunks.put_nowait(None)
            self._put(self._stream.close)

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        while (chunk := await self._chunks.get()) is not None and not self._cut:
            if isinstance(chunk, EngineError):
                raise chunk
            seconds = len(chunk.samples) / OUTPUT_SAMPLE_RATE
            self._put(partial(self._stream.take, seconds))
            yield chunk

    def _deliver(self, chunk: Delivery) -> None:
        try:
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
        except RuntimeError:  # the loop is closed: no one listens any more
            logger.debug("a chunk came after its event loop had ended")
