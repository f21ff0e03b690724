"""Whatever happens to the history, the next turn is as if the model had read it afresh: cut, deleted, forgotten.

The real engine and the real runner over a small random model; what is compared are the logits of the next turn's first
id, of an engine that lived through it all and of a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from realtime.engine.conversation import PromptMessage, PromptRequest
from realtime.engine.engine import EngineCore
from realtime.engine.rendered_prompt import RenderedPrompt
from realtime.engine.reply_state import DecodeState
from realtime.engine.runner import ModelRunner
from realtime.engine.sequence import Job, Slot
from realtime.engine.token_counter import PromptTokenCounter
from realtime.model.interleave import SAMPLES_PER_CODE, Demultiplexer
from realtime.model.prompt import render
from realtime.model.speech_model import SpeechModel
from realtime.model.tokens import SpecialTokens
from realtime.ports.engine import GenerationDone, GenerationOptions, SamplingParams, TokenDelta
from realtime.ports.messages import Audio, Message, Tokens
from realtime.protocol.conversation import Conversation
from realtime.protocol.items import AssistantMessage, InputText, OutputAudio, UserMessage
from realtime.session.context.history import History, reply_message, set_heard, to_messages
from realtime.session.context.truncation import ContextWindow
from tests.engine.tiny import tiny_model

TOLERANCE = 1e-4
KEY = "caller"


class Speaker:
    """A sampler that speaks in groups of text and speech, at random, whatever the logits are."""

    def __init__(self, tokens: SpecialTokens, seed: int | None) -> None:
        self._tokens = tokens
        self._random = np.random.default_rng(seed)
        self._said = 0

    def observe(self, ids: Sequence[int]) -> None:
        pass

    def next(self, logits: Tensor, allowed: Tensor | None = None) -> int:
        self._said += 1
        if self._said % 5 == 1:
            return int(self._random.choice([self._tokens.tts_pad, *range(60, 300)]))
        return self._tokens.audio_0 + int(self._random.integers(self._tokens.speech_codes))


class SeenRunner(ModelRunner):
    """Speaks as `Speaker` does, and keeps the logits that would have chosen the first id."""

    first: Tensor

    def _sampler(self, params: SamplingParams) -> Any:
        return Speaker(self._model.tokens, params.seed)

    def begin_decode(self, slot: Slot, prompt: RenderedPrompt, request: PromptRequest, logits: Tensor) -> DecodeState:
        self.first = logits.clone()
        return super().begin_decode(slot, prompt, request, logits)


class Conversing:
    """One conversation with one engine that lives through it."""

    def __init__(self, model: SpeechModel) -> None:
        self.model = model
        self.runner = SeenRunner(model)
        self.core = EngineCore(self.runner, slots=2)
        self.history: History = Conversation("conv")
        self.names = iter(f"item{index}" for index in range(1000))
        self.random = np.random.default_rng(0)
        self.cached = 0

    def hear(self, seconds: float) -> None:
        """The user speaks."""
        name = next(self.names)
        samples = 0.1 * self.random.standard_normal(int(seconds * 16_000)).astype(np.float32)
        self.history.add(_said(name), Message("human", (Audio(name, samples),)))

    def read(self, text: str, *, behind: str | None = None) -> None:
        """The user writes; ``behind`` what."""
        self.history.add(_said(next(self.names)), Message("human", text), previous_item_id=behind)

    def answer(self, ids: int, *, interrupted: bool = False) -> str:
        """The model answers with so many ids, its sampling seeded; gives the reply's item."""
        seen: list[int] = []
        job = self.submit(self.core, ids + 5 * interrupted, seen)
        while self.core.step():
            if interrupted and len(seen) >= ids:
                job.cancelled = True
        name = next(self.names)
        self.history.add(_replied(name), reply_message(seen))
        return name

    def submit(self, core: EngineCore, ids: int, seen: list[int]) -> Job:
        def deliver(event: TokenDelta | GenerationDone) -> None:
            if isinstance(event, TokenDelta):
                seen.extend(event.ids)
            else:
                self.cached = event.usage.cached_text + event.usage.cached_audio

        sampling = SamplingParams(max_tokens=ids, seed=len(self.history))
        messages = tuple(map(PromptMessage, self.messages()))
        job = Job(PromptRequest(KEY, messages, GenerationOptions(True, sampling)), deliver, 0.0)
        core.submit(job)
        return job

    def messages(self) -> tuple[Message, ...]:
        return (
            Message("system", "the system said hello"),
            *to_messages(self.history),
            Message("human", "one two three"),
        )

    def next_logits(self) -> Tensor:
        """Of the engine that knows the conversation."""
        self.submit(self.core, 1, [])
        while self.core.step():
            pass
        return self.runner.first

    def fresh_logits(self) -> Tensor:
        """Of an engine that has never heard of it."""
        runner = SeenRunner(self.model)
        core = EngineCore(runner, slots=1)
        self.submit(core, 1, [])
        while core.step():
            pass
        return runner.first

    def check(self) -> int:
        """The two agree; gives the ids that the first did not have to compute again."""
        mine = self.next_logits()
        cached = self.cached
        torch.testing.assert_close(mine, self.fresh_logits(), atol=TOLERANCE, rtol=0)
        return cached


