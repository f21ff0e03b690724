"""A response or a transcript for which nothing comes any more fails, and the session goes on. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from realtime.bench import virtual_time
from realtime.ports.engine import TokenDelta
from realtime.ports.tools import ServerTool, ToolResult
from realtime.ports.vocoder import VocoderStream
from realtime.protocol import events as wire
from realtime.session.config import SessionConfig, SessionLimits
from tests.fakes import Caller, FakeVocoder, FakeVocoderStream, Gate, LoopClock, Step, call, calling, delta, reply
from tests.session.test_items import create, text_item

PROGRESS_S = 60.0
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "own"}}}}

Talk = Callable[[Caller], Awaitable[None]]


class Pause(Gate):
    """A place in a script where the engine takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def wait(self) -> None:
        await asyncio.sleep(self._seconds)


def play(talk: Talk, *scripts: Sequence[Step], progress_s: float = PROGRESS_S, **options: Any) -> Caller:
    """A talk in virtual time."""
    config = SessionConfig(limits=SessionLimits(progress_s=progress_s))

    async def run() -> Caller:
        async with call(*scripts, config=config, clock=LoopClock(), **options) as caller:
            await talk(caller)
            await caller.settle()
            return caller

    return virtual_time.run(run())


async def pass_time(caller: Caller, seconds: float) -> None:
    await caller.settle()
    await asyncio.sleep(seconds)
    await caller.settle()


def outcome(caller: Caller, index: int = -1) -> tuple[str, str | None]:
    """The status of a response and the code of its error."""
    response = caller.of(wire.ResponseDone)[index].response
    error = response.status_details.error if response.status_details is not None else None
    return response.status, error.code if error is not None else None


STUCK: dict[str, list[Step]] = {
    "before_the_first_token": [Gate()],
    "in_mid_reply": [delta("One", 5), delta("two", 5), Gate()],
    "before_its_end": [delta("One", 5), TokenDelta("", (), ()), Gate()],
}


@pytest.mark.parametrize("phase", STUCK)
def test_a_stuck_reply_fails_and_the_next_works(phase: str) -> None:
    script = [Gate() if isinstance(step, Gate) else step for step in STUCK[phase]]

    async def talk(caller: Caller) -> None:
        await create(caller, text_item("first question"))
        caller.send("response.create")
        await pass_time(caller, PROGRESS_S - 1)
        assert not caller.of(wire.ResponseDone)
        await pass_time(caller, 2)
        assert outcome(caller) == ("failed", "engine_timeout")
        assert caller.engine.generations[0].cancelled
        await create(caller, text_item("second question"))
        caller.send("response.create")
        await pass_time(caller, 5)
        assert outcome(caller) == ("completed", None)

    caller = play(talk, script, reply("Fine."))
    asked = [message.content for message in caller.engine.requests[1].messages]
    assert asked[0] == "first question" and asked[-1] == "second question"
    assert caller.session.id in caller.engine.released  # the engine's conversation may be stuck for good


def test_a_reply_that_creeps_on_is_no_fault() -> None:
    creeping = [step for _ in range(20) for step in (Pause(PROGRESS_S - 1), TokenDelta("", (), ()))]

    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, 20 * PROGRESS_S)
        assert outcome(caller) == ("completed", None)

    play(talk, [*creeping, *reply("At last.")])


def test_without_a_limit_a_reply_waits() -> None:
    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, 1000)
        assert not caller.of(wire.ResponseDone)

    play(talk, [Gate()], progress_s=0.0)


def test_a_slow_listener_is_no_fault() -> None:
    """The reply is far ahead of playback, or of a peer that does not read."""

    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, 15)
        caller.channel.pause()
        await pass_time(caller, 15)
        caller.channel.resume()
        await pass_time(caller, 1000)
        assert outcome(caller) == ("completed", None)

    play(talk, reply(*["word"] * 200, tokens=25))


def test_a_stuck_speculation_fails_once_claimed() -> None:
    async def talk(caller: Caller) -> None:
        caller.say_something()
        await pass_time(caller, PROGRESS_S + 2)
        assert caller.engine.generations[0].speculative
        assert outcome(caller) == ("failed", "engine_timeout")
        caller.say_something()
        await pass_time(caller, 5)
        assert outcome(caller) == ("completed", None)

    play(talk, [Gate()], reply("Fine."))


def test_barge_in_ends_a_stuck_reply_at_once() -> None:
    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, 1)
        caller.say_something()
        await pass_time(caller, 5)
        assert outcome(caller, 0) == ("cancelled", None)
        assert outcome(caller) == ("completed", None)

    play(talk, [delta("One", 5), Gate()], reply("Fine."))


def test_a_stuck_transcript_fails_and_the_next_works() -> None:
    async def talk(caller: Caller) -> None:
        caller.say_something()
        await pass_time(caller, PROGRESS_S + 5)
        (failed,) = caller.of(wire.InputAudioTranscriptionFailed)
        assert failed.error.code == "engine_timeout"
        caller.say_something()
        await pass_time(caller, 5)
        assert len(caller.of(wire.InputAudioTranscriptionCompleted)) == 1
        assert outcome(caller) == ("completed", None)

    play(talk, reply("Fine."), [Gate()], settings=TRANSCRIBED)


# The vocoder


class _MuteStream(FakeVocoderStream):
    def push(self, tokens: Sequence[int]) -> None:
        """Nothing is made of them."""

    def finish(self) -> None:
        """It does not even end."""


class MuteOnce(FakeVocoder):
    """Its first stream never gives a chunk."""

    def open(self, voice: str, *, speculative: bool = False, **others: Any) -> VocoderStream:
        if self.streams:
            return super().open(voice, speculative=speculative, **others)
        stream = _MuteStream(voice, None, speculative=speculative)
        self.streams.append(stream)
        return stream


def test_a_stuck_vocoder_fails_the_reply() -> None:
    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, PROGRESS_S + 1)
        assert outcome(caller) == ("failed", "engine_timeout")
        caller.send("response.create")
        await pass_time(caller, 5)
        assert outcome(caller) == ("completed", None)

    caller = play(talk, reply("One"), reply("two"), vocoder=MuteOnce())
    assert caller.vocoder.streams[0].closed


def test_a_vocoder_that_fails_is_told_as_such() -> None:
    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, 1)
        assert outcome(caller) == ("failed", "engine_error")

    play(talk, reply("One"), vocoder=FakeVocoder(RuntimeError("no CUDA")))


# Tools


class SlowTool:
    tools = (ServerTool("look", "Looks for long.", {"type": "object"}),)

    async def call(self, name: str, arguments: str) -> ToolResult:
        await asyncio.sleep(3 * PROGRESS_S)
        return ToolResult("found")


def test_a_slow_tool_is_no_fault() -> None:
    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, 4 * PROGRESS_S)
        assert [done.response.status for done in caller.of(wire.ResponseDone)] == ["completed", "completed"]

    rest = "<tool_call>function\nlook\n{}</tool_call>"
    play(talk, calling("Wait.", rest=rest), reply("Found."), tools=SlowTool())


def test_a_stuck_answer_to_a_tool_fails() -> None:
    async def talk(caller: Caller) -> None:
        caller.send("response.create")
        await pass_time(caller, 5 * PROGRESS_S)
        assert outcome(caller, 0) == ("completed", None)
        assert outcome(caller) == ("failed", "engine_timeout")

    rest = "<tool_call>function\nlook\n{}</tool_call>"
    play(talk, calling("Wait.", rest=rest), [Gate()], tools=SlowTool())
