"""A finished session is freed at once: by reference counting, without the collector of cycles."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from tests.fakes import Caller, Gate, Step, call, calling, delta, done, reply

Talk = Callable[[Caller], Awaitable[None]]


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def ours_in_cycles() -> Counter[str]:
    """Objects of ours that only the collector can free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return Counter(type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith("realtime."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()


async def says_nothing(caller: Caller) -> None:
    pass


async def hears_an_answer(caller: Caller) -> None:
    caller.say_something()
    await caller.expect(wire.ResponseDone)
    await caller.settle()


async def hangs_up_at_once(caller: Caller) -> None:
    caller.say_something()
    await caller.expect(wire.ResponseCreated)


async def barges_in(caller: Caller) -> None:
    caller.say_something()
    await caller.expect(wire.ResponseOutputAudioDelta)
    caller.say_something()
    await caller.expect(wire.ResponseDone)


async def is_transcribed(caller: Caller) -> None:
    caller.update(audio={"input": {"transcription": {"model": "x"}}})
    await hears_an_answer(caller)


async def cancels(caller: Caller) -> None:
    caller.send("response.create")
    await caller.expect(wire.ResponseCreated)
    caller.send("response.cancel")
    await caller.expect(wire.ResponseDone)


async def asks_beside(caller: Caller) -> None:
    caller.send("response.create", response={"conversation": "none"})
    await caller.expect(wire.ResponseDone)


async def calls_a_function(caller: Caller) -> None:
    tool = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
    caller.update(tools=[tool])
    caller.send("response.create")
    await caller.expect(wire.ResponseDone)
    await caller.settle()


async def waits_for_the_model(caller: Caller) -> None:
    caller.update(tools=[])
    caller.send("response.create")
    await caller.expect(wire.ResponseOutputAudioDelta)
    await caller.settle()


async def stops_reading(caller: Caller) -> None:
    caller.channel.pause()
    caller.say_something()
    await caller.settle()


async def is_refused(caller: Caller) -> None:
    caller.channel.put(ProtocolError("invalid_json", "This is no JSON."))
    await caller.expect_error()


async def meets_a_fault(caller: Caller) -> None:
    logging.disable()  # pytest keeps what is logged, with its frames
    caller.channel.put(object())  # type: ignore[arg-type]  # what no handler knows
    await caller.task
    logging.disable(logging.NOTSET)


async def is_cancelled(caller: Caller) -> None:
    caller.say_something()
    await caller.expect(wire.ResponseCreated)
    caller.task.cancel()  # which `hang_up` meets


async def sends_nonsense(caller: Caller) -> None:
    caller.send("conversation.item.delete", item_id="unknown")
    await caller.expect_error()


TALKS: list[Talk] = [
    says_nothing,
    hears_an_answer,
    hangs_up_at_once,
    barges_in,
    is_transcribed,
    cancels,
    asks_beside,
    calls_a_function,
    waits_for_the_model,
    stops_reading,
    is_refused,
    meets_a_fault,
    is_cancelled,
    sends_nonsense,
]

SCRIPTS: dict[Talk, list[Step]] = {
    calls_a_function: calling("One moment.", rest='<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'),
    waits_for_the_model: [delta("Well,", 5), Gate(), done()],
}


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.__name__)
async def test_a_finished_session_is_freed_at_once(talk: Talk) -> None:
    with without_collector():
        with suppress(asyncio.CancelledError):
            async with call(SCRIPTS.get(talk, reply("Hello."))) as caller:
                await talk(caller)
                parts = caller.session.parts
                held = [weakref.ref(one) for one in (caller.session, parts.audio_input, parts.history, parts.outbox)]
                del parts
                fakes = caller.engine, caller.vocoder  # which refer to each other
        del caller
        await asyncio.sleep(0)
        left = Counter(type(one()).__qualname__ for one in held if one() is not None)
        assert not left, ours_in_cycles()
        assert not ours_in_cycles()
        del fakes


async def test_two_hundred_sessions_leave_nothing() -> None:
    async def talk() -> None:
        async with call() as caller:
            await hears_an_answer(caller)

    def left() -> tuple[int, int, int]:
        """Threads, tasks and descriptors."""
        here = Path("/proc/self")
        return len(list((here / "task").iterdir())), len(asyncio.all_tasks()), len(list((here / "fd").iterdir()))

    for _ in range(20):  # what is made once and kept
        await talk()
    gc.collect()
    before = left()
    logging.disable()  # pytest keeps the records that earlier tests' log level lets through
    tracemalloc.start()
    try:
        await talk()
        gc.collect()
        bytes_before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            await talk()
        gc.collect()  # of the fakes
        bytes_after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)
    assert left() == before
    # One session kept would hold its turn's audio: 64 kB a second, 20 MB in all. Behind the rest of the suite the
    # caches of the interpreter grew by 102 kB meanwhile.
    assert bytes_after - bytes_before < 1_000_000
