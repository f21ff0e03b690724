"""A recorded session runs again and sends the same, event for event."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bench.replay import Divergence, RecordedCall, difference, replay
from realtime.errors import ConfigError, Draining
from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.ports.tools import ToolResult
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.session.recording import Recording, shown
from tests.fakes import Caller, LoudnessVad, call, calling, heard, reply
from tests.session.test_random_talks import HEARD, LIKELY, MOVES, SCRIPTS
from tests.session.tool_fakes import FakeServers, FakeTools


class InMemory:
    """A recording in memory; read it when the call is over."""

    def __init__(self) -> None:
        self.journal, self.audio, self.sent = io.StringIO(), io.BytesIO(), io.StringIO()
        self.recording = Recording(self.journal, self.audio, self.sent)

    def call(self, seen: list[Any] | None = None) -> RecordedCall:
        """``seen``: what the client got, by its own account."""
        sent = None if seen is None else [json.dumps(shown(event)) for event in seen]
        return RecordedCall.parse(self.journal.getvalue().splitlines(), self.audio.getvalue(), sent)


async def talk_and_replay(moves: list[str], at_once: list[bool], interruption: str, words: list[str]) -> str | None:
    memory = InMemory()
    detection = {"type": "server_vad", "idle_timeout_ms": 5000, "interruption": interruption}
    config = {"audio": {"input": {"turn_detection": detection, "transcription": {"model": "m"}}}}
    transcripts = [HEARD[word]() for word in words]
    async with call(*SCRIPTS, settings=config, words=transcripts, recording=memory.recording) as caller:
        for move, together in zip(moves, at_once, strict=True):
            MOVES[move](caller)
            if not together:
                await caller.settle()
        await caller.settle()
    await caller.settle()
    recorded = memory.call(caller.seen)
    return difference(recorded, await replay(recorded, LoudnessVad()))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([*MOVES, *LIKELY]), st.booleans()), min_size=5, max_size=25),
    st.sampled_from(["immediate", "pause", "pause", "play_on"]),
    st.lists(st.sampled_from([*HEARD]), max_size=8),
)
def test_a_random_talk_replays_event_for_event(
    talk: list[tuple[str, bool]], interruption: str, words: list[str]
) -> None:
    moves, at_once = [move for move, _ in talk], [together for _, together in talk]
    assert asyncio.run(talk_and_replay(moves, at_once, interruption, words)) is None


async def recorded_turn() -> tuple[InMemory, Caller]:
    memory = InMemory()
    async with call(recording=memory.recording) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
    await caller.settle()
    return memory, caller


async def replayed(memory: InMemory, caller: Caller) -> str | None:
    await caller.settle()
    recorded = memory.call(caller.seen)
    return difference(recorded, await replay(recorded, LoudnessVad()))


async def test_a_call_with_tools_of_the_server_replays() -> None:
    memory, tools = InMemory(), FakeTools({"clock": ToolResult("Noon.")})
    script = calling("One moment.", rest=render_tool_call(ToolCall("clock", "{}")))
    async with call(script, reply("Noon."), tools=tools, recording=memory.recording) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await caller.expect(wire.ResponseDone)
    assert await replayed(memory, caller) is None


async def test_a_call_with_an_mcp_server_replays() -> None:
    server = {"type": "mcp", "server_label": "desk", "server_url": "https://desk.example", "require_approval": "never"}
    memory, servers = InMemory(), FakeServers({"desk": FakeTools({"clock": ToolResult("Noon.")}), "gone": "Not there."})
    script = calling("One moment.", rest=render_tool_call(ToolCall("clock", "{}")))
    settings = {"tools": [server, {**server, "server_label": "gone"}]}
    async with call(script, reply("Noon."), servers=servers, settings=settings, recording=memory.recording) as caller:
        await caller.settle()
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await caller.expect(wire.ResponseDone)
        assert caller.of(wire.ResponseMcpCallCompleted) and caller.of(wire.McpListToolsFailed)
    assert await replayed(memory, caller) is None


async def test_what_clients_ask_for_beside_the_talk_replays() -> None:
    memory = InMemory()
    async with call(reply("One."), reply("Two."), recording=memory.recording) as caller:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
        caller.send("conversation.item.create", item=item)
        caller.send("response.create", response={"conversation": "none", "metadata": {"topic": "beside"}})
        caller.send("session.update", session={"type": "realtime", "voice": "misplaced"})
        caller.channel.put(ProtocolError("invalid_json", "not valid"))
        caller.send("response.create", response={"output_modalities": ["text"]})
        await caller.expect(wire.ResponseDone)
        await caller.expect(wire.ResponseDone)
        caller.send("conversation.item.delete", item_id="nothing")
        caller.session.end(Draining("The server is shutting down."))
        await caller.settle()
    assert await replayed(memory, caller) is None


async def test_a_session_that_only_transcribes_replays() -> None:
    memory = InMemory()
    settings = {"type": "transcription"}
    async with call(heard("hello"), settings=settings, recording=memory.recording) as caller:
        caller.say_something()
        await caller.expect(wire.InputAudioTranscriptionCompleted)
    assert await replayed(memory, caller) is None


async def test_a_difference_is_named() -> None:
    memory, caller = await recorded_turn()
    recorded = memory.call(caller.seen[:3] + caller.seen[4:])
    told = difference(recorded, await replay(recorded, LoudnessVad()))
    assert told is not None and "event 4 differs in" in told


async def test_truncated_recordings_replay_as_far_as_they_go() -> None:
    memory, caller = await recorded_turn()
    lines = memory.journal.getvalue().splitlines()
    half = [*lines[: len(lines) // 2], lines[len(lines) // 2][:10]]
    recorded = RecordedCall.parse(half, memory.audio.getvalue())
    events = await replay(recorded, LoudnessVad())
    assert 0 < len(events) < len(caller.seen)
    assert [shown(event) for event in events] == [shown(event) for event in caller.seen[: len(events)]]


async def test_code_that_reads_something_else_is_found_out() -> None:
    memory, _ = await recorded_turn()
    lines = [line for line in memory.journal.getvalue().splitlines() if '"read":"response_is_free"' not in line]
    assert len(lines) < len(memory.journal.getvalue().splitlines())
    with pytest.raises(Divergence):
        await replay(RecordedCall.parse(lines, memory.audio.getvalue()), LoudnessVad())


@pytest.mark.parametrize("journal", [[], ["{}"], ["[]"], ['{"version":99}'], ["no json", "{}"]])
def test_a_file_that_is_no_recording_is_named(journal: list[str]) -> None:
    with pytest.raises(ConfigError, match="no recording"):
        RecordedCall.parse(journal, b"")
