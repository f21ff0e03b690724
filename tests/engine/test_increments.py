"""The engine's port in increments: the prompt is what the whole conversation would give, and nothing is sent twice."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.engine.conversation import ConversationState, PromptMessage, PromptRequest
from realtime.engine.engine import EngineCore
from realtime.engine.rendered_prompt import RenderedPrompt
from realtime.engine.runner import ModelRunner
from realtime.engine.sequence import Slot
from realtime.engine.token_counter import PromptTokenCounter
from realtime.model.interleave import SAMPLES_PER_CODE
from realtime.model.prompt import render
from realtime.model.speech_model import SpeechModel
from realtime.ports.engine import Conversation, Generation, GenerationOptions, SamplingParams
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message
from realtime.ports.tool_calls import CallableFunction, CallRules
from realtime.protocol import events as wire
from realtime.protocol.conversation import Conversation as Items
from realtime.protocol.items import AssistantMessage, InputText, OutputAudio, UserMessage
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.context.history import History, reply_message, set_heard, to_messages
from realtime.session.context.truncation import ApproximateTokenCounter, ContextWindow
from tests.engine.test_engine import FakeCache
from tests.engine.tiny import tiny_model
from tests.fakes import AskedRequest, Caller, FakeEngine, FakeGeneration, Step, call, delta, done, reply

# The prompt


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


class DirectConversation(ConversationState):
    """The engine's side of the port without its thread: keeps what was asked last."""

    lost = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: PromptRequest | None = None
        self.slot = Slot(name, FakeCache())

    def generate(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        self.asked = self.request(options)
        return FakeGeneration(None, None, ())  # type: ignore[arg-type]

    def prefetch(self, options: GenerationOptions) -> None:
        self.asked = self.request(options)

    def fork(self, name: str) -> Conversation:
        fork = DirectConversation(name)
        fork.fork_from(self)
        return fork

    def close(self) -> None:
        pass


class DirectEngine:
    def open(self, name: str) -> Conversation:
        return DirectConversation(name)


@dataclass
class Talk:
    """One conversation that is changed in every way; `ask` compares the two kinds of request."""

    model: SpeechModel
    speech: bool = True
    history: History = field(default_factory=lambda: Items("conv"))
    system: str = "the system said hello"

    def __post_init__(self) -> None:
        self.conversation = EngineConversation(DirectEngine(), "caller")
        self.whole = Slot("whole", FakeCache())
        self.core = EngineCore(ModelRunner(self.model), slots=1)
        self.random = np.random.default_rng(0)
        self.open_turn: np.ndarray = np.zeros(0, np.float32)  # type: ignore[type-arg]
        self.names = iter(f"item{index}" for index in range(1000))

    def ask(self, *more: Message, conversation: EngineConversation | None = None) -> None:
        messages = (Message("system", self.system), *to_messages(self.history), *more)
        asked = GenerationRequest(messages, self.speech, SamplingParams())
        mine = conversation or self.conversation
        mine.generate(asked)
        remote: Any = mine._remote
        prompt = self.core._render(remote.asked)
        expected = render(messages, self.model.tokenizer, self.model.tokens, speech=self.speech)
        fresh = self.fresh(messages, remote.asked.options)
        assert tuple(prompt.ids(0, prompt.length)) == expected.ids
        assert prompt.keys(0, prompt.length) == fresh.keys(0, fresh.length)
        assert prompt.audio_positions(prompt.length) == sum(span.count for span in expected.spans)
        if conversation is None:
            self.compare_reuse(remote.slot, prompt, fresh)

    def fresh(self, messages: tuple[Message, ...], options: GenerationOptions) -> RenderedPrompt:
        return self.core._render(PromptRequest("whole", tuple(map(PromptMessage, messages)), options))

    def compare_reuse(self, slot: Slot, prompt: RenderedPrompt, fresh: RenderedPrompt) -> None:
        """As much is reused as a comparison of all keys finds."""
        kept = slot.reuse_prefix(prompt)
        assert kept == self.whole.reuse_prefix(fresh)
        for one, rendered in ((slot, prompt), (self.whole, fresh)):
            one.keys.extend(rendered.keys(kept, rendered.length))
            one.cache.length = len(one.keys)  # type: ignore[misc]

    def grow(self, tenths: int) -> None:
        """The open turn goes on to a short silence, where it is prepared."""
        more = self.random.standard_normal(tenths * MODEL_SAMPLE_RATE // 10).astype(np.float32)
        self.open_turn = np.concatenate((self.open_turn, more))
        self.ask(Message("human", (self.turn(),)))

    def turn(self) -> Audio:
        return Audio(f"turn{len(self.history)}", np.pad(self.open_turn, (0, 6464)), silence=6464)

    def commit(self) -> None:
        if len(self.open_turn):
            audio = self.turn()
            self.history.add(user(next(self.names)), Message("human", (audio,)))
            self.open_turn = np.zeros(0, np.float32)

    def answer(self, number: int) -> None:
        tokens = self.model.tokens
        ids = [tokens.tts_start]
        for group in range(number):
            ids += [60 + group % 200, *(tokens.audio_0 + (group * 4 + k) % tokens.speech_codes for k in range(4))]
        item = AssistantMessage(id=next(self.names), content=(OutputAudio(transcript="?"),))
        self.history.add(item, reply_message([*ids, tokens.tts_end]))


def user(name: str) -> UserMessage:
    return UserMessage(id=name, content=(InputText(text="?"),))


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "grow",
                "grow",
                "commit",
                "answer",
                "answer",
                "read",
                "cut",
                "delete",
                "outgrow",
                "instruct",
                "fork",
                "ask",
            ]
        ),
        st.integers(1, 40),
    ),
    max_size=16,
)


