"""A thread that never returns: its callers are told, another takes its place, and it does no harm when it wakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime.engine import worker
from realtime.engine.engine import EngineCore
from realtime.engine.thinking import ThinkingEngine
from realtime.engine.threaded import ThreadedEngine
from realtime.engine.vocoder_service import ThreadedVocoder
from realtime.engine.worker import Worker
from realtime.errors import EngineError
from realtime.ports.engine import GenerationDone, GenerationOptions, SamplingParams, TokenDelta
from realtime.ports.messages import Message
from realtime.ports.vocoder import AudioChunk, VocoderStream
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from tests.engine import test_vocoder_service as vocoding
from tests.engine.test_engine import FakeRunner, generate, request

STUCK = "the engine is restarting"


class Trap:
    """Holds the thread that enters it until the test ends, or lets it go."""

    def __init__(self) -> None:
        self.armed = True
        self.entered = threading.Event()
        self.released = threading.Event()

    def enter(self) -> None:
        if self.armed:
            self.armed = False
            self.entered.set()
            self.released.wait(30)

    async def caught(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 10)


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.released.set()


def trapped(trap: Trap, work: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        trap.enter()
        return work(*arguments, **named)

    return call


# The engine

STEPS = ["new_cache", "render", "encode", "prefill", "begin_decode", "decode", "keep_features"]


@asynccontextmanager
async def engine_with(trap: Trap, step: str) -> AsyncIterator[ThreadedEngine]:
    """Its first runner falls into the trap in this step; those after it are whole."""
    stuck = FakeRunner()
    setattr(stuck, step, trapped(trap, getattr(stuck, step)))
    engine = ThreadedEngine(EngineCore(stuck, slots=4), lambda: EngineCore(FakeRunner(), slots=4))
    engine.start()
    try:
        async with asyncio.timeout(20):
            yield engine
    finally:
        trap.released.set()
        engine.stop()


async def last(generation: Any) -> GenerationDone:
    *_, done = [event async for event in generation]
    assert isinstance(done, GenerationDone)
    return done


@pytest.mark.parametrize("step", STEPS)
async def test_callers_of_a_stuck_engine_are_told(step: str, trap: Trap) -> None:
    async with engine_with(trap, step) as engine:
        running = generate(engine, request("9 3", audio="sound"))
        await trap.caught()
        waiting = generate(engine, request("9 3", key="b"))
        question = engine.run(lambda: 1)
        engine.abandon(STUCK)
        for generation in (running, waiting):
            done = await last(generation)
            assert done.reason == "failed" and STUCK in (done.error or "")
        assert isinstance(question.exception(5), EngineError)
        late = await last(generate(engine, request("3", key="c")))
        assert late.reason == "failed" and STUCK in (late.error or "")


@pytest.mark.parametrize("step", STEPS)
async def test_a_renewed_engine_serves_while_the_old_hangs(step: str, trap: Trap) -> None:
    async with engine_with(trap, step) as engine:
        generate(engine, request("9 3", audio="sound"))
        await trap.caught()
        engine.abandon(STUCK)
        engine.renew()
        assert (await last(generate(engine, request("3", key="b")))).reason == "stop"
        assert engine.run(lambda: 1).result(5) == 1


async def test_a_stuck_engine_claims_no_priority(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine_with(trap, "decode") as engine:
        generate(engine, request("9 3"))
        await trap.caught()
        assert engine.urgent  # the vocoder holds calm work back
        monkeypatch.setattr(worker, "RESPONDS_SECONDS", 0.05)
        while engine.urgent:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("step", STEPS)
async def test_an_engine_that_wakes_late_is_not_heard(step: str, trap: Trap) -> None:
    async with engine_with(trap, step) as engine:
        running = generate(engine, request("9 3", audio="sound"))
        await trap.caught()
        old = engine.worker
        engine.abandon(STUCK)
        engine.renew()
        assert (await last(running)).reason == "failed"
        trap.released.set()
        await asyncio.to_thread(old._thread.join, 10)
        assert not old.alive
        for _ in range(5):
            await asyncio.sleep(0)
        assert running._events.empty()  # type: ignore[attr-defined]
        assert engine.worker.alive


async def test_a_lost_conversation_takes_no_more_work(trap: Trap) -> None:
    async with engine_with(trap, "decode") as engine:
        conversation = engine.open("a")
        conversation.append([Message("human", "9 3")])
        options = GenerationOptions(True, SamplingParams())
        generation = conversation.generate(options)
        await trap.caught()
        assert not conversation.lost
        engine.abandon(STUCK)
        assert conversation.lost
        for change in (generation.confirm, generation.cancel, lambda: conversation.prefetch(options)):
            change()
        for one in (
            conversation.generate(options),
            generation.again(options),
            conversation.fork("b").generate(options),
        ):
            assert (await last(one)).reason == "failed"
        conversation.close()
        engine.renew()
        assert conversation.lost and not engine.open("a").lost
        assert ThinkingEngine(engine).open("t").lost is False


def whole_prompt(*texts: str) -> GenerationRequest:
    return GenerationRequest(tuple(Message("human", text) for text in texts), True, SamplingParams())


async def test_idle_sessions_give_their_history_to_the_renewed(trap: Trap) -> None:
    async with engine_with(trap, "decode") as engine:
        idle, parent = EngineConversation(engine, "idle"), EngineConversation(engine, "parent")
        for one in (idle, parent):
            one.prefetch(whole_prompt("8", "9"))
        generate(engine, request("9 3"))
        await trap.caught()
        engine.abandon(STUCK)
        engine.renew()
        for conversation in (idle, parent.fork("fork"), parent):
            events = [event async for event in conversation.generate(whole_prompt("8", "9", "2"))]
            assert events[-1].reason == "stop"  # type: ignore[union-attr]
            assert "".join(event.text for event in events if isinstance(event, TokenDelta)) == "21"
            *_, done = events
            assert isinstance(done, GenerationDone) and done.usage.input_text == 3


async def test_callers_in_mid_reply_ask_again_with_success(trap: Trap) -> None:
    async with engine_with(trap, "decode") as engine:
        conversation = EngineConversation(engine, "caller")
        cut = conversation.generate(whole_prompt("8", "9"))
        await trap.caught()
        engine.abandon(STUCK)
        engine.renew()
        assert (await last(cut)).reason == "failed"
        done = await last(conversation.generate(whole_prompt("8", "9", "2")))
        assert done.reason == "stop" and done.usage.input_text == 3


def test_an_engine_without_a_spare_cannot_be_renewed() -> None:
    engine = ThreadedEngine(EngineCore(FakeRunner(), slots=4))
    engine.start()
    engine.abandon(STUCK)
    with pytest.raises(EngineError):
        engine.renew()


async def test_runners_share_no_state_of_conversations(trap: Trap) -> None:
    async with engine_with(trap, "decode") as engine:
        generate(engine, request("9 3", audio="sound"))
        await trap.caught()
        old = engine._core
        engine.abandon(STUCK)
        engine.renew()
        new = engine._core
        assert old is not new and old._runner is not new._runner and old._slots is not new._slots
        assert old._preparations is not new._preparations


# The worker


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_dies_is_seen_and_refuses() -> None:
    worker = Worker("mortal", lambda: False, lambda fault: None, lambda: None)
    worker._carry_out_commands = lambda *, wait: exec("raise SystemExit")  # type: ignore[method-assign]
    worker.start()
    await asyncio.to_thread(worker._thread.join, 5)
    assert not worker.alive
    told: list[BaseException] = []
    worker.put(lambda: None, told.append)
    worker.abandon(EngineError("dead"))
    worker.put(lambda: None, told.append)
    assert [str(fault) for fault in told] == ["dead", "dead"]


def test_an_abandoned_idle_thread_ends() -> None:
    ended: list[bool] = []
    worker = Worker("idle", lambda: False, lambda fault: None, lambda: ended.append(True))
    worker.start()
    worker.abandon(EngineError("not wanted"))
    worker._thread.join(5)
    assert not worker.alive and not ended


# The vocoder


@asynccontextmanager
async def vocoder_with(trap: Trap, method: str) -> AsyncIterator[ThreadedVocoder]:
    """Its first vocoder falls into the trap; those after it are whole."""
    stuck = vocoding.FakeVocoder()
    setattr(stuck, method, trapped(trap, getattr(stuck, method)))
    service = ThreadedVocoder(
        stuck,  # type: ignore[arg-type]
        {"test": vocoding.VOICE},
        None,
        vocoding.FakeVocoder,  # type: ignore[arg-type]
    )
    service.warm_up = lambda: None  # type: ignore[method-assign]
    service.start()
    try:
        async with asyncio.timeout(20):
            yield service
    finally:
        trap.released.set()
        service.stop()


def speak(service: ThreadedVocoder) -> VocoderStream:
    stream = service.open("test")
    stream.push(range(20))
    stream.finish()
    return stream


async def samples(stream: VocoderStream) -> int:
    return sum([len(chunk.samples) async for chunk in stream])


@pytest.mark.parametrize("method", ["open", "step"])
async def test_a_stuck_vocoder_fails_and_is_renewed(method: str, trap: Trap) -> None:
    async with vocoder_with(trap, method) as service:
        running = speak(service)
        await trap.caught()
        old = service.worker
        waiting = speak(service)
        service.abandon("the vocoder is restarting")
        for stream in (running, waiting, speak(service)):
            with pytest.raises(EngineError, match="restarting"):
                await samples(stream)
            stream.close()
        service.renew()
        assert await samples(speak(service)) == 20 * 960
        trap.released.set()
        await asyncio.to_thread(old._thread.join, 10)
        assert await samples(speak(service)) == 20 * 960
        assert service.worker.alive and not old.alive


async def test_what_a_lost_vocoder_makes_is_not_heard(trap: Trap) -> None:
    async with vocoder_with(trap, "step") as service:
        stream: Any = speak(service)
        await trap.caught()
        old = service.worker
        service.abandon("the vocoder is restarting")
        trap.released.set()
        await asyncio.to_thread(old._thread.join, 10)
        await asyncio.sleep(0)
        left = [stream._chunks.get_nowait() for _ in range(stream._chunks.qsize())]
        assert left and not any(isinstance(one, AudioChunk) for one in left)
