"""Stand-ins for the model side and the network, which play a script. No torch, no sockets, no waiting.

`Caller` is a client in memory: it speaks (`say`, `be_silent`), sends events (`send`) and waits for answers
(`expect`); `call` gives one, connected to a session.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from realtime.admission.manager import first_settings
from realtime.engine.conversation import ConversationState
from realtime.engine.held_audio import HeldAudio
from realtime.errors import ChannelClosed
from realtime.ports.channel import AudioPlayed, Inbound, plays_audio
from realtime.ports.engine import (
    Conversation,
    Generation,
    GenerationDone,
    GenerationOptions,
    GenerationTimings,
    TokenDelta,
    TokenLogProb,
    TokenUsage,
)
from realtime.ports.messages import Message
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.tool_calls import CallableFunction, CallRules
from realtime.ports.tools import NoServers, NoTools, SchemaCheck, ToolServers, ToolSet, accept_any
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE, AudioChunk, VocoderStream
from realtime.protocol import events as wire
from realtime.protocol.codec import decode_object
from realtime.protocol.ids import Ids
from realtime.session.config import SessionConfig
from realtime.session.context.engine_conversation import GenerationRequest
from realtime.session.inputs import InputQueue
from realtime.session.quota import Quota
from realtime.session.recording import Opening, Recording
from realtime.session.services import Services
from realtime.session.session import Session
from realtime.turns.vad import VoiceDetector

SAMPLES_PER_TOKEN = 960
"""One speech token is 40 ms at 24 kHz."""

TIMINGS = GenerationTimings(queued=0.001, encoded=0.01, first_token=0.012, decode_seconds=0.05, decode_tokens=20)
USAGE = TokenUsage(input_text=10, input_audio=5, output_text=4, output_audio=16)

Event = TypeVar("Event", bound=wire._ServerEvent)


# The model side


def delta(text: str, tokens: int = 0) -> TokenDelta:
    """Some text with so many speech tokens; the raw ids are 1 for text and 2 for speech."""
    return TokenDelta(text, tuple(range(tokens)), (*([1] if text else []), *([2] * tokens)))


def done(reason: Any = "stop", error: str | None = None, rest: str = "", rest_count: int = 0) -> GenerationDone:
    return GenerationDone(reason, USAGE, TIMINGS, error, rest, rest_count)


def reply(*words: str, tokens: int = 5) -> list[Step]:
    """A reply that speaks these words, ``tokens`` speech tokens each, and stops."""
    return [*(delta(word, tokens) for word in words), done()]


def calling(*words: str, rest: str, tokens: int = 5) -> list[Step]:
    """A reply that speaks these words and then writes ``rest``, whose three raw ids are 3."""
    written = TokenDelta("", (), (3, 3, 3))
    return [*(delta(word, tokens) for word in words), written, done(rest=rest, rest_count=3)]


class Gate:
    """A place in a script where the engine waits until the test opens it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self.reached = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def wait(self) -> None:
        self.reached.set()
        await self._open.wait()


Step = TokenDelta | GenerationDone | Gate | Exception


def heard(text: str, chance: float = 0.9, end: float = 0.9) -> list[Step]:
    """A transcript, so likely, and its end."""
    said = TokenDelta(text, (), (1,), logprobs=(TokenLogProb(text.encode(), math.log(chance)),))
    ended = replace(done(), end_logprob=math.log(end))
    return [said, ended] if text else [ended]


@dataclass(frozen=True, slots=True)
class AskedRequest(GenerationRequest):
    """What the engine was asked, with the content that it had been given before; by which conversation."""

    conversation: str = ""


