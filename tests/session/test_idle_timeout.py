"""`idle_timeout_ms`: silence after a reply is answered, however often, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from realtime.ports.messages import Audio
from realtime.protocol import events as wire
from realtime.turns.floor import Floor
from tests.fakes import Caller, Gate, call, delta, reply

IDLE_MS = 5000


async def wait_until_heard(caller: Caller) -> None:
    """The caller has heard the reply to its end."""
    while caller.session.floor is not Floor.NOBODY:
        caller.clock.now += 1
        await asyncio.sleep(0.01)


def use_idle_timeout(caller: Caller) -> None:
    caller.turn_detection({"type": "server_vad", "idle_timeout_ms": IDLE_MS})


async def test_every_silence_is_answered_in_its_turn() -> None:
    async with call(*[reply("Still there?", tokens=1) for _ in range(4)]) as caller:
        use_idle_timeout(caller)
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        for _ in range(3):
            await wait_until_heard(caller)
            caller.be_silent(IDLE_MS / 1000 + 0.1)
            timeout = await caller.expect(wire.InputAudioBufferTimeoutTriggered)
            assert timeout.audio_end_ms - timeout.audio_start_ms == pytest.approx(IDLE_MS, abs=120)
            committed = await caller.expect(wire.InputAudioBufferCommitted)
            assert committed.item_id == timeout.item_id
            await caller.expect(wire.ResponseDone)
        assert len(caller.of(wire.InputAudioBufferSpeechStarted)) == 1
        parts = [part for message in caller.engine.requests[-1].messages for part in message.content or ()]
        assert len([part for part in parts if isinstance(part, Audio)]) == 4


async def test_less_silence_than_that_is_not_answered() -> None:
    async with call(reply("Hi.", tokens=1)) as caller:
        use_idle_timeout(caller)
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        await wait_until_heard(caller)
        caller.be_silent(IDLE_MS / 1000 - 0.5)
        assert await caller.settle() == []


async def test_nothing_that_may_not_be_answered_times_out() -> None:
    async with call(reply("Hi.", tokens=1)) as caller:
        caller.turn_detection({"type": "server_vad", "idle_timeout_ms": IDLE_MS, "create_response": False})
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await wait_until_heard(caller)
        caller.be_silent(3 * IDLE_MS / 1000)
        assert await caller.settle() == []


@pytest.mark.parametrize("milliseconds", [0, 1, IDLE_MS - 1, 30_001])
async def test_a_timeout_out_of_bounds_is_refused(milliseconds: int) -> None:
    async with call() as caller:
        caller.turn_detection({"type": "server_vad", "idle_timeout_ms": milliseconds})
        error = await caller.expect_error()
        assert (error.code, error.param) == ("invalid_value", "session.audio.input.turn_detection.idle_timeout_ms")


async def test_speech_puts_it_off() -> None:
    async with call(reply("Hi.", tokens=1)) as caller:
        use_idle_timeout(caller)
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        await wait_until_heard(caller)
        caller.be_silent(IDLE_MS / 1000 - 0.5)
        caller.say(IDLE_MS / 1000)
        await caller.settle()
        assert not caller.of(wire.InputAudioBufferTimeoutTriggered)


@pytest.mark.parametrize("audible", [False, True])
async def test_while_the_assistant_is_busy_nobody_is_idle(audible: bool) -> None:
    script = reply("A long answer.", tokens=500) if audible else [delta("One", 5), Gate()]
    async with call(script) as caller:
        use_idle_timeout(caller)
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.be_silent(3 * IDLE_MS / 1000)
        await caller.settle()
        assert not caller.of(wire.InputAudioBufferTimeoutTriggered)
