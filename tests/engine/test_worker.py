"""Nothing that fails in the engine's or the vocoder's thread ends the thread: the caller it belongs to is told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime.engine.engine import EngineCore
from realtime.engine.sequence import Job
from realtime.engine.threaded import ThreadedEngine
from realtime.engine.vocoder_service import ThreadedVocoder
from realtime.engine.worker import Worker
from realtime.errors import EngineError
from realtime.ports.engine import GenerationDone
from realtime.ports.vocoder import AudioChunk
from tests.engine import test_vocoder_service as vocoding
from tests.engine.test_engine import FakeCache, FakeRunner, FakeState, generate, request


class Panic(BaseException):
    """As llguidance's and the tokenizer's Rust code raises it: no `Exception`."""


FAULTS = [RuntimeError("broken here"), MemoryError("broken here"), Panic("broken here")]


def failing(fault: BaseException, when: Callable[..., bool], work: Callable[..., Any]) -> Callable[..., Any]:
    """``work``, but for the calls in which ``fault`` is raised."""

    def call(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            raise fault
        return work(*arguments, **named)

    return call


@asynccontextmanager
async def running(runner: FakeRunner) -> AsyncIterator[ThreadedEngine]:
    engine = ThreadedEngine(EngineCore(runner, slots=4))
    engine.start()
    try:
        async with asyncio.timeout(10):
            yield engine
        assert engine.worker.alive
    finally:
        engine.stop()


async def outcome(engine: ThreadedEngine, key: str, audio: str | None = None) -> GenerationDone:
    text = "4 3" if key == "bad" else "3"
    *_, last = [event async for event in generate(engine, request(text, key=key, audio=audio))]
    assert isinstance(last, GenerationDone)
    return last


STEPS: dict[str, Callable[..., bool]] = {
    "render": lambda message: message.content == "4 3",
    "has_features": lambda name, segment: name == "bad",
    "encode": lambda name, segment: name == "bad",
    "prefill": lambda slot, *_: slot.name == "bad",
    "begin_decode": lambda slot, *_: slot.name == "bad",
    "keep_features": lambda key, ids: key == "bad",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("step", STEPS)
async def test_a_failing_step_fails_its_job_alone(step: str, fault: BaseException) -> None:
    runner = FakeRunner()
    setattr(runner, step, failing(fault, STEPS[step], getattr(runner, step)))
    async with running(runner) as engine:
        bad, good = await asyncio.gather(outcome(engine, "bad", "sound"), outcome(engine, "good", "sound"))
        assert (bad.reason, good.reason) == ("failed", "stop")
        assert bad.error is not None and "broken here" in bad.error
        assert (await outcome(engine, "good")).reason == "stop"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
class Scarce(FakeRunner):
    """Has no room for caches while ``fault`` is set."""

    fault: BaseException | None = None

    def new_cache(self) -> FakeCache:
        if self.fault is not None:
            raise self.fault
        return FakeCache()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_no_memory_for_a_cache_fails_that_job(fault: BaseException) -> None:
    runner = Scarce()
    async with running(runner) as engine:
        assert (await outcome(engine, "good")).reason == "stop"
        runner.fault = fault
        bad, good = await asyncio.gather(outcome(engine, "bad"), outcome(engine, "good"))
        assert (bad.reason, good.reason) == ("failed", "stop")
        runner.fault = None
        assert (await outcome(engine, "bad")).reason == "stop"


async def test_a_failing_decode_round_spares_callers_outside_it() -> None:
    runner = FakeRunner()
    runner.fail_on = 2
    async with running(runner) as engine:
        assert (await outcome(engine, "bad")).reason == "failed"
        runner.fail_on = None
        assert (await outcome(engine, "bad")).reason == "stop"


async def test_a_failing_reply_leaves_its_neighbour_alone() -> None:
    runner, decode = FakeRunner(), FakeRunner.decode

    def decode_one_badly(states: list[FakeState]) -> None:
        decode(runner, states)
        for state in states:
            state.fault = RuntimeError("broken here") if state.slot.name == "bad" else None

    runner.decode = decode_one_badly  # type: ignore[method-assign]
    async with running(runner) as engine:
        bad, good = await asyncio.gather(outcome(engine, "bad"), outcome(engine, "good"))
        assert (bad.reason, good.reason) == ("failed", "stop")


@pytest.mark.parametrize("member", ["take_delta", "cached_ids", "rest"])
async def test_a_reply_whose_state_is_broken_ends(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(FakeState):
        pass

    def broken(self: Broken, *_: Any) -> Any:
        raise RuntimeError("broken here")

    runner, begin = FakeRunner(), FakeRunner.begin_decode

    def begin_badly(slot: Any, prompt: Any, asked: Any, logits: None) -> FakeState:
        state = begin(runner, slot, prompt, asked, logits)
        if slot.name == "bad":
            state.__class__ = Broken
            setattr(Broken, member, broken if member == "take_delta" else property(broken, lambda *_: None))
        return state

    runner.begin_decode = begin_badly  # type: ignore[method-assign]
    async with running(runner) as engine:
        bad, good = await asyncio.gather(outcome(engine, "bad"), outcome(engine, "good"))
        assert (bad.reason, good.reason) == ("failed", "stop")
        assert "broken here" in (bad.error or "")


@pytest.mark.parametrize("command", ["submit", "confirm", "cancel"])
async def test_failing_commands_fail_the_job_they_were_for(command: str) -> None:
    async with running(FakeRunner()) as engine:
        core = engine._core
        work = getattr(core, command)

        def for_bad(job: Job) -> bool:
            return job.request.conversation == "bad"

        setattr(core, command, failing(RuntimeError("broken here"), for_bad, work))
        bad = generate(engine, request("3" if command == "submit" else "100000000", key="bad"))
        if command != "submit":
            getattr(bad, command)()
        *_, last = [event async for event in bad]
        assert isinstance(last, GenerationDone) and last.reason == "failed" and "broken here" in (last.error or "")
        assert (await outcome(engine, "good")).reason == "stop"


async def test_a_failing_release_still_ends_what_ran() -> None:
    runner = FakeRunner()
    runner.max_tokens = 10_000_000
    async with running(runner) as engine:
        generation = generate(engine, request("1000000", key="bad"))
        events = aiter(generation)
        await anext(events)
        engine._core._slots.release = failing(MemoryError(), lambda key: True, lambda key: None)  # type: ignore[method-assign]
        engine.open("bad").close()
        *_, last = [event async for event in events]
        assert isinstance(last, GenerationDone) and last.reason == "cancelled"
        assert (await outcome(engine, "good")).reason == "stop"


async def test_failing_listeners_do_not_hurt_the_engine() -> None:
    async with running(FakeRunner()) as engine:
        deaf = generate(engine, request("90", key="bad"))
        deaf._job.deliver = failing(Panic(), lambda event: True, lambda event: None)  # type: ignore[attr-defined]
        assert (await outcome(engine, "good")).reason == "stop"
        assert (await outcome(engine, "bad")).reason == "stop"


async def test_caches_that_cannot_be_truncated_are_given_up() -> None:
    class Fragile(FakeCache):
        def truncate(self, length: int) -> None:
            if self.length:
                raise RuntimeError("no cuda")

    class FragileRunner(FakeRunner):
        def new_cache(self) -> FakeCache:
            return Fragile() if self.fail_on else FakeCache()

    runner = FragileRunner()
    runner.fail_on = 2
    async with running(runner) as engine:
        assert (await outcome(engine, "bad")).reason == "failed"
        runner.fail_on = None
        assert (await outcome(engine, "bad")).reason == "stop"


async def test_scheduler_faults_fail_present_jobs_and_nothing_later() -> None:
    async with running(FakeRunner()) as engine:
        choose = engine._core._scheduler.choose
        engine._core._scheduler.choose = failing(RuntimeError("broken here"), lambda jobs, *_: bool(jobs), choose)  # type: ignore[method-assign]
        bad = await outcome(engine, "a")
        assert bad.reason == "failed" and "broken here" in (bad.error or "")
        engine._core._scheduler.choose = choose  # type: ignore[method-assign]
        assert (await outcome(engine, "a")).reason == "stop"


async def test_requests_to_a_stopped_engine_fail_at_once() -> None:
    engine = ThreadedEngine(EngineCore(FakeRunner(), slots=4))
    engine.start()
    engine.stop()
    assert not engine.worker.alive
    async with asyncio.timeout(5):
        assert (await outcome(engine, "late")).reason == "failed"


# The vocoder


@asynccontextmanager
async def vocoding_with(vocoder: vocoding.FakeVocoder) -> AsyncIterator[ThreadedVocoder]:
    service = ThreadedVocoder(vocoder, {"test": vocoding.VOICE})  # type: ignore[arg-type]
    service.start()
    try:
        async with asyncio.timeout(10):
            yield service
        assert service.worker.alive
    finally:
        service.stop()


async def sound(service: ThreadedVocoder) -> list[AudioChunk]:
    stream = service.open("test")
    stream.push(range(20))
    stream.finish()
    return [chunk async for chunk in stream]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("method", ["open", "step"])
async def test_a_failing_vocoder_fails_its_stream_alone(method: str, fault: BaseException) -> None:
    vocoder = vocoding.FakeVocoder()
    work = getattr(vocoder, method)
    async with vocoding_with(vocoder) as service:
        setattr(vocoder, method, failing(fault, lambda _: True, work))
        with pytest.raises(EngineError, match="broken here"):
            await sound(service)
        setattr(vocoder, method, work)
        assert sum(len(chunk.samples) for chunk in await sound(service)) == 20 * 960


@pytest.mark.parametrize("command", ["open", "push", "confirm"])
async def test_failing_commands_fail_the_stream_they_were_for(command: str) -> None:
    async with vocoding_with(vocoding.FakeVocoder()) as service:
        core, calls = service._core, iter([True])
        work = getattr(core, command)
        setattr(core, command, failing(MemoryError("broken here"), lambda *_: next(calls, False), work))
        bad = service.open("test")
        bad.push([1, 2])
        bad.confirm()
        with pytest.raises(EngineError, match="broken here"):
            _ = [chunk async for chunk in bad]
        assert await sound(service)


@pytest.mark.parametrize("member", ["buffered", "wanted", "report"])
async def test_a_broken_stream_ends_beside_a_healthy_one(member: str) -> None:
    class Broken(vocoding.FakeState):
        pass

    def broken(self: Any, *_: Any) -> Any:
        raise RuntimeError("broken here")

    setattr(Broken, member, broken if member == "wanted" else property(broken, lambda self, value: None))
    vocoder = vocoding.FakeVocoder()
    states = iter([Broken(), vocoding.FakeState()])
    vocoder.open = lambda voice: next(states)  # type: ignore[method-assign,assignment]
    async with vocoding_with(vocoder) as service:
        bad, good = service.open("test"), service.open("test")
        for stream in (bad, good):
            stream.push(range(20))
            stream.finish()
        with pytest.raises(EngineError, match="broken here"):
            _ = [chunk async for chunk in bad]
        assert [chunk async for chunk in good]


# The thread


def test_a_worker_tells_when_it_is_stuck() -> None:
    stuck, go_on = threading.Event(), threading.Event()

    def work() -> None:
        stuck.set()
        go_on.wait(10)

    worker = Worker("test", lambda: False, lambda fault: None, lambda: None)
    worker.start()
    try:
        worker.put(work)
        assert stuck.wait(10)
        assert worker.alive and worker.heartbeat == worker.heartbeat < time.monotonic()
        go_on.set()
        done = threading.Event()
        worker.put(done.set)
        assert done.wait(10)
    finally:
        worker.stop()
    assert not worker.alive