class FakeGeneration:
    """Plays one script; ends as cancelled when told to."""

    def __init__(
        self, engine: FakeEngine, request: AskedRequest, steps: Sequence[Step], *, speculative: bool = False
    ) -> None:
        self.engine = engine
        self.request = request
        self.speculative = speculative
        self.confirmed = not speculative
        self.cancelled = False
        self.finished = False
        self._steps = steps

    async def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]:
        for step in self._steps:
            await asyncio.sleep(0)
            if self.cancelled:
                yield done("cancelled")
                return
            if isinstance(step, Gate):
                await step.wait()
            elif isinstance(step, Exception):
                raise step
            else:
                self.finished = isinstance(step, GenerationDone)
                yield step

    def confirm(self) -> None:
        self.confirmed = True

    def cancel(self) -> None:
        self.cancelled = True

    def again(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        messages = tuple(message for message in self.request.messages if message.closed)
        request = self.engine.asked(self.request.conversation, messages, options)
        return self.engine.generate(request, speculative=speculative)


class FakeConversation(ConversationState):
    """A conversation of the fake engine. What breaks it fails the test. A test may set ``lost``."""

    lost = False

    def __init__(self, engine: FakeEngine, name: str) -> None:
        super().__init__(name)
        self._engine = engine

    def generate(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        return self._engine.generate(self._asked(options), speculative=speculative)

    def prefetch(self, options: GenerationOptions) -> None:
        self._engine.prefetched.append(self._asked(options))

    def fork(self, name: str) -> Conversation:
        fork = FakeConversation(self._engine, name)
        fork.fork_from(self)
        return fork

    def close(self) -> None:
        self._engine.released.append(self.name)

    def define_functions(self, functions: Sequence[CallableFunction]) -> None:
        super().define_functions(functions)
        self._engine.functions.update((function.name, function) for function in functions)

    def _asked(self, options: GenerationOptions) -> AskedRequest:
        messages = tuple(_with_audio(one.message) for one in self.request(options).messages)
        return self._engine.asked(self.name, messages, options)


def _with_audio(message: Message) -> Message:
    if not isinstance(message.content, tuple):
        return message
    parts = (part.audio if isinstance(part, HeldAudio) else part for part in message.content)
    return replace(message, content=tuple(parts))


class FakeEngine:
    """Answers the n-th request with the n-th script, then always with "Hello.".

    ``words``: what it writes down, one after the other, when asked about a short word over a reply; with none left such
    a question is a request as all others.
    """

    def __init__(self, *scripts: Sequence[Step], words: Sequence[Sequence[Step]] = ()) -> None:
        self._words = deque(words)
        self.generations: list[FakeGeneration] = []
        self.prefetched: list[AskedRequest] = []
        self.released: list[str] = []
        self.functions: dict[str, CallableFunction] = {}
        self._scripts = deque(scripts)

    @property
    def requests(self) -> list[AskedRequest]:
        return [generation.request for generation in self.generations]

    def open(self, name: str) -> Conversation:
        return FakeConversation(self, name)

    def asked(self, conversation: str, messages: tuple[Message, ...], options: GenerationOptions) -> AskedRequest:
        if options.opening is not None:
            messages = (*messages, Message("assistant", options.opening, closed=False))
        calls = options.calls
        return AskedRequest(
            messages,
            options.speech,
            options.sampling,
            options.background,
            options.thinking,
            options.logprobs,
            CallRules(
                tuple(map(self.functions.__getitem__, calls.names)), calls.required, calls.parallel, calls.words_first
            ),
            options.playback_speed,
            options.aside,
            conversation,
        )

    def generate(self, request: AskedRequest, *, speculative: bool = False) -> Generation:
        """What every conversation asks of the engine."""
        asks_for_word = request.logprobs and not request.speech
        scripts = self._words if self._words and asks_for_word else self._scripts
        steps = scripts.popleft() if scripts else reply("Hello.")
        generation = FakeGeneration(self, request, steps, speculative=speculative)
        self.generations.append(generation)
        return generation


class FakeVocoderStream:
    """40 ms of a constant for each token, one chunk a push."""

    def __init__(self, voice: str, fault: Exception | None, *, speculative: bool = False) -> None:
        self.voice = voice
        self.closed = False
        self.confirmed = not speculative
        self.made_seconds = 0.0
        self._fault = fault
        self._chunks: asyncio.Queue[AudioChunk | None] = asyncio.Queue()

    def confirm(self) -> None:
        self.confirmed = True

    def push(self, tokens: Sequence[int]) -> None:
        self.made_seconds += len(tokens) * SAMPLES_PER_TOKEN / OUTPUT_SAMPLE_RATE
        samples = np.full(len(tokens) * SAMPLES_PER_TOKEN, 0.25, np.float32)
        self._chunks.put_nowait(AudioChunk(samples, compute_seconds=0.001))

    def finish(self) -> None:
        self._chunks.put_nowait(None)

    def close(self) -> None:
        self.closed = True
        self._chunks.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        while (chunk := await self._chunks.get()) is not None and not self.closed:
            if self._fault is not None:
                raise self._fault
            yield chunk


class FakeVocoder:
    voices = ("default", "other")

    def __init__(self, fault: Exception | None = None) -> None:
        self.streams: list[FakeVocoderStream] = []
        self._fault = fault

    def open(
        self, voice: str, *, speculative: bool = False, aside: bool = False, payer: Payer = NOBODY
    ) -> VocoderStream:
        stream = FakeVocoderStream(voice, self._fault, speculative=speculative)
        self.streams.append(stream)
        return stream


class LoudnessDetector:
    """Takes for speech what is loud."""

    def probability(self, frame: NDArray[np.float32]) -> float:
        return float(np.abs(frame).max() > 0.1)

    def reset(self) -> None:
        pass


class LoudnessVad:
    def open(self) -> VoiceDetector:
        return LoudnessDetector()


# The network


class MemoryChannel:
    """A connection in memory; while paused, the peer reads nothing."""

    def __init__(self) -> None:
        self.to_client: asyncio.Queue[wire._ServerEvent] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None
        self._reading = asyncio.Event()
        self._reading.set()
        self._to_server: asyncio.Queue[Inbound | Exception] = asyncio.Queue()
        self._gone = asyncio.Event()

    async def receive(self) -> Inbound:
        if self._gone.is_set() and self._to_server.empty():
            raise ChannelClosed("the peer is gone")
        event = await self._to_server.get()
        if isinstance(event, Exception):
            raise event
        return event

    async def send(self, event: wire.ServerEvent) -> None:
        await self._reading.wait()
        if self._gone.is_set():
            raise ChannelClosed("the peer is gone")
        self.to_client.put_nowait(event)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)
        self._gone.set()

    def put(self, message: Inbound | Exception) -> None:
        self._to_server.put_nowait(message)

    def pause(self) -> None:
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    def vanish(self) -> None:
        """The peer is gone without a word."""
        self._gone.set()
        self._reading.set()
        self.put(ChannelClosed("the peer is gone"))


class FakeClock:
    """Stands still unless the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class LoopClock(FakeClock):
    """The clock of the event loop, for tests in virtual time."""

    def __call__(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Caller:
    """The client's end of one session, and a look at what is behind it."""

    session: Session
    channel: MemoryChannel
    engine: FakeEngine
    vocoder: FakeVocoder
    clock: FakeClock
    task: asyncio.Task[None]
    reports: list[tuple[str, Mapping[str, float | None]]]
    """What was told of each reply: its id and its latencies."""
    rate: int = 24_000
    seen: list[wire._ServerEvent] = field(default_factory=list)

    def send(self, type: str, **fields: Any) -> None:
        """A client event by its name, through the decoder."""
        self.channel.put(decode_object({"type": type, **fields}))

    def update(self, **session: Any) -> None:
        self.send("session.update", session={"type": "realtime", **session}, event_id="update")

    def turn_detection(self, detection: Mapping[str, Any] | None) -> None:
        self.update(audio={"input": {"turn_detection": detection}})

    def append(self, data: bytes) -> None:
        self.channel.put(wire.InputAudioBufferAppend(audio=data))

    def say(self, seconds: float) -> None:
        """Loud audio, in appends of 20 ms."""
        self._sound(seconds, 8000)

    def be_silent(self, seconds: float) -> None:
        self._sound(seconds, 0)

    def say_something(self) -> None:
        """A whole turn of one second, with the silence that ends it."""
        self.be_silent(0.5)
        self.say(1.0)
        self.be_silent(0.7)

    def played(self, item_id: str, samples: int) -> None:
        self.channel.put(AudioPlayed(item_id, samples))

    async def expect(self, kind: type[Event]) -> Event:
        """The next event of this kind; what came before it is only noted in `seen`."""
        async with asyncio.timeout(5):
            while True:
                event = await self.channel.to_client.get()
                self.seen.append(event)
                if isinstance(event, kind):
                    return event

    async def expect_error(self) -> wire.ErrorDetails:
        return (await self.expect(wire.Error)).error

    async def settle(self) -> list[str]:
        """Let everything that can happen now happen; the types of what came."""
        for _ in range(200):
            await asyncio.sleep(0)
        types = []
        while not self.channel.to_client.empty():
            event = self.channel.to_client.get_nowait()
            self.seen.append(event)
            types.append(event.type)
        return types

    async def settle_until(self, condition: Callable[[], bool]) -> None:
        """Let things happen until something holds."""
        async with asyncio.timeout(30):
            while not condition():
                await self.settle()

    def of(self, kind: type[Event]) -> list[Event]:
        """All events of this kind that were seen."""
        return [event for event in self.seen if isinstance(event, kind)]

    def types(self) -> list[str]:
        return [event.type for event in self.seen]

    async def hang_up(self) -> None:
        self.channel.vanish()
        async with asyncio.timeout(5):
            await self.task

    def _sound(self, seconds: float, amplitude: int) -> None:
        step = self.rate // 50
        for start in range(0, int(seconds * self.rate), step):
            length = min(step, int(seconds * self.rate) - start)
            self.append(np.full(length, amplitude, "<i2").tobytes())


@asynccontextmanager
async def call(
    *scripts: Sequence[Step],
    config: SessionConfig | None = None,
    vocoder: FakeVocoder | None = None,
    settings: Mapping[str, Any] | None = None,
    schema_check: SchemaCheck = accept_any,
    tools: ToolSet | None = None,
    servers: ToolServers | None = None,
    parts: Mapping[str, Any] | None = None,
    quota: Quota | None = None,
    words: Sequence[Sequence[Step]] = (),
    recording: Recording | None = None,
    clock: FakeClock | None = None,
    channel: MemoryChannel | None = None,
) -> AsyncIterator[Caller]:
    """A caller who is connected, with the engine playing these scripts. Hangs up at the end.

    ``settings``: what the session object differs in from the defaults; ``parts``: of `Services`, what is no fake;
    ``words``: see `FakeEngine`; ``recording``: writes the session down.
    """
    engine, vocoder = FakeEngine(*scripts, words=words), vocoder or FakeVocoder()
    channel, clock = channel or MemoryChannel(), clock or FakeClock()
    config, ids = config or SessionConfig(), Ids("t")
    reports: list[tuple[str, Mapping[str, float | None]]] = []
    services = Services(engine, vocoder, LoudnessVad(), lambda id, figures: reports.append((id, figures)), schema_check)
    services = replace(services, tools=tools or NoTools(), tool_servers=servers or NoServers(), **(parts or {}))
    first, inputs = first_settings(config, ids, patch=settings), InputQueue(clock, recording)
    if recording is not None:
        recording.begin(Opening(clock(), first, config, services, ids, plays_audio(channel)))
    session = Session(channel, services, config, first, ids, inputs, quota)
    task = asyncio.create_task(session.run(), name="session under test")
    caller = Caller(session, channel, engine, vocoder, clock, task, reports)
    try:
        await caller.expect(wire.SessionCreated)
        yield caller
    finally:
        await caller.hang_up()
