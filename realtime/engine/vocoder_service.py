"""The vocoder as a service: many replies on one `streaming_vocoder`, in a thread of its own.

A stream is vocoded when it has the tokens of its next chunk. The chunk is as small as possible for the first sound and
as large as the lead over playback allows later (`streaming_vocoder.chunk_schedule`). All streams that are ready at the
same moment go through the vocoder in one call. No stream runs further ahead of its listener than `MAX_LEAD_SECONDS`.

Which streams a call is for is decided as in the engine (`realtime.engine.chunk_queue`). Speculative streams pause at
`SPECULATIVE_SECONDS` until they are confirmed.

A stuck thread is given up and replaced, as the engine's is (`realtime.engine.threaded`). A stream whose sound is no
number ends with an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.engine.chunk_queue import Chunk, ChunkQueue
from realtime.engine.compute_clock import compute_clock
from realtime.engine.incarnation import Incarnation
from realtime.engine.sequence import Tier, deliver_nothing
from realtime.engine.vocoder_stream import Delivery, Stream
from realtime.engine.worker import Worker, describe
from realtime.errors import EngineError
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE, AudioChunk, VocoderStream
from streaming_vocoder.chunk_schedule import ChunkSchedule, CostModel
from streaming_vocoder.streaming import StreamState
from streaming_vocoder.voice import Voice

logger = logging.getLogger(__name__)

TOKENS_PER_SECOND = 25
SLACK_SECONDS = 1.0
"""Sound that every stream of a conversation must have in hand before another is vocoded: far longer than a chunk
takes."""

TIMED_TOKENS = 10
"""Of a chunk whose cost is measured: longer than the first of a reply, shorter than later ones."""

HOLD_SECONDS = 0.01
"""How soon to look again whether the engine still has urgent work."""

FIRST_COSTS = CostModel(token=0.01, chunk=0.04, chunk_per_token=0.01)
"""Before anything was measured."""

_ADAPTION = 0.3
"""Weight of the newest measurement: machines are shared and their speed drifts."""


class BatchVocoder(Protocol):
    """What is needed of `streaming_vocoder.streaming.Vocoder`."""

    def open(self, voice: Voice) -> StreamState: ...

    def step(self, requests: Sequence[tuple[StreamState, Sequence[int], bool]]) -> list[NDArray[np.float32]]: ...


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
        self._queue: ChunkQueue[Stream] = ChunkQueue()
        self._pressed: Callable[[], bool] = lambda: False

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def urgent(self) -> bool:
        """Whether a stream of a conversation needs the processor now. From any thread."""
        return self._queue.urgent

    def yield_to(self, pressed: Callable[[], bool]) -> None:
        """Do only urgent work while this is true: somebody else has urgent work for the same processor."""
        self._pressed = pressed

    def due(self) -> float | None:
        """Seconds after which there may be work without a command; None: there will be none."""
        return HOLD_SECONDS if self._queue.holds_back else None

    def open(self, stream: Stream) -> None:
        """Add a stream. That of a conversation gets its state now: it takes a while, and the first tokens are still to
        come. Other streams get it with their first tokens, because it takes memory."""
        self._streams.append(stream)
        if stream.tier is Tier.CONVERSATION:
            self._prepare(stream)

    def confirm(self, stream: Stream) -> None:
        """A speculative stream is wanted now."""
        stream.confirm(self._clock())

    def fail(self, stream: Stream, fault: BaseException) -> None:
        """End a stream with an error, whether it was opened or not. Does nothing to one that has ended."""
        self._end(stream, EngineError(f"the vocoder failed: {describe(fault)}"))

    def close(self, stream: Stream) -> None:
        """Its listener wants no more. Its state, several MB, goes now, and so does its reference to the listener, who
        refers to the stream: a cycle would last until the garbage collector comes by."""
        stream.closed = True
        stream.state = None
        stream.deliver = deliver_nothing
        if stream in self._streams:
            self._streams.remove(stream)

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
        waiting = any(stream.tier is Tier.CONVERSATION and self._is_urgent(stream) for stream in self._streams)
        streams = [stream for stream in self._streams if not (waiting and stream.tier is Tier.AHEAD)]
        chunks = [chunk for stream in streams if (chunk := self._next_chunk(stream)) is not None]
        chosen = self._queue.choose(chunks, self._clock(), waiting=waiting, pressed=self._pressed())
        if not chosen:
            return False
        ready = [(chunk.stream, chunk.stream.take_tokens(chunk.tokens), chunk.last) for chunk in chosen]
        started = self._clock()
        made: list[NDArray[np.float32]] = []
        with self._border(*(stream for stream, _, _ in ready)):
            made = self._vocoder.step([(stream.running, tokens, last) for stream, tokens, last in ready])
            if len(made) != len(ready):
                raise EngineError(f"{len(ready)} chunks were asked for, {len(made)} were made")
        seconds = self._clock() - started
        self._queue.made(chosen, seconds)
        if not made:
            return True
        for (stream, _, last), samples in zip(ready, made, strict=False):
            with self._border(stream):
                self._hand_out(stream, samples, seconds / len(ready))
                if last:
                    self._end(stream)
        self._measure(seconds, max(len(tokens) for _, tokens, _ in ready))
        return True

    def _is_urgent(self, stream: Stream) -> bool:
        """Whether a listener would notice that a chunk is made for another stream."""
        return (stream.slack(self._clock()) or 0.0) < SLACK_SECONDS

    def _next_chunk(self, stream: Stream) -> Chunk[Stream] | None:
        """The stream's next chunk, when it has the tokens for it."""
        with self._border(stream):
            if stream.paused:
                return None
            if stream.state is None:
                if not (stream.inbox or stream.finished or stream.tier is Tier.CONVERSATION):
                    return None
                self._prepare(stream)
            if not stream.closed and (size := self._next_size(stream)) is not None:
                return Chunk(stream, stream.tier, stream.payer, self._is_urgent(stream), *size)
        return None

    def _next_size(self, stream: Stream) -> tuple[int, bool] | None:
        """How many tokens its next chunk takes, and whether they are the last; None while there are too few."""
        state = stream.running
        held = state.buffered + len(stream.inbox)
        chunk = self._schedule.choose(stream.slack(self._clock()), self._costs, held)
        if stream.tier is not Tier.CONVERSATION:
            chunk = min(chunk, self._short_chunk)
        wanted = state.wanted(chunk)
        if stream.finished and len(stream.inbox) <= wanted + state.lookahead:
            return len(stream.inbox), True
        return (wanted, False) if len(stream.inbox) >= wanted else None

    @property
    def _short_chunk(self) -> int:
        """The longest chunk, in tokens, of what is not urgent: whoever comes meanwhile waits for it."""
        rungs = self._schedule.rungs
        return rungs[min(1, len(rungs) - 1)]

    def _hand_out(self, stream: Stream, samples: NDArray[np.float32], seconds: float) -> None:
        if not len(samples) or stream.closed:
            return
        stream.check(samples)
        if stream.first_out is None:
            stream.first_out = self._clock()
        stream.given_seconds += len(samples) / OUTPUT_SAMPLE_RATE
        stream.deliver(AudioChunk(samples, seconds, stream.running.report.faults()))

    def _end(self, stream: Stream, error: EngineError | None = None) -> None:
        """Take the stream out and tell its listener, once."""
        if stream.ended:
            return
        stream.ended = True
        deliver = stream.deliver
        self.close(stream)
        try:
            deliver(error)
        except BaseException:  # the listener's fault: the vocoder's own state is whole
            logger.exception("the end of a stream could not be delivered")

    def _measure(self, seconds: float, tokens: int) -> None:
        """Scale the cost model towards what this call cost."""
        costs = self._costs
        expected = costs.seconds(tokens, 0)
        scale = 1 + _ADAPTION * (seconds / expected - 1)
        self._costs = replace(costs, chunk=costs.chunk * scale, chunk_per_token=costs.chunk_per_token * scale)


