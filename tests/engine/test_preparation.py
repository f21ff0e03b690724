"""Slow work for one caller's reply holds up nobody else: grammars are compiled and long texts read elsewhere."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from realtime.engine.conversation import PromptMessage, PromptRequest
from realtime.engine.engine import EngineCore
from realtime.engine.preparation import Preparation, Preparations
from realtime.engine.runner import LONG_TEXT, ModelRunner
from realtime.engine.threaded import ThreadedEngine
from realtime.engine.token_counter import EXACT_CHARACTERS, PromptTokenCounter
from realtime.model import constraints, schemas
from realtime.model.speech_model import SpeechModel
from realtime.ports.engine import GenerationDone, GenerationOptions, SamplingParams
from realtime.ports.messages import Message
from realtime.ports.tool_calls import CallableFunction, CallRules
from realtime.protocol.conversation import Conversation
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.context.truncation import ContextWindow
from tests.engine.test_engine import FakeRunner, generate, request
from tests.engine.tiny import tiny_model


class SlowRunner(FakeRunner):
    """Prepares the requests of the conversation "slow" for as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.fault: BaseException | None = None
        self.works = 0
        self.kept: list[Any] = []

    def preparations(self, request: PromptRequest, *, decodes: bool) -> Iterator[Preparation]:
        if request.conversation.startswith("slow") and not self.kept:
            yield Preparation("grammar", self.work, self.kept.append)

    def work(self) -> str:
        self.works += 1
        self.begun.set()
        assert self.go_on.wait(20)
        if self.fault is not None:
            raise self.fault
        return threading.current_thread().name


@pytest.fixture
def runner() -> Iterator[SlowRunner]:
    slow = SlowRunner()
    yield slow
    slow.go_on.set()


@pytest.fixture
def engine(runner: SlowRunner) -> Iterator[ThreadedEngine]:
    engine = ThreadedEngine(EngineCore(runner, slots=4))
    engine.start()
    yield engine
    runner.go_on.set()
    engine.stop()


async def outcome(engine: ThreadedEngine, name: str) -> GenerationDone:
    async with asyncio.timeout(10):
        *_, last = [event async for event in generate(engine, request("3", key=name))]
    assert isinstance(last, GenerationDone)
    return last


async def test_others_are_answered_while_one_is_prepared(engine: ThreadedEngine, runner: SlowRunner) -> None:
    slow = asyncio.create_task(outcome(engine, "slow"))
    await asyncio.to_thread(runner.begun.wait, 10)
    for name in ("a", "b", "a"):
        assert (await outcome(engine, name)).reason == "stop"
    assert not slow.done()
    runner.go_on.set()
    assert (await slow).reason == "stop"
    assert runner.kept[0].startswith("engine preparation")


async def test_replies_waiting_for_a_grammar_can_be_cancelled(engine: ThreadedEngine, runner: SlowRunner) -> None:
    generation = generate(engine, request("3", key="slow"))
    await asyncio.to_thread(runner.begun.wait, 10)
    generation.cancel()
    async with asyncio.timeout(10):
        (event,) = [event async for event in generation]
    assert isinstance(event, GenerationDone) and event.reason == "cancelled"
    runner.go_on.set()
    assert (await outcome(engine, "slow")).reason == "stop"
    assert runner.works == 1  # what was compiled for the cancelled reply serves the next


async def test_two_waiters_for_one_grammar_share_the_work(engine: ThreadedEngine, runner: SlowRunner) -> None:
    waiting = [asyncio.create_task(outcome(engine, name)) for name in ("slow a", "slow b")]
    await asyncio.to_thread(runner.begun.wait, 10)
    await outcome(engine, "other")  # by then both are in the engine
    runner.go_on.set()
    assert [one.reason for one in await asyncio.gather(*waiting)] == ["stop", "stop"]
    assert runner.works == 1


@pytest.mark.parametrize("fault", [ValueError("no grammar"), MemoryError("no grammar")])
async def test_what_cannot_be_prepared_fails_its_reply(
    engine: ThreadedEngine, runner: SlowRunner, fault: Exception
) -> None:
    runner.fault = fault
    runner.go_on.set()
    bad = await outcome(engine, "slow")
    assert bad.reason == "failed" and "no grammar" in (bad.error or "")
    assert (await outcome(engine, "other")).reason == "stop"


def test_optional_preparations_start_and_are_not_awaited() -> None:
    started: list[Callable[[], Any]] = []
    preparations = Preparations(lambda work, then, failed: started.append(work))
    assert preparations.begin([Preparation("a", lambda: 1, lambda _: None, needed=False)]) == ()
    (pending,) = preparations.begin([Preparation("a", lambda: 1, lambda _: None)])
    assert len(started) == 1 and not pending.done


# With the real model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def functions(count: int) -> tuple[CallableFunction, ...]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    return tuple(CallableFunction(f"tool_{index}", json.dumps(schema)) for index in range(count))


