"""Audio that stops coming: silence is assumed, so that no turn and no timeout waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from realtime.bench import virtual_time
from realtime.protocol import events as wire
from realtime.session.config import SessionConfig, SessionLimits
from tests.fakes import Caller, Gate, LoopClock, Step, call, delta, reply

Talk = Callable[[Caller], Awaitable[None]]


def play(talk: Talk, *scripts: Sequence[Step], settings: Mapping[str, Any] | None = None, gap_s: float = 1.0) -> Caller:
    """A talk in virtual time."""
    config = SessionConfig(limits=SessionLimits(audio_gap_s=gap_s))

    async def run() -> Caller:
        async with call(*scripts, config=config, settings=settings, clock=LoopClock()) as caller:
            await talk(caller)
            await caller.settle()
            return caller

    return virtual_time.run(run())


async def speak(caller: Caller, seconds: float) -> None:
    """Loud audio at the pace of speech."""
    for _ in range(round(seconds / 0.1)):
        caller.say(0.1)
        await asyncio.sleep(0.1)


async def be_silent(caller: Caller, seconds: float) -> None:
    for _ in range(round(seconds / 0.1)):
        caller.be_silent(0.1)
        await asyncio.sleep(0.1)


def count(caller: Caller, kind: type[wire._ServerEvent]) -> int:
    return sum(isinstance(event, kind) for event in caller.seen)


def test_a_turn_ends_when_its_audio_stops() -> None:
    async def talk(caller: Caller) -> None:
        await be_silent(caller, 0.5)
        await speak(caller, 1.0)
        began = caller.clock()
        await caller.expect(wire.InputAudioBufferSpeechStopped)
        assert 0.9 < caller.clock() - began < 2.0
        await caller.expect(wire.ResponseDone)

    play(talk)


def test_a_barge_in_that_is_muted_is_answered() -> None:
    async def talk(caller: Caller) -> None:
        await speak(caller, 1.0)
        await be_silent(caller, 1.0)
        await caller.expect(wire.ResponseOutputAudioDelta)
        await speak(caller, 0.6)
        await asyncio.sleep(3.0)
        await caller.settle()
        assert count(caller, wire.InputAudioBufferCommitted) == 2
        assert count(caller, wire.ResponseCreated) == 2

    play(talk, [delta("Long", 200), Gate()])


def test_the_idle_timeout_comes_without_audio() -> None:
    async def talk(caller: Caller) -> None:
        await speak(caller, 1.0)
        await be_silent(caller, 0.8)
        await asyncio.sleep(8.0)
        await caller.settle()
        assert count(caller, wire.InputAudioBufferTimeoutTriggered) == 1

    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    settings = {"audio": {"input": {"turn_detection": detection}}}
    play(talk, reply("One.", tokens=1), [delta("Two", 200), Gate()], settings=settings)


def test_the_longest_turn_ends_without_audio() -> None:
    """By the table's timer, where the endpointer is told to wait for a very long silence."""

    async def talk(caller: Caller) -> None:
        await speak(caller, 1.0)
        await asyncio.sleep(125.0)
        await caller.settle()
        assert count(caller, wire.InputAudioBufferCommitted) == 1

    detection = {"type": "server_vad", "silence_duration_ms": 600_000}
    play(talk, settings={"audio": {"input": {"turn_detection": detection}}})


def test_audio_goes_on_after_a_gap() -> None:
    async def talk(caller: Caller) -> None:
        for _ in range(2):
            await speak(caller, 1.0)
            await asyncio.sleep(3.0)
        await caller.settle()
        assert count(caller, wire.InputAudioBufferCommitted) == 2

    play(talk)


def test_network_pauses_end_no_turn() -> None:
    """Shorter than the gap: what was sent late is heard as one turn."""

    async def talk(caller: Caller) -> None:
        await speak(caller, 0.6)
        await asyncio.sleep(0.8)
        caller.say(0.8)
        await speak(caller, 0.6)
        await be_silent(caller, 1.0)
        await caller.settle()
        assert count(caller, wire.InputAudioBufferCommitted) == 1

    play(talk)


def test_no_silence_is_assumed_unless_something_needs_audio() -> None:
    async def talk(caller: Caller) -> None:
        await be_silent(caller, 0.5)
        received = caller.session.parts.audio_input.received
        await asyncio.sleep(10.0)
        assert caller.session.parts.audio_input.received == received

    play(talk)


def test_clients_that_commit_by_hand_get_no_silence() -> None:
    async def talk(caller: Caller) -> None:
        await speak(caller, 0.5)
        await asyncio.sleep(10.0)
        assert caller.session.parts.audio_input.received <= 8000

    play(talk, settings={"audio": {"input": {"turn_detection": None}}})


def test_the_gap_can_be_switched_off() -> None:
    async def talk(caller: Caller) -> None:
        await speak(caller, 1.0)
        await asyncio.sleep(60.0)
        await caller.settle()
        assert count(caller, wire.InputAudioBufferSpeechStopped) == 0

    play(talk, gap_s=0.0)