class _VocoderThread(Incarnation):
    """A core in its thread."""

    def __init__(self, vocoder: BatchVocoder, schedule: ChunkSchedule | None) -> None:
        self.core = core = VocodingCore(vocoder, schedule)
        super().__init__(Worker("vocoder", core.step, core.fail_all, core.close_all, core.due))


class ThreadedVocoder:
    """`realtime.ports.vocoder.Vocoder` over one `VocodingCore` in its own thread. `start` first, `stop` at the end."""

    def __init__(
        self,
        vocoder: BatchVocoder,
        voices: Mapping[str, Voice],
        schedule: ChunkSchedule | None = None,
        make_vocoder: Callable[[], BatchVocoder] | None = None,
    ) -> None:
        """``make_vocoder``: another one, to go on with when the thread is stuck; it must share nothing that changes
        with the first one."""
        self._vocoder = vocoder
        self._voices = dict(voices)
        self._schedule = schedule
        self._make_vocoder = make_vocoder
        self._pressed: Callable[[], bool] = lambda: False
        self._thread = _VocoderThread(vocoder, schedule)

    @property
    def worker(self) -> Worker:
        """The vocoder's thread, for supervision."""
        return self._thread.worker

    @property
    def _core(self) -> VocodingCore:
        return self._thread.core

    def abandon(self, reason: str) -> None:
        """Give the thread up. All streams end with an error, and so do new ones until `renew`. From any thread."""
        self._thread.lose(EngineError(reason))

    def renew(self) -> None:
        """Start a new thread after `abandon`, warm. Raises `EngineError` where no other vocoder can be made."""
        if self._make_vocoder is None:
            raise EngineError("this vocoder cannot be replaced")
        self._vocoder = self._make_vocoder()
        self.warm_up()
        thread = _VocoderThread(self._vocoder, self._schedule)
        thread.core.yield_to(self._pressed)
        thread.worker.start()
        self._thread = thread

    @property
    def open_streams(self) -> int:
        """Replies that are being spoken, or wait to be."""
        return self._core.open_streams

    @property
    def urgent(self) -> bool:
        """`VocodingCore.urgent`, unless the thread is stuck in it."""
        return self._core.urgent and self.worker.responds

    def yield_to(self, pressed: Callable[[], bool]) -> None:
        """See `VocodingCore.yield_to`."""
        self._pressed = pressed
        self._core.yield_to(pressed)

    @property
    def voices(self) -> tuple[str, ...]:
        return tuple(self._voices)

    def open(
        self, voice: str, *, speculative: bool = False, aside: bool = False, payer: Payer = NOBODY
    ) -> VocoderStream:
        """A stream in this voice; an unknown name speaks in the default one (clients send names of other servers)."""
        chosen = self._voices.get(voice) or next(iter(self._voices.values()))
        stream = _ThreadStream(self._thread, asyncio.get_running_loop())
        return stream.open(Stream(chosen, stream.deliver, speculative, aside, payer))

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

    def time_speech(self, replies: int) -> float:
        """Seconds for a second of speech of so many replies, made together. Before the thread runs."""
        voice = next(iter(self._voices.values()))
        states = [self._vocoder.open(voice) for _ in range(replies)]
        tokens = voice.tokens.repeat(1 + 30 // len(voice.tokens)).tolist()
        self._vocoder.step([(state, tokens[:8], False) for state in states])
        clock = compute_clock()
        times = []
        for start in (8, 8 + TIMED_TOKENS):
            began = clock()
            self._vocoder.step([(state, tokens[start : start + TIMED_TOKENS], False) for state in states])
            times.append(clock() - began)
        return min(times) * TOKENS_PER_SECOND / TIMED_TOKENS

    def start(self) -> None:
        self.worker.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread; open streams end."""
        self.worker.stop(timeout)


class _ThreadStream:
    """`realtime.ports.vocoder.VocoderStream`: carries tokens to the vocoder's thread and audio to the event loop."""

    _stream: Stream

    def __init__(self, thread: _VocoderThread, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = thread
        self._core = thread.core
        self._chunks: asyncio.Queue[Delivery] = asyncio.Queue()
        self._cut = False

    def open(self, stream: Stream) -> _ThreadStream:
        """Begin; once."""
        self._stream = stream
        self._thread.join(self)
        self._put(partial(self._core.open, stream))
        return self

    def _put(self, command: Callable[[], None]) -> None:
        """A command that fails ends this stream with an error."""
        self._thread.worker.put(command, self._failed)

    def _failed(self, fault: BaseException) -> None:
        if not self._thread.lost:  # else `lose` has told the listener, and the core may be in use still
            self._core.fail(self._stream, fault)

    def lose(self, fault: EngineError) -> None:
        """The vocoder's thread was given up."""
        self._hand_over(fault)

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
            self._thread.leave(self)
            self._chunks.put_nowait(None)
            self._put(partial(self._core.close, self._stream))

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        while (chunk := await self._chunks.get()) is not None and not self._cut:
            if isinstance(chunk, EngineError):
                raise chunk
            seconds = len(chunk.samples) / OUTPUT_SAMPLE_RATE
            self._put(partial(self._stream.take, seconds))
            yield chunk

    def deliver(self, chunk: Delivery) -> None:
        """Carry a chunk to the event loop. In the vocoder's thread. What a lost thread makes is not wanted: the
        listener has been told."""
        if self._thread.lost:
            return
        if not isinstance(chunk, AudioChunk):
            self._thread.leave(self)
        self._hand_over(chunk)

    def _hand_over(self, chunk: Delivery) -> None:
        try:
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
        except RuntimeError:  # the loop is closed: no one listens any more
            logger.debug("a chunk came after its event loop had ended")
