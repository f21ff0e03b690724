"""An hour of talk between a real session and the real engine, whose model is a counter with the official sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from realtime.engine.conversation import PromptRequest
from realtime.engine.engine import EngineCore
from realtime.engine.preparation import Preparation
from realtime.engine.rendered_prompt import Key, RenderedMessage, RenderedPrompt, Segment, segments_of
from realtime.engine.sequence import Slot
from realtime.engine.threaded import ThreadedEngine
from realtime.model.prompt import AudioSpan
from realtime.ports.engine import GenerationOptions, TokenDelta
from realtime.ports.messages import MODEL_SAMPLE_RATE, Message, Text, Tokens
from realtime.protocol import events as wire
from tests.engine.test_engine import FakeCache
from tests.fakes import Caller, call

CONTEXT = 16_384
TURN_S = 30
GROUPS = 188
"""Of one reply: 30 s."""
SPEECH = 1000
"""Ids from here on are speech codes, those before it text."""


def keys_of(message: Message) -> list[Key]:
    """A turn in the prompt: two ids around it, 12.5 a second of the user, the reply's own, a letter each of text."""
    keys: list[Key] = [1]
    content = message.content or ""
    for part in (Text(content),) if isinstance(content, str) else content:
        match part:
            case Text(text):
                keys += [ord(letter) % SPEECH for letter in text]
            case Tokens(ids):
                keys += ids if part.speech else [id_ for id_ in ids if id_ < SPEECH]
    for segment in segments_of(message):
        keys += [(segment.name, index) for index in range(features_of(segment))]
    return [*keys, 2] if message.closed and message.content is not None else keys


def features_of(segment: Segment) -> int:
    return (segment.stop - segment.start) * 25 // (2 * MODEL_SAMPLE_RATE)


class CountingMeter:
    context_tokens = CONTEXT

    def measure(self, message: Message) -> int:
        return len(keys_of(message))


@dataclass
class Speaking:
    """A reply of `GROUPS` groups, one a decode step; every sixth text slot is a word."""

    slot: Slot
    number: int
    groups: int = 0
    finished: str | None = None
    fault: BaseException | None = None
    cached_ids: list[int] = field(default_factory=list)
    rest: str = ""
    rest_count: int = 0
    surplus: int = 0
    end_logprob: float | None = None
    malformed: bool = False
    newest: tuple[int, ...] = ()

    @property
    def text_count(self) -> int:
        return self.groups

    @property
    def audio_count(self) -> int:
        return 4 * self.groups

    def speak(self) -> None:
        text = 10 + (self.number + self.groups) % 900
        codes = tuple(SPEECH + (self.number * 7 + self.groups * 4 + k) % 6000 for k in range(4))
        self.newest = (text, *codes)
        self.groups += 1
        self.finished = "stop" if self.groups == GROUPS else None

    def take_delta(self) -> TokenDelta:
        return TokenDelta("word " if self.groups % 6 == 1 else "", self.newest[1:], self.newest)


class CountingRunner:
    """`realtime.engine.engine.Runner` that computes nothing and counts everything."""

    max_tokens = CONTEXT

    def __init__(self) -> None:
        self.prefilled = 0
        self.caches: list[FakeCache] = []
        self.features: dict[str, int] = {}
        self.replies = 0

    def new_cache(self) -> FakeCache:
        self.caches.append(FakeCache())
        return self.caches[-1]

    def render(self, message: Message) -> RenderedMessage:
        keys, segments = keys_of(message), segments_of(message)
        spans, at = [], 1
        for segment in segments:
            spans.append(AudioSpan(segment.name, at, 0, features_of(segment)))
            at += features_of(segment)
        ids = tuple(0 if isinstance(key, tuple) else key for key in keys)
        return RenderedMessage(ids, tuple(keys), segments, tuple(spans))

    def render_opening(self, options: GenerationOptions) -> RenderedMessage:
        return RenderedMessage((1, 3), (1, 3))

    def preparations(self, request: PromptRequest, *, decodes: bool) -> Iterator[Preparation]:
        yield from ()

    def has_features(self, conversation: str, segment: Segment) -> bool:
        return segment.name in self.features

    def encode(self, conversation: str, segment: Segment) -> None:
        self.features[segment.name] = segment.stop - segment.start

    def keep_features(self, conversation: str, names: frozenset[str]) -> None:
        self.features = {name: size for name, size in self.features.items() if name in names}

    def prefill(self, slot: Slot, prompt: RenderedPrompt, start: int, stop: int) -> None:
        self.prefilled += stop - start
        slot.cache.length += stop - start  # type: ignore[misc]

    def begin_decode(self, slot: Slot, prompt: RenderedPrompt, request: PromptRequest, logits: None) -> Speaking:
        self.replies += 1
        state = Speaking(slot, self.replies * 31)
        state.speak()
        return state

    def decode(self, states: list[Speaking]) -> None:
        for state in states:
            state.cached_ids.extend(state.newest)
            state.slot.cache.length += len(state.newest)  # type: ignore[misc]
            state.speak()


@dataclass
class Talk:
    """One caller who talks and listens in turn."""

    caller: Caller
    runner: CountingRunner
    core: EngineCore
    answers: list[wire.ResponseDone] = field(default_factory=list)

    async def turn(self, *, interrupt: bool = False) -> None:
        """30 s of the user, 30 s of the reply, or 5 s of it when the next turn interrupts."""
        self._sound(TURN_S, 8000)
        await self.caller.expect(wire.InputAudioBufferSpeechStarted)
        await self.caller.settle_until(lambda: self.core.idle)
        self._sound(1, 0)
        self.answers.append(await self.caller.expect(wire.ResponseDone))
        self.caller.clock.now += 5 if interrupt else 60
        await self.caller.settle_until(lambda: self.core.idle)
        self.caller.seen.clear()

    def _sound(self, seconds: int, level: int) -> None:
        self.caller.append(np.full(seconds * MODEL_SAMPLE_RATE, level, "<i2").tobytes())


@asynccontextmanager
async def talk() -> AsyncIterator[Talk]:
    runner = CountingRunner()
    core = EngineCore(runner, slots=1, clock=count(step=30).__next__)  # no reply rests: playback is ahead of all
    engine = ThreadedEngine(core)
    engine.start()
    settings = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": MODEL_SAMPLE_RATE}}}}
    try:
        async with call(settings=settings, parts={"engine": engine, "token_counter": CountingMeter()}) as caller:
            yield Talk(caller, runner, core)
    finally:
        engine.stop()


async def test_an_hours_last_turn_costs_no_more() -> None:
    async with talk() as hour:
        for number in range(60):
            await hour.turn(interrupt=number % 10 == 9)
        assert {answer.response.status for answer in hour.answers} == {"completed"}
        usages = [answer.response.usage for answer in hour.answers]
        computed = [u.input_tokens - u.input_token_details.cached_tokens for u in usages if u is not None]
        own = 25 * (TURN_S + 1) // 2 + 16
        assert len(computed) == 60 and max(computed[1:]) <= own  # what the user just said, and never the history
        said = sum(u.output_tokens for u in usages if u is not None) + 60 * own
        assert said > 4 * CONTEXT
        assert hour.runner.prefilled < 2 * said  # all that was said, and once more what the cuts left
        assert max(u.input_tokens for u in usages if u is not None) + 4096 <= CONTEXT
        (cache,) = hour.runner.caches
        assert cache.length <= CONTEXT
        assert sum(hour.runner.features.values()) <= 900 * MODEL_SAMPLE_RATE