def play(talk: Talk, operations: list[tuple[str, int]]) -> None:
    for name, number in operations:
        entries = list(talk.history)
        match name:
            case "grow":
                talk.grow(number)
            case "commit":
                talk.commit()
            case "answer":
                talk.answer(number)
            case "read":
                behind = entries[number].item.id if number < len(entries) else None
                talk.history.add(user(next(talk.names)), Message("human", "three two one"), previous_item_id=behind)
            case "cut" if entries:
                set_heard(entries[number % len(entries)], number * SAMPLES_PER_CODE // 4)
            case "delete" if entries:
                talk.history.delete(entries[number % len(entries)].item.id)
            case "outgrow":
                counter = PromptTokenCounter(talk.model.tokenizer, talk.model.tokens, 20 * number)
                ContextWindow(talk.history, counter, 0.3).fit((), "auto", 10**6)
            case "instruct":
                talk.system = f"the system said {number}"
            case "fork":
                fork = talk.conversation.fork("beside")
                talk.ask(Message("human", "hello"), conversation=fork)
                fork.close()
            case "ask":
                talk.ask(Message("human", "hello"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_the_prompt_is_that_of_the_whole_conversation(model: SpeechModel, operations: list[tuple[str, int]]) -> None:
    talk = Talk(model)
    play(talk, operations)
    talk.ask()


def test_content_that_no_message_needs_is_forgotten(model: SpeechModel) -> None:
    talk = Talk(model)
    for _ in range(5):
        talk.grow(5)
        talk.commit()
        talk.answer(3)
        talk.ask()
    remote: Any = talk.conversation._remote
    assert len(remote._content.recordings) == 5 and len(remote._content.replies) == 5
    for entry in list(talk.history):
        talk.history.delete(entry.item.id)
    talk.ask()
    talk.grow(5)
    assert len(remote._content.recordings) == 1 and not remote._content.replies


def test_what_was_rendered_is_not_rendered_again(model: SpeechModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short silence costs the new message and the opening, however long the conversation is."""
    counts: list[int] = []
    runner = ModelRunner(model)
    core = EngineCore(runner, slots=1)
    rendered: list[Message] = []
    original = runner.render

    def counting(message: Message) -> Any:
        rendered.append(message)
        return original(message)

    monkeypatch.setattr(runner, "render", counting)
    talk = Talk(model)
    for _ in range(20):
        talk.grow(3)
        remote: Any = talk.conversation._remote
        core._render(remote.asked)
        rendered.clear()
        talk.grow(3)
        core._render(remote.asked)
        counts.append(len(rendered))
        talk.commit()
        talk.answer(10)
    # Twenty replies later as at first: the turn as it has grown, and the opening of the assistant's.
    assert max(counts) == counts[0] == 1  # `Talk.ask` has rendered the turn itself


# A broken conversation


def test_naming_unknown_content_breaks_the_conversation() -> None:
    state = ConversationState("x")
    with pytest.raises(ValueError, match="messages 1 to 1 of 0"):
        state.replace(1, 1, ())
    state.broke(ValueError("messages 1 to 1 of 0"))
    with pytest.raises(ValueError, match="messages 1 to 1 of 0"):
        state.request(GenerationOptions(True, SamplingParams()))


async def test_after_a_failure_the_whole_prompt_is_resent() -> None:
    engine = FakeEngine([done("failed", "out of memory")], [delta("Yes.", 3), done()])
    conversation = EngineConversation(engine, "x")
    rules = CallRules((CallableFunction("now"),))
    audio = Message("human", (Audio("a", np.ones(1600, np.float32)),))
    asked = GenerationRequest((audio, reply_message((1, 2, 3)), audio), True, SamplingParams(), calls=rules)
    for _ in range(2):
        _ = [event async for event in conversation.generate(asked)]
    assert engine.released == ["x"]
    first, second = engine.requests
    assert first == second and second.messages == asked.messages


# What crosses the port


@dataclass
class Traffic:
    """Bytes of everything that crosses the port."""

    bytes: int = 0

    def count(self, *values: Any) -> None:
        self.bytes += len(pickle.dumps(values, protocol=5))


class CountedGeneration:
    def __init__(self, generation: Generation, traffic: Traffic) -> None:
        self._generation = generation
        self._traffic = traffic
        self.again = generation.again

    def confirm(self) -> None:
        self._traffic.count("confirm")
        self._generation.confirm()

    def cancel(self) -> None:
        self._traffic.count("cancel")
        self._generation.cancel()

    async def __aiter__(self) -> Any:
        async for event in self._generation:
            self._traffic.count(event)
            yield event


class CountedConversation:
    """A proxy as a remote engine's would be: every argument is encoded."""

    lost = False

    def __init__(self, conversation: Conversation, traffic: Traffic) -> None:
        self._conversation = conversation
        self._traffic = traffic

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._conversation, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self._traffic.count(name, arguments, named)
            result = method(*arguments, **named)
            if name == "fork":
                return CountedConversation(result, self._traffic)
            return CountedGeneration(result, self._traffic) if name == "generate" else result

        return counted


class CountedEngine:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.traffic = Traffic()

    def open(self, name: str) -> Any:
        self.traffic.count("open", name)
        return CountedConversation(self._engine.open(name), self.traffic)


def spoken(turn: int) -> list[Step]:
    """6 s of speech, all ids new."""
    at = turn * 1000
    groups = [delta(f"word{group} ", 4) for group in range(38)]
    return [*groups, delta(f"end{at}", 4), done()]


SPEECH_S = 4.5


def say_with_pauses(caller: Caller) -> None:
    """A turn with three pauses, at each of which it is prepared and a reply speculated."""
    caller.be_silent(0.3)
    for _ in range(3):
        caller.say((SPEECH_S - 0.9) / 3)
        caller.be_silent(0.25)
    caller.be_silent(0.5)


class Talkative(FakeEngine):
    """Answers every request at length."""

    def generate(self, request: AskedRequest, *, speculative: bool = False) -> Generation:
        steps = spoken(len(self.generations)) if request.speech else reply("Some words.")
        generation = FakeGeneration(self, request, steps, speculative=speculative)
        self.generations.append(generation)
        return generation


class CountingCounter(ApproximateTokenCounter):
    def __init__(self) -> None:
        self.calls = 0

    def measure(self, message: Message) -> int:
        self.calls += 1
        return super().measure(message)


async def test_twenty_turns_send_and_count_only_new_content() -> None:
    engine, counter = CountedEngine(Talkative()), CountingCounter()
    session = {
        "instructions": "Be brief. " * 100,
        "tools": [{"type": "function", "name": f"tool{i}", "parameters": {"type": "object"}} for i in range(20)],
        "audio": {"input": {"transcription": {"model": "own"}}},
    }
    costs: list[int] = []
    counted: list[int] = []
    async with call(settings=session, parts={"engine": engine, "token_counter": counter}) as caller:
        before = 0
        for _ in range(20):
            say_with_pauses(caller)
            await caller.expect(wire.ResponseDone)
            await caller.expect(wire.InputAudioTranscriptionCompleted)
            caller.clock.now += 60
            await caller.settle()
            costs.append(engine.traffic.bytes - before)
            before = engine.traffic.bytes
            counted.append(counter.calls)
            counter.calls = 0
        heard = sum(part.recorded for entry in caller.session.parts.history for part in _audio(entry.payload))
    assert heard >= 20 * 3.5 * MODEL_SAMPLE_RATE
    assert sum(costs) <= 2 * 4 * heard
    assert max(costs[1:]) <= 1.05 * min(costs[1:])
    assert max(counted[1:]) <= 2  # the turn and the reply; instructions and tools were counted in the first


def _audio(message: Message | None) -> Iterator[Audio]:
    content = message.content if message is not None else None
    yield from (part for part in (content if isinstance(content, tuple) else ()) if isinstance(part, Audio))