def _said(name: str) -> UserMessage:
    return UserMessage(id=name, content=(InputText(text="?"),))


def _replied(name: str) -> AssistantMessage:
    return AssistantMessage(id=name, content=(OutputAudio(transcript="?"),))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def test_a_reply_continues_from_where_it_was_cut(model: SpeechModel) -> None:
    talk = Conversing(model)
    talk.hear(1.0)
    reply = talk.history.get(talk.answer(100, interrupted=True))
    assert reply is not None and reply.payload is not None
    codes = _codes(model, reply.payload)
    assert codes > 4
    set_heard(reply, codes // 2 * SAMPLES_PER_CODE)
    kept = talk.check()
    assert kept > 13 and talk.core.open_slots == 1  # the user's second, and more


def test_the_cut_is_seen_by_the_model(model: SpeechModel) -> None:
    """Or the other tests compare nothing."""
    talk = Conversing(model)
    reply = talk.history.get(talk.answer(60))
    assert reply is not None
    whole = talk.fresh_logits()
    set_heard(reply, 3 * SAMPLES_PER_CODE)
    assert (talk.fresh_logits() - whole).abs().max() > 100 * TOLERANCE


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.integers(1, 30)),
        st.tuples(st.just("read"), st.integers(0, 9)),
        st.tuples(st.just("answer"), st.integers(1, 60)),
        st.tuples(st.just("interrupt"), st.integers(1, 60)),
        st.tuples(st.just("cut"), st.integers(0, 99)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("outgrow"), st.integers(0, 400)),
        st.tuples(st.just("check"), st.just(0)),
    ),
    max_size=12,
)


def play(talk: Conversing, operations: list[tuple[str, int]]) -> Iterator[None]:
    """Do these things, and stop after each."""
    for name, number in operations:
        entries = list(talk.history)
        match name:
            case "hear":
                talk.hear(number / 10)
            case "read":
                talk.read("three two one", behind=entries[number].item.id if number < len(entries) else None)
            case "answer" | "interrupt":
                talk.answer(number, interrupted=name == "interrupt")
            case "cut" if entries:
                set_heard(entries[number % len(entries)], number * SAMPLES_PER_CODE // 4)
            case "delete" if entries:
                talk.history.delete(entries[number % len(entries)].item.id)
            case "outgrow":
                token_counter = PromptTokenCounter(talk.model.tokenizer, talk.model.tokens, 2 * number)
                ContextWindow(talk.history, token_counter, 0.3).fit((), "auto", 10**6)
            case "check":
                talk.check()
        yield


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_any_history_gives_the_logits_of_fresh_prefill(model: SpeechModel, operations: list[tuple[str, int]]) -> None:
    talk = Conversing(model)
    for _ in play(talk, operations):
        pass
    talk.check()


def test_the_metered_sizes_add_up_to_the_prompt(model: SpeechModel) -> None:
    talk = Conversing(model)
    token_counter = PromptTokenCounter(model.tokenizer, model.tokens, 4096)
    talk.hear(2.0)
    name = talk.answer(60)
    talk.read("one two three")
    entry = talk.history.get(name)
    assert entry is not None
    for heard in (None, 5 * SAMPLES_PER_CODE):
        if heard is not None:
            set_heard(entry, heard)
        ids = render(talk.messages(), model.tokenizer, model.tokens, speech=False).ids
        header = 1 + len(model.tokenizer.encode("assistant\n"))
        assert sum(map(token_counter.measure, talk.messages())) + header == len(ids)


def _codes(model: SpeechModel, message: Message) -> int:
    parts: Any = message.content
    return sum(len(Demultiplexer(model.tokens).push(part.ids).speech) for part in parts if isinstance(part, Tokens))
