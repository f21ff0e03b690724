"""The engine's bookkeeping with a runner that has no tensors: order, reuse, cancellation, failure."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from realtime.engine.conversation import PromptMessage, PromptRequest
from realtime.engine.engine import EngineCore
from realtime.engine.preparation import Preparation
from realtime.engine.rendered_prompt import Key, RenderedMessage, RenderedPrompt, Segment, segments_of
from realtime.engine.sequence import Job, Purpose, Slot
from realtime.engine.threaded import ThreadedEngine
from realtime.model.prompt import AudioSpan
from realtime.ports.engine import Engine, Generation, GenerationDone, GenerationOptions, SamplingParams, TokenDelta
from realtime.ports.messages import Audio, Message


class FakeCache:
    def __init__(self) -> None:
        self.length = 0

    def truncate(self, length: int) -> None:
        self.length = length


@dataclass
class FakeState:
    """Counts down from the last prompt id: a prompt that ends in 3 is answered 3 2 1."""

    slot: Slot
    left: int
    said: list[int] = field(default_factory=list)
    finished: str | None = None
    fault: BaseException | None = None
    text_count: int = 0
    audio_count: int = 0
    cached_ids: list[int] = field(default_factory=list)
    rest: str = ""
    rest_count: int = 0
    surplus: int = 0
    end_logprob: float | None = None
    malformed: bool = False

    def take_delta(self) -> TokenDelta | None:
        if not self.said:
            return None
        ids, self.said = tuple(self.said), []
        return TokenDelta(" ".join(map(str, ids)), (), ids)


class FakeRunner:
    max_tokens = 200

    def __init__(self) -> None:
        self.log: list[str] = []
        self.features: set[tuple[str, str]] = set()
        self.fail_on: int | None = None
        self.rendered = 0

    def new_cache(self) -> FakeCache:
        return FakeCache()

    def render(self, message: Message) -> RenderedMessage:
        self.rendered += 1
        if isinstance(message.content, str):
            keys: list[Key] = [int(word) for word in message.content.split()]
        else:
            keys = [(segment.name, i) for segment in segments_of(message) for i in range(3)]
        spans = tuple(AudioSpan(segment.name, 0, 0, 3) for segment in segments_of(message))
        ids = tuple(key if isinstance(key, int) else 0 for key in keys)
        return RenderedMessage(ids, tuple(keys), segments_of(message), spans)

    def render_opening(self, options: GenerationOptions) -> RenderedMessage:
        return RenderedMessage((), ())

    def preparations(self, request: PromptRequest, *, decodes: bool) -> Iterator[Preparation]:
        yield from ()

    def has_features(self, conversation: str, segment: Segment) -> bool:
        return (conversation, segment.name) in self.features

    def encode(self, conversation: str, segment: Segment) -> None:
        self.log.append(f"encode {segment.name}")
        self.features.add((conversation, segment.name))

    def keep_features(self, conversation: str, names: frozenset[str]) -> None:
        self.features = {(k, a) for k, a in self.features if k != conversation or a in names}

    def prefill(self, slot: Slot, prompt: RenderedPrompt, start: int, stop: int) -> None:
        self.log.append(f"prefill {slot.name} {start}-{stop}")
        slot.cache.length += stop - start

    def begin_decode(self, slot: Slot, prompt: RenderedPrompt, request: PromptRequest, logits: None) -> FakeState:
        state = FakeState(slot, prompt.ids(prompt.length - 1, prompt.length)[0])
        self._emit(state)
        return state

    def decode(self, states: list[FakeState]) -> None:
        self.log.append("decode " + " ".join(state.slot.name for state in states))
        for state in states:
            if state.left == self.fail_on:
                raise RuntimeError("out of memory")
            state.slot.cache.length += 1
            state.cached_ids.append(state.left + 1)
            self._emit(state)

    def _emit(self, state: FakeState) -> None:
        state.said.append(state.left)
        state.text_count += 1
        state.left -= 1
        if state.left <= 0:
            state.finished, state.rest, state.rest_count = "stop", "calls", 1


def request(text: str, key: str = "a", audio: str | None = None, *, background: bool = False) -> PromptRequest:
    messages = [Message("human", text)]
    if audio is not None:
        messages.insert(0, Message("human", (Audio(audio, np.zeros(10, np.float32)),)))
    options = GenerationOptions(True, SamplingParams(), background)
    return PromptRequest(key, tuple(map(PromptMessage, messages)), options)


def generate(engine: Engine, asked: PromptRequest, *, speculative: bool = False) -> Generation:
    """The request over the port, in a conversation of its own."""
    conversation = engine.open(asked.conversation)
    messages = [one.message for one in asked.messages]
    for part in (part for message in messages for part in message.content or () if isinstance(part, Audio)):
        conversation.append_audio(part.id, part.samples)
    conversation.append([_by_reference(message) for message in messages])
    return conversation.generate(asked.options, speculative=speculative)


def _by_reference(message: Message) -> Message:
    if not isinstance(message.content, tuple):
        return message
    return replace(message, content=tuple(part.ref if isinstance(part, Audio) else part for part in message.content))


class Harness:
    def __init__(self, slots: int = 4) -> None:
        self.runner = FakeRunner()
        self.now = 0.0
        self.core = EngineCore(self.runner, slots=slots, clock=self._tick)
        self.events: dict[str, list[TokenDelta | GenerationDone]] = {}

    def _tick(self) -> float:
        self.now += 0.001
        return self.now

    def submit(self, name: str, made: PromptRequest, purpose: Purpose = Purpose.REPLY) -> Job:
        events = self.events.setdefault(name, [])
        job = Job(made, events.append, self.now, purpose)
        self.core.submit(job)
        return job

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        while self.core.step():
            if until():
                return

    def said(self, name: str) -> str:
        return " ".join(event.text for event in self.events[name] if isinstance(event, TokenDelta))

    def done(self, name: str) -> GenerationDone:
        event = self.events[name][-1]
        assert isinstance(event, GenerationDone)
        return event


def test_a_reply_is_delivered_and_counted() -> None:
    engine = Harness()
    engine.submit("x", request("7 8 3", audio="u1"))
    engine.run()
    assert engine.said("x") == "3 2 1"
    done = engine.done("x")
    assert (done.reason, done.usage.input_text, done.usage.input_audio) == ("stop", 3, 3)
    assert done.usage.output_text == 3
    assert (done.rest, done.rest_count) == ("calls", 1)
    assert engine.core.idle


def test_the_next_turn_computes_only_what_is_new() -> None:
    engine = Harness()
    engine.submit("x", request("7 8 3"))
    engine.run()
    engine.runner.log.clear()
    engine.submit("y", request("7 8 3 3 2 5 2"))
    engine.run()
    assert "prefill a 5-7" in engine.runner.log
    assert engine.done("y").usage.cached_text == 5


def test_changed_history_is_recomputed_from_the_first_difference() -> None:
    engine = Harness()
    engine.submit("x", request("7 8 3"))
    engine.run()
    engine.runner.log.clear()
    engine.submit("y", request("7 9 3"))
    engine.run()
    assert engine.runner.log[0] == "prefill a 1-3"


def test_two_callers_are_decoded_in_the_same_rounds() -> None:
    engine = Harness()
    engine.submit("x", request("9", key="a"))
    engine.submit("y", request("9", key="b"))
    engine.run()
    assert engine.runner.log.count("decode a b") >= 6
    assert engine.said("x") == engine.said("y")


def test_long_prompts_do_not_stop_a_running_reply() -> None:
    engine = Harness()
    engine.runner.max_tokens = 5000
    engine.submit("x", request("90", key="a"))
    engine.run(until=lambda: "decode a" in engine.runner.log)
    engine.submit("y", request("1 " * 1000 + "2", key="b"))
    engine.run(until=lambda: "y" in engine.events and bool(engine.events["y"]))
    log = engine.runner.log
    pieces = [i for i, entry in enumerate(log) if entry.startswith("prefill b")]
    assert len(pieces) >= 4
    assert all(log[i + 1] == "decode a" for i in pieces[:-1])


def test_background_jobs_let_a_later_reply_go_first() -> None:
    engine = Harness()
    engine.submit("transcript", request("2", key="t", background=True))
    engine.submit("reply", request("2", key="a"))
    engine.run()
    prefills = [entry for entry in engine.runner.log if entry.startswith("prefill")]
    assert prefills == ["prefill a 0-1", "prefill t 0-1"]


def test_cancel_ends_the_reply_and_frees_its_slot() -> None:
    engine = Harness(slots=1)
    job = engine.submit("x", request("90"))
    engine.run(until=lambda: engine.said("x").count(" ") > 3)
    engine.core.cancel(job)
    engine.submit("y", request("2", key="b"))
    engine.run()
    assert engine.done("x").reason == "cancelled"
    assert engine.said("y") == "2 1"


def test_failures_end_only_their_job_and_its_cache() -> None:
    engine = Harness()
    engine.submit("x", request("5", key="a"))
    engine.runner.fail_on = 3
    engine.run()
    done = engine.done("x")
    assert done.reason == "failed" and "out of memory" in (done.error or "")
    engine.runner.fail_on = None
    engine.submit("y", request("5", key="a"))
    engine.run()
    assert engine.said("y") == "5 4 3 2 1"


def test_prompts_that_do_not_fit_are_refused() -> None:
    engine = Harness()
    engine.submit("x", request("1 " * 150))
    engine.run()
    assert engine.done("x").reason == "context_full"


def test_a_prefetch_leaves_one_position_to_compute() -> None:
    engine = Harness()
    engine.submit("hint", request("4 5 6", audio="u1"), Purpose.PREFETCH)
    engine.run()
    assert engine.done("hint").reason == "stop" and engine.said("hint") == ""
    engine.runner.log.clear()
    engine.submit("x", request("4 5 6", audio="u1"))
    engine.run()
    assert engine.runner.log[0] == "prefill a 5-6"


def test_a_request_ends_the_prefetch_of_its_conversation() -> None:
    engine = Harness()
    engine.submit("hint", request("4 5 6", audio="u1"), Purpose.PREFETCH)
    engine.core.step()
    engine.submit("x", request("4 5 6", audio="u1"))
    engine.run()
    assert engine.done("hint").reason == "cancelled"
    assert engine.said("x").startswith("6")


def test_release_forgets_the_conversation() -> None:
    engine = Harness()
    engine.submit("x", request("9", audio="u1"))
    engine.run(until=lambda: bool(engine.events["x"]))
    engine.core.release("a")
    assert engine.done("x").reason == "cancelled"
    assert engine.core.open_slots == 0 and not engine.runner.features


def test_the_longest_unused_conversation_makes_room() -> None:
    engine = Harness(slots=2)
    for name in ("a", "b", "c"):
        engine.submit(name, request("2", key=name))
        engine.run()
    assert engine.core.open_slots == 2
    engine.runner.log.clear()
    engine.submit("again", request("7 2", key="a"))
    engine.run()
    assert engine.runner.log[0] == "prefill a 0-2"


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_ended_job_holds_no_cache(cancelled: bool) -> None:
    engine = Harness()
    job = engine.submit("x", request("7 8 3", key="x"))
    engine.core.step()
    assert job.slot is not None
    cache = weakref.ref(job.slot.cache)
    if not cancelled:
        engine.run()
    engine.core.release("x")
    engine.run()
    assert job.ended and cache() is None


async def test_the_threaded_engine_delivers_to_the_event_loop() -> None:
    engine = ThreadedEngine(EngineCore(FakeRunner(), slots=2))
    engine.start()
    try:
        events = [event async for event in generate(engine, request("3"))]
    finally:
        engine.stop()
    assert [event.text for event in events[:-1] if isinstance(event, TokenDelta)] == ["3", "2", "1"]
    assert isinstance(events[-1], GenerationDone)


async def test_a_finished_generation_is_freed_at_once() -> None:
    engine = ThreadedEngine(EngineCore(FakeRunner(), slots=2))
    engine.start()
    gc.disable()  # a reference cycle would wait for it
    try:
        generation = generate(engine, request("3"))
        _ = [event async for event in generation]
        finished = weakref.ref(generation)
        del generation
        async with asyncio.timeout(10):
            while finished() is not None:
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
        engine.stop()


@pytest.mark.parametrize("when", ["running", "queued"])
async def test_a_cancelled_generation_ends_soon(when: str) -> None:
    runner = FakeRunner()
    runner.max_tokens = 10_000_000
    engine = ThreadedEngine(EngineCore(runner, slots=2))
    engine.start()
    try:
        generation = generate(engine, request("100000000"))
        if when == "queued":
            generation.cancel()
        events = []
        async for event in generation:
            events.append(event)
            generation.cancel()
        assert isinstance(events[-1], GenerationDone) and events[-1].reason == "cancelled"
    finally:
        engine.stop()