async def test_slow_grammars_hold_up_only_their_caller(model: SpeechModel, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    compile = constraints.CallGrammar.compile

    def slowly(self: constraints.CallGrammar, offered: tuple[CallableFunction, ...]) -> Any:
        begun.set()
        assert go_on.wait(20)
        return compile(self, offered)

    monkeypatch.setattr(constraints.CallGrammar, "compile", slowly)
    engine = ThreadedEngine(EngineCore(ModelRunner(model), slots=4))
    engine.start()

    async def reply(name: str, calls: CallRules) -> GenerationDone:
        asked = GenerationRequest((Message("human", "hello"),), False, SamplingParams(max_tokens=5), calls=calls)
        async with asyncio.timeout(20):
            *_, last = [event async for event in EngineConversation(engine, name).generate(asked)]
        assert isinstance(last, GenerationDone)
        return last

    try:
        calling = asyncio.create_task(reply("caller", CallRules(functions(3))))
        await asyncio.to_thread(begun.wait, 10)
        assert (await reply("other", CallRules())).reason in ("stop", "length")
        assert not calling.done()
        go_on.set()
        assert (await calling).reason in ("stop", "length")
    finally:
        go_on.set()
        engine.stop()


def test_compiled_grammars_are_kept_up_to_a_bound(model: SpeechModel) -> None:
    runner = ModelRunner(model)

    def missing(count: int) -> list[Preparation]:
        asked = PromptRequest("a", (), GenerationOptions(False, SamplingParams()), CallRules(functions(count)))
        return list(runner.preparations(asked, decodes=True))

    for count in range(1, constraints._CACHED_GRAMMARS + 2):
        (one,) = missing(count)
        one.keep(one.work())
        assert not missing(count)
    assert missing(1) and not missing(2)


def test_a_long_text_is_read_elsewhere_and_once(model: SpeechModel) -> None:
    runner = ModelRunner(model)
    messages = (PromptMessage(Message("system", "s" * (LONG_TEXT + 1))), PromptMessage(Message("human", "short")))
    asked = PromptRequest("a", messages, GenerationOptions(False, SamplingParams()))
    (one,) = runner.preparations(asked, decodes=False)
    one.keep(one.work())
    assert messages[0].rendered is not None and not list(runner.preparations(asked, decodes=False))


def test_reading_a_long_text_lets_other_threads_run(model: SpeechModel) -> None:
    """The tokenizer gives up the interpreter's lock: a thread that counts goes on counting."""
    text = json.dumps([{"name": f"tool_{index}", "description": "does one thing " * 20} for index in range(2000)])
    begun, ended = threading.Event(), threading.Event()
    counted = 0

    def read() -> None:
        begun.set()
        model.tokenizer.encode(text, special=False)
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    begun.wait()
    while not ended.is_set():
        counted += 1
        time.sleep(0)
    thread.join()
    assert counted > 20


# Counting


class CountingTokenizer:
    """The tokenizer, and how many characters it was given."""

    def __init__(self, model: SpeechModel) -> None:
        self._tokenizer = model.tokenizer
        self.characters = 0

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        self.characters += len(text)
        return self._tokenizer.encode(text, special=special)


def test_instructions_and_tools_are_counted_once(model: SpeechModel) -> None:
    tokenizer = CountingTokenizer(model)
    counter = PromptTokenCounter(tokenizer, model.tokens, 16_384)  # type: ignore[arg-type]
    window = ContextWindow(Conversation("conv"), counter, 0.5)
    preamble = (Message("system", "Be brief. " * 50), Message("tool_json_schemas", "{} " * 2000))
    fit = partial(window.fit, truncation="auto", max_tokens=100, early=True)
    fit(preamble)
    counted = tokenizer.characters
    for _ in range(50):  # each short silence asks again, with messages made anew
        fit(tuple(Message(one.role, str(one.content)) for one in preamble))
    assert tokenizer.characters == counted > 0


def test_any_text_is_counted_in_bounded_time(model: SpeechModel) -> None:
    tokenizer = CountingTokenizer(model)
    counter = PromptTokenCounter(tokenizer, model.tokens, 16_384)  # type: ignore[arg-type]
    for length in (2 * EXACT_CHARACTERS, 1_000_000):
        tokenizer.characters = 0
        text = ("one two three " * (length // 14 + 1))[:length]
        estimated = counter.measure(Message("human", text))
        assert tokenizer.characters <= EXACT_CHARACTERS
        exact = len(model.tokenizer.encode("human\n" + text, special=False)) + 2
        assert estimated == pytest.approx(exact, rel=0.05)


def test_a_schema_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []
    monkeypatch.setattr(
        schemas.LLMatcher, "validate_grammar", lambda text, limits: checks.append(text) or "", raising=True
    )
    schemas._grammar_problem.cache_clear()
    for _ in range(3):
        assert schemas.schema_problem({"type": "object", "properties": {"once": {}}}) is None
    schemas._grammar_problem.cache_clear()
    assert len(checks) == 1
