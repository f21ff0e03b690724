"""Tools that the server runs: their results are items on the wire, and the model goes on with them by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from realtime.ports.messages import Message, Text
from realtime.ports.tool_calls import AFTER_TOOL_RESULT, ToolCall, render_tool_call
from realtime.ports.tools import ToolFault, ToolResult
from realtime.protocol import events as wire
from realtime.protocol.items import FunctionCall, FunctionCallOutput
from realtime.session.config import SessionConfig, SessionLimits
from tests.fakes import Caller, Gate, call, calling, reply
from tests.session.tool_fakes import FakeTools

NOON = ToolResult("It is noon.")
CLOCK = render_tool_call(ToolCall("clock", "{}"))
LOOKUP = {"type": "function", "name": "lookup"}


def outputs(caller: Caller) -> list[FunctionCallOutput]:
    items = [event.item for event in caller.of(wire.ConversationItemDone)]
    return [item for item in items if isinstance(item, FunctionCallOutput)]


async def replies(caller: Caller, count: int) -> list[wire.ResponseDone]:
    return [await caller.expect(wire.ResponseDone) for _ in range(count)]


async def test_results_are_items_and_the_reply_continues() -> None:
    script = calling("One moment.", rest=CLOCK)
    async with call(script, reply("Noon."), tools=FakeTools({"clock": NOON})) as caller:
        caller.send("response.create")
        first, second = await replies(caller, 2)
        called = first.response.output[1]
        assert isinstance(called, FunctionCall) and called.name == "clock"
        (output,) = outputs(caller)
        assert (output.call_id, output.output) == (called.call_id, "It is noon.")
        assert second.response.status == "completed"
        types = caller.types()
        done = types.index("response.done")
        behind = [kind for kind in types[done + 1 :] if not kind.startswith("response.output")]
        assert behind[:3] == ["conversation.item.added", "conversation.item.done", "response.created"]
        told = caller.engine.requests[1].messages
        assert told[-1] == Message("input", (Text("It is noon."), Text(AFTER_TOOL_RESULT)))
        assert told[-2].role == "assistant"


async def test_tools_of_server_and_client_are_both_declared() -> None:
    async with call(tools=FakeTools({"clock": NOON, "lookup": NOON}), settings={"tools": [LOOKUP]}) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        names = [function.name for function in caller.engine.requests[0].calls.functions]
        assert names == ["lookup", "clock"]


async def test_client_functions_hide_server_tools_of_their_name() -> None:
    tools = FakeTools({"lookup": NOON})
    script = calling(rest=render_tool_call(ToolCall("lookup", "{}")))
    async with call(script, tools=tools, settings={"tools": [LOOKUP]}) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await caller.settle()
        assert not tools.calls and not outputs(caller)


async def test_with_a_client_call_pending_the_client_continues() -> None:
    rest = CLOCK + render_tool_call(ToolCall("lookup", "{}"))
    async with call(calling(rest=rest), tools=FakeTools({"clock": NOON}), settings={"tools": [LOOKUP]}) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await caller.settle()
        assert len(outputs(caller)) == 1 and len(caller.engine.requests) == 1


async def test_several_tools_run_together_with_one_answer() -> None:
    gate = Gate()
    tools = FakeTools({"clock": NOON, "slow": ToolResult("Done.")}, {"slow": gate})
    rest = render_tool_call(ToolCall("slow", "{}")) + CLOCK
    async with call(calling(rest=rest), reply("Both."), tools=tools) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await caller.settle()
        assert [output.output for output in outputs(caller)] == ["It is noon."]
        gate.open()
        await caller.expect(wire.ResponseDone)
        assert [output.output for output in outputs(caller)] == ["It is noon.", "Done."]
        assert len(caller.engine.requests) == 2


async def test_forced_choices_hold_for_calls_and_not_answers() -> None:
    async with call(
        calling(rest=CLOCK), tools=FakeTools({"clock": NOON}), settings={"tool_choice": "required"}
    ) as caller:
        caller.send("response.create", response={"metadata": {"topic": "time"}})
        first, second = await replies(caller, 2)
        assert [request.calls.required for request in caller.engine.requests] == [True, False]
        assert (first.response.metadata, second.response.metadata) == ({"topic": "time"}, None)


async def test_an_own_tool_may_be_chosen_by_name() -> None:
    choice = {"type": "function", "name": "clock"}
    async with call(tools=FakeTools({"clock": NOON, "other": NOON})) as caller:
        caller.update(tool_choice=choice)
        await caller.expect(wire.SessionUpdated)
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert [function.name for function in caller.engine.requests[0].calls.functions] == ["clock"]


async def test_failed_tools_are_described_and_the_reply_continues() -> None:
    broken = ToolResult("Error: no network.", ToolFault("execution", "no network."))
    async with call(calling(rest=CLOCK), reply("Sorry."), tools=FakeTools({"clock": broken})) as caller:
        caller.send("response.create")
        await replies(caller, 2)
        assert outputs(caller)[0].output == "Error: no network."


async def test_results_may_choose_the_voice_of_their_answer() -> None:
    tools = FakeTools({"clock": ToolResult("Found.", voice="other")})
    async with call(calling("Hm.", rest=CLOCK), reply("Like this."), reply("As before."), tools=tools) as caller:
        caller.send("response.create")
        _, second = await replies(caller, 2)
        assert second.response.audio is not None and second.response.audio.output.voice == "other"
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert [stream.voice for stream in caller.vocoder.streams] == ["default", "other", "default"]


async def test_tools_are_not_called_without_end() -> None:
    config = SessionConfig(limits=SessionLimits(tool_rounds=3))
    scripts = [calling(rest=CLOCK) for _ in range(3)]
    async with call(*scripts, reply("Enough."), tools=FakeTools({"clock": NOON}), config=config) as caller:
        caller.send("response.create")
        await replies(caller, 4)
        await caller.settle()
        offered = [bool(request.calls.functions) for request in caller.engine.requests]
        assert offered == [True, True, True, False]


async def test_outside_the_conversation_only_the_client_is_called() -> None:
    async with call(tools=FakeTools({"clock": NOON}), settings={"tools": [LOOKUP]}) as caller:
        caller.send("response.create", response={"conversation": "none"})
        await caller.expect(wire.ResponseDone)
        assert [function.name for function in caller.engine.requests[0].calls.functions] == ["lookup"]


# While somebody speaks


async def test_results_during_user_speech_wait_for_the_turn() -> None:
    gate = Gate()
    tools = FakeTools({"clock": NOON}, {"clock": gate})
    async with call(calling(rest=CLOCK), reply("Noon."), tools=tools) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await gate.reached.wait()
        caller.be_silent(0.5)
        caller.say(1.0)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        gate.open()
        await caller.settle()
        assert len(outputs(caller)) == 1 and len(caller.engine.requests) == 1
        caller.be_silent(0.7)
        await caller.expect(wire.ResponseDone)
        await caller.settle()
        assert len(caller.engine.requests) == 2
        assert [message.role for message in caller.engine.requests[1].messages][-2:] == ["input", "human"]


async def test_results_during_another_reply_are_answered_after_it() -> None:
    gate, speaking = Gate(), Gate()
    tools = FakeTools({"clock": NOON}, {"clock": gate})
    long = [*reply("Meanwhile.")[:1], speaking, *reply("")[1:]]
    async with call(calling(rest=CLOCK), long, reply("Noon."), tools=tools) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        caller.send("response.create")
        await speaking.reached.wait()
        gate.open()
        await caller.settle()
        assert len(caller.engine.requests) == 2
        speaking.open()
        await replies(caller, 2)
        assert len(caller.engine.requests) == 3


async def test_ending_sessions_end_their_tools() -> None:
    gate = Gate()
    tools = FakeTools({"clock": NOON}, {"clock": gate})
    async with call(calling(rest=CLOCK), tools=tools) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        await gate.reached.wait()
    assert tools.cancelled == ["clock"]


# Which ones


async def test_a_session_may_take_some_of_them() -> None:
    async with call(tools=FakeTools({"clock": NOON, "other": NOON})) as caller:
        for names in (["other"], []):
            caller.update(server_tools=names)
            await caller.expect(wire.SessionUpdated)
            caller.send("response.create")
            await caller.expect(wire.ResponseDone)
            offered = [function.name for function in caller.engine.requests[-1].calls.functions]
            assert offered == names


@pytest.mark.parametrize("fields", [{"server_tools": ["shell"]}, {"tool_choice": {"type": "function", "name": "x"}}])
async def test_unknown_server_tools_are_refused(fields: dict[str, Any]) -> None:
    async with call(tools=FakeTools({"clock": NOON})) as caller:
        caller.update(**fields)
        error = await caller.expect_error()
        assert (error.code, error.param) == ("invalid_value", f"session.{next(iter(fields))}")
        assert "clock" in error.message


async def test_tools_not_offered_to_all_must_be_named() -> None:
    tools = FakeTools({"clock": NOON, "calculate": NOON})
    tools.tools = (tools.tools[0], replace(tools.tools[1], offered=False))
    async with call(*[reply()] * 3, tools=tools) as caller:
        for names, offered in ((None, ["clock"]), (["calculate"], ["calculate"]), ([], [])):
            if names is not None:
                caller.update(server_tools=names)
            caller.send("response.create")
            await caller.expect(wire.ResponseDone)
            assert [function.name for function in caller.engine.requests[-1].calls.functions] == offered


async def test_a_choice_names_only_tools_of_the_session() -> None:
    tools = FakeTools({"clock": NOON, "calculate": NOON})
    tools.tools = (tools.tools[0], replace(tools.tools[1], offered=False))
    async with call(tools=tools) as caller:
        caller.update(tool_choice={"type": "function", "name": "calculate"})
        assert (await caller.expect_error()).param == "session.tool_choice"
        caller.update(tool_choice={"type": "function", "name": "calculate"}, server_tools=["calculate"])
        await caller.expect(wire.SessionUpdated)
