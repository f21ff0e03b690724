"""Function calls: how they are declared to the model, sent to the client, and answered with results."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from realtime.ports.messages import Message, Text, Tokens
from realtime.ports.tool_calls import AFTER_TOOL_RESULT, ToolCall, render_tool_call
from realtime.ports.tools import SchemaVerdict
from realtime.protocol import events as wire
from realtime.protocol.items import AssistantMessage, FunctionCall, OutputText
from realtime.protocol.session_config import Session
from tests.fakes import Caller, Gate, Step, call, calling, delta, done, reply

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "天气",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
NOW = {"type": "function", "name": "now"}
TOOLS: dict[str, Any] = {"tools": [WEATHER, NOW]}
PARIS = render_tool_call(ToolCall("get_weather", '{"city": "Paris"}'))
ROME = render_tool_call(ToolCall("get_weather", '{"city": "Rome"}'))


def declared(caller: Caller, request: int = 0) -> list[str]:
    """The names in the declaration of one request, which must stand right behind the system turn."""
    roles = [message.role for message in caller.engine.requests[request].messages]
    if "tool_json_schemas" not in roles:
        return []
    at = roles.index("tool_json_schemas")
    assert roles[:at] in (["system"], [])
    content = caller.engine.requests[request].messages[at].content
    assert isinstance(content, str)
    return [tool["function"]["name"] for tool in json.loads(content)]


async def respond(caller: Caller, **response: Any) -> wire.ResponseDone:
    caller.send("response.create", response=response)
    return await caller.expect(wire.ResponseDone)


def calls_of(event: wire.ResponseDone) -> list[tuple[str, str]]:
    return [(item.name, item.arguments) for item in event.response.output if isinstance(item, FunctionCall)]


def tokens_of(message: Message) -> list[Tokens]:
    assert message.role == "assistant" and message.closed and isinstance(message.content, tuple)
    return [part for part in message.content if isinstance(part, Tokens)]


# What the model is told


async def test_tools_are_declared_in_the_models_format() -> None:
    async with call(settings={**TOOLS, "instructions": "Help."}) as caller:
        await respond(caller)
        system, schemas = caller.engine.requests[0].messages
        assert system == Message("system", "Help.")
        assert schemas == Message(
            "tool_json_schemas",
            '[{"type": "function", "function": {"name": "get_weather", "description": "天气", "parameters": '
            '{"type": "object", "properties": {"city": {"type": "string"}}}}}, '
            '{"type": "function", "function": {"name": "now"}}]',
        )


async def test_the_speculative_prompt_declares_tools_too() -> None:
    async with call(settings=TOOLS) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        ahead = caller.engine.prefetched[0].messages
        assert ahead[0] == caller.engine.requests[0].messages[0]


@pytest.mark.parametrize(
    ("response", "names"),
    [
        ({}, ["get_weather", "now"]),
        ({"tools": [NOW]}, ["now"]),
        ({"tools": []}, []),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "required"}, ["get_weather", "now"]),
        ({"tool_choice": {"type": "function", "name": "now"}}, ["get_weather", "now"]),
    ],
)
async def test_a_response_may_have_tools_of_its_own(response: dict[str, Any], names: list[str]) -> None:
    async with call(settings=TOOLS) as caller:
        await respond(caller, **response)
        assert declared(caller) == names
        await respond(caller)
        assert declared(caller, 1) == ["get_weather", "now"]


# What decoding is held to


@pytest.mark.parametrize(
    ("response", "names", "required", "parallel"),
    [
        ({}, ["get_weather", "now"], False, True),
        ({"tool_choice": "none"}, [], False, True),
        ({"tool_choice": "required"}, ["get_weather", "now"], True, True),
        ({"tool_choice": "required", "tools": []}, [], False, True),
        ({"tool_choice": {"type": "function", "name": "now"}}, ["now"], True, False),
        ({"parallel_tool_calls": False}, ["get_weather", "now"], False, False),
        ({"tool_choice": "required", "parallel_tool_calls": False}, ["get_weather", "now"], True, False),
    ],
)
async def test_the_choice_of_tools_becomes_a_decoding_rule(
    response: dict[str, Any], names: list[str], required: bool, parallel: bool
) -> None:
    async with call(settings=TOOLS) as caller:
        await respond(caller, **response)
        rules = caller.engine.requests[0].calls
        assert [function.name for function in rules.functions] == names
        assert (rules.required, rules.parallel) == (required, parallel)


async def test_sessions_may_ask_for_single_calls() -> None:
    async with call(settings={**TOOLS, "parallel_tool_calls": False}) as caller:
        await respond(caller)
        await respond(caller, parallel_tool_calls=True)
        assert [request.calls.parallel for request in caller.engine.requests] == [False, True]


async def test_arguments_are_held_to_the_functions_own_schema() -> None:
    async with call(settings=TOOLS) as caller:
        await respond(caller)
        weather, now = caller.engine.requests[0].calls.functions
        assert (json.loads(weather.parameters), now.parameters) == (WEATHER["parameters"], "")


async def test_a_transcript_can_call_nothing() -> None:
    settings = {**TOOLS, "audio": {"input": {"transcription": {"model": "any"}}}}
    async with call(settings=settings) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        await caller.settle_until(lambda: len(caller.engine.requests) == 2)
        transcript = next(request for request in caller.engine.requests if not request.speech)
        assert not transcript.calls.functions


async def refuse_all(schema: Any, budget_s: float) -> SchemaVerdict:
    return SchemaVerdict("it is bad" if schema is not None else None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [NOW, WEATHER]}, "tools[1].parameters"),
        ({"tools": [{**NOW, "name": "now\nthen"}]}, "tools[0].name"),
        ({"tools": [NOW], "tool_choice": {"type": "function", "name": "then"}}, "tool_choice"),
    ],
)
async def test_uncallable_functions_are_refused_without_effect(fields: dict[str, Any], param: str) -> None:
    async with call(schema_check=refuse_all) as caller:
        caller.update(**fields, instructions="changed")
        error = await caller.expect_error()
        assert (error.code, error.param, error.event_id) == ("invalid_value", f"session.{param}", "update")
        caller.send("response.create", response=fields, event_id="create")
        error = await caller.expect_error()
        assert (error.code, error.param, error.event_id) == ("invalid_value", f"response.{param}", "create")
        caller.update(tools=[NOW])
        updated = await caller.expect(wire.SessionUpdated)
        assert isinstance(updated.session, Session) and updated.session.instructions == ""


# What the client is told


async def test_calls_keep_the_protocols_event_order() -> None:
    async with call(calling(rest=PARIS), settings=TOOLS) as caller:
        finished = await respond(caller)
        assert caller.types()[1:] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        assert finished.response.status == "completed"
        assert calls_of(finished) == [("get_weather", '{"city": "Paris"}')]
        (added,) = caller.of(wire.ConversationItemAdded)
        (told,) = caller.of(wire.ResponseFunctionCallArgumentsDone)
        assert isinstance(added.item, FunctionCall)
        assert (added.item.name, added.item.status, added.item.arguments) == ("get_weather", "in_progress", "")
        assert added.item.call_id == told.call_id != ""
        assert told.arguments == '{"city": "Paris"}'


async def test_a_spoken_lead_in_ends_before_the_call() -> None:
    async with call(calling("Let me look.", rest=PARIS), settings=TOOLS) as caller:
        finished = await respond(caller)
        message, called = finished.response.output
        assert isinstance(message, AssistantMessage) and message.status == "completed"
        assert isinstance(called, FunctionCall)
        assert [event.output_index for event in caller.of(wire.ResponseOutputItemDone)] == [0, 1]
        assert caller.of(wire.ConversationItemDone)[1].previous_item_id == message.id
        types = caller.types()
        assert types.index("response.output_audio.done") < types.index("response.function_call_arguments.delta")


async def test_several_calls_are_told_one_after_the_other() -> None:
    async with call(calling(rest=PARIS + ROME), settings=TOOLS) as caller:
        finished = await respond(caller)
        assert calls_of(finished) == [("get_weather", '{"city": "Paris"}'), ("get_weather", '{"city": "Rome"}')]
        first, second = finished.response.output
        assert isinstance(first, FunctionCall) and isinstance(second, FunctionCall)
        assert first.call_id != second.call_id


@pytest.mark.parametrize(
    "rest",
    [
        render_tool_call(ToolCall("format_disk", "{}")),
        render_tool_call(ToolCall("now", "{not json")),
        PARIS.removesuffix("</tool_call>"),
        "just words",
    ],
)
async def test_calls_of_functions_not_offered_are_skipped(rest: str) -> None:
    async with call(calling("Hm.", rest=rest), settings=TOOLS) as caller:
        finished = await respond(caller)
        assert finished.response.status == "completed"
        assert [item.type for item in finished.response.output] == ["message"]


async def test_a_broken_call_does_not_hide_the_next() -> None:
    broken = render_tool_call(ToolCall("now", "{not json"))
    async with call(calling(rest=broken + PARIS), settings=TOOLS) as caller:
        assert calls_of(await respond(caller)) == [("get_weather", '{"city": "Paris"}')]


async def test_where_no_tool_is_offered_none_is_called() -> None:
    async with call(calling(rest=PARIS), settings={**TOOLS, "tool_choice": "none"}) as caller:
        assert calls_of(await respond(caller)) == []


async def test_written_replies_keep_the_words_around_calls() -> None:
    script: list[Step] = [delta("Looking."), *calling(rest=PARIS + " Soon.")]
    async with call(script, settings={**TOOLS, "output_modalities": ["text"]}) as caller:
        message, called = (await respond(caller)).response.output
        assert isinstance(message, AssistantMessage) and isinstance(called, FunctionCall)
        assert message.content == (OutputText(text="Looking. Soon."),)


async def test_a_call_outside_the_conversation_leaves_no_item() -> None:
    async with call(calling("Hm.", rest=PARIS), settings=TOOLS) as caller:
        finished = await respond(caller, conversation="none")
        assert calls_of(finished) == [("get_weather", '{"city": "Paris"}')]
        assert not caller.of(wire.ConversationItemAdded)
        assert declared(caller) == ["get_weather", "now"]


async def test_calls_may_be_answered_before_the_response_ends() -> None:
    async with call(calling(rest=PARIS), reply("Sunny."), settings=TOOLS) as caller:
        caller.send("response.create")
        called = (await caller.expect(wire.ResponseOutputItemDone)).item
        assert isinstance(called, FunctionCall)
        item = {"type": "function_call_output", "call_id": called.call_id, "output": "21 degrees"}
        caller.send("conversation.item.create", item=item)
        caller.send("response.create")
        for _ in range(2):
            await caller.expect(wire.ResponseDone)
        assert not caller.of(wire.Error)


async def test_a_response_that_is_cancelled_calls_nothing() -> None:
    gate = Gate()
    script = [delta("Let me look.", 5), gate, *calling(rest=PARIS)]
    async with call(script, settings=TOOLS) as caller:
        caller.send("response.create")
        await gate.reached.wait()
        caller.send("response.cancel")
        finished = await caller.expect(wire.ResponseDone)
        gate.open()
        await caller.settle()
        assert [item.type for item in finished.response.output] == ["message"]
        assert not caller.of(wire.ResponseFunctionCallArgumentsDone)


# What the model is told afterwards


async def answer(caller: Caller) -> list[Message]:
    """Give the result of the last call; the conversation that the model is then asked to go on with."""
    (called,) = [event.item for event in caller.of(wire.ResponseOutputItemDone) if event.item.type == "function_call"]
    assert isinstance(called, FunctionCall)
    caller.send(
        "conversation.item.create",
        item={"type": "function_call_output", "call_id": called.call_id, "output": "21 degrees"},
    )
    await respond(caller)
    return [message for message in caller.engine.requests[-1].messages if message.role != "tool_json_schemas"]


RESULT = Message("input", (Text("21 degrees"), Text(AFTER_TOOL_RESULT)))


async def test_the_calling_turn_is_replayed_before_its_result() -> None:
    async with call(calling("Let me look.", rest=PARIS, tokens=2), reply("Sunny."), settings=TOOLS) as caller:
        await respond(caller)
        caller.clock.now += 60
        said, result = await answer(caller)
        assert [part.ids for part in tokens_of(said)] == [(1, 2, 2), (3, 3, 3)]
        assert all(part.heard_samples is None for part in tokens_of(said))
        assert result == RESULT


async def test_a_call_without_words_is_replayed_whole() -> None:
    async with call(calling(rest=PARIS), reply("Sunny."), settings=TOOLS) as caller:
        await respond(caller)
        said, result = await answer(caller)
        assert [part.ids for part in tokens_of(said)] == [(3, 3, 3)]
        assert result == RESULT


async def test_calls_survive_an_interrupted_lead_in() -> None:
    async with call(calling("Let me look.", rest=PARIS, tokens=50), reply("Sunny."), settings=TOOLS) as caller:
        finished = await respond(caller)
        spoken = finished.response.output[0].id
        caller.send("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=400)
        await caller.expect(wire.ConversationItemTruncated)
        said, _ = await answer(caller)
        words, calls = tokens_of(said)
        assert (words.heard_samples, calls.heard_samples) == (9600, None)
        assert calls.ids == (3, 3, 3)


async def test_calls_survive_a_lead_in_nobody_heard() -> None:
    async with call(calling("Let me look.", rest=PARIS, tokens=50), reply("Sunny."), settings=TOOLS) as caller:
        finished = await respond(caller)
        spoken = finished.response.output[0].id
        caller.send("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=0)
        await caller.expect(wire.ConversationItemTruncated)
        said, result = await answer(caller)
        assert [part.heard_samples for part in tokens_of(said)] == [0, None]
        assert result == RESULT


async def test_lead_ins_stay_whole_when_calls_are_deleted() -> None:
    async with call(calling("Let me look.", rest=PARIS, tokens=2), reply("Sunny."), settings=TOOLS) as caller:
        finished = await respond(caller)
        caller.send("conversation.item.delete", item_id=finished.response.output[1].id)
        await respond(caller)
        said = caller.engine.requests[-1].messages[-1]
        assert [part.ids for part in tokens_of(said)] == [(1, 2, 2)]


async def test_skipped_calls_are_replayed_as_the_model_wrote() -> None:
    wrong = render_tool_call(ToolCall("format_disk", "{}"))
    async with call(calling("Hm.", rest=wrong, tokens=2), reply("Sorry."), settings=TOOLS) as caller:
        await respond(caller)
        await respond(caller)
        said = caller.engine.requests[-1].messages[-1]
        assert [part.ids for part in tokens_of(said)] == [(1, 2, 2, 3, 3, 3)]


async def test_out_of_tokens_complete_calls_are_still_made() -> None:
    script = [*calling(rest="")[:-1], done("length", rest=PARIS + "<tool_call>function\nnow", rest_count=3)]
    async with call(script, settings=TOOLS) as caller:
        finished = await respond(caller)
        assert finished.response.status == "incomplete"
        assert calls_of(finished) == [("get_weather", '{"city": "Paris"}')]


# What cannot be read

UNREADABLE = '<tool_call>function\nget_weather\n{"city": '


@pytest.mark.parametrize("script", [calling(rest=UNREADABLE), [replace(done(), malformed=True)]])
async def test_replies_of_only_a_broken_call_fail(script: list[Step]) -> None:
    async with call(script, reply("Hello."), settings=TOOLS) as caller:
        finished = await respond(caller)
        assert finished.response.status == "failed" and not finished.response.output
        details = finished.response.status_details
        assert details is not None and details.error is not None
        assert details.error.code == "invalid_tool_call" and "<" not in (details.error.message or "")


async def test_a_broken_call_behind_words_is_forgotten() -> None:
    async with call(calling("Let me look.", rest=UNREADABLE), reply("Hello."), settings=TOOLS) as caller:
        finished = await respond(caller)
        assert finished.response.status == "completed" and len(finished.response.output) == 1
        await respond(caller)
        (said,) = [part for message in caller.engine.requests[-1].messages[1:] for part in tokens_of(message)]
        assert 3 not in said.ids
