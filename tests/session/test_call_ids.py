"""Calls and results belong together by their `call_id`: unknown, second and misplaced results are refused."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.ports.tools import ToolResult
from realtime.protocol import events as wire
from realtime.protocol.items import FunctionCall, FunctionCallOutput
from tests.fakes import Caller, Gate, call, calling, reply
from tests.session.tool_fakes import FakeTools

LOOKUP = {"type": "function", "name": "lookup"}
TWICE = render_tool_call(ToolCall("lookup", "{}")) * 2


def function_call(call_id: str, name: str = "lookup", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}", **fields}


def result(call_id: str, output: str = "42", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output, **fields}


async def create(caller: Caller, item: dict[str, Any], **fields: Any) -> str:
    caller.send("conversation.item.create", item=item, **fields)
    return (await caller.expect(wire.ConversationItemDone)).item.id


async def refused(caller: Caller, type: str = "conversation.item.create", **fields: Any) -> tuple[str, str | None]:
    items = len(caller.of(wire.ConversationItemAdded))
    caller.send(type, event_id="c1", **fields)
    error = await caller.expect_error()
    assert error.event_id == "c1" and len(caller.of(wire.ConversationItemAdded)) == items
    assert error.code is not None
    return error.code, error.param


async def calls(caller: Caller, **response: Any) -> list[FunctionCall]:
    caller.send("response.create", response={"tools": [LOOKUP], **response})
    done = await caller.expect(wire.ResponseDone)
    return [item for item in done.response.output if isinstance(item, FunctionCall)]


UNKNOWN = ("invalid_tool_call_id", "item.call_id")


@pytest.mark.parametrize("call_id", ["", "call_x", "call_t1", "call_t7"])
async def test_a_result_of_no_call_is_refused(call_id: str) -> None:
    async with call() as caller:
        assert await refused(caller, item=result(call_id)) == UNKNOWN


async def test_two_calls_get_one_result_in_any_order() -> None:
    async with call(calling(rest=TWICE), reply("Both.")) as caller:
        first, second = await calls(caller)
        await create(caller, result(second.call_id, "two"))
        assert await refused(caller, item=result(second.call_id, "again")) == UNKNOWN
        await create(caller, result(first.call_id, "one"))
        assert await refused(caller, item=result(first.call_id)) == UNKNOWN


async def test_deleted_results_may_be_given_again() -> None:
    async with call() as caller:
        await create(caller, function_call("c"))
        item_id = await create(caller, result("c"))
        caller.send("conversation.item.delete", item_id=item_id)
        await caller.expect(wire.ConversationItemDeleted)
        await create(caller, result("c", "43"))


async def test_a_call_that_was_deleted_is_unknown() -> None:
    async with call() as caller:
        caller.send("conversation.item.delete", item_id=await create(caller, function_call("c")))
        assert await refused(caller, item=result("c")) == UNKNOWN


async def test_calls_made_out_of_band_may_have_results() -> None:
    async with call(calling(rest=TWICE)) as caller:
        first, _ = await calls(caller, conversation="none")
        await create(caller, result(first.call_id))
        assert await refused(caller, item=result(first.call_id)) == UNKNOWN
        assert await refused(caller, item=function_call(first.call_id)) == UNKNOWN


async def test_two_calls_cannot_have_one_id() -> None:
    async with call(calling(rest=TWICE)) as caller:
        made, _ = await calls(caller)
        await create(caller, function_call("c"))
        for taken in ("c", made.call_id, "call_t3"):
            assert await refused(caller, item=function_call(taken)) == UNKNOWN


async def test_a_call_without_an_id_gets_one() -> None:
    async with call() as caller:
        caller.send("conversation.item.create", item={"type": "function_call", "name": "f", "arguments": "{}"})
        item = (await caller.expect(wire.ConversationItemDone)).item
        assert isinstance(item, FunctionCall) and item.call_id
        await create(caller, result(item.call_id))


@pytest.mark.parametrize("name", ["", "get weather", "get.weather", "<tool_call>", "a" * 65])
async def test_client_made_calls_have_api_function_names(name: str) -> None:
    async with call() as caller:
        assert await refused(caller, item=function_call("c", name)) == ("invalid_value", "item.name")


@pytest.mark.parametrize("place", ["root", "before"])
async def test_a_result_comes_behind_its_call(place: str) -> None:
    async with call() as caller:
        text = {"type": "message", "id": "before", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
        await create(caller, text)
        await create(caller, function_call("c"))
        assert (await refused(caller, item=result("c"), previous_item_id=place))[1] == "previous_item_id"


async def test_items_of_response_input_obey_the_same_rules() -> None:
    async with call() as caller:
        await create(caller, function_call("known"))
        refusals: tuple[tuple[list[dict[str, Any]], str], ...] = (
            ([result("x")], "response.input[0].call_id"),
            ([result("c"), function_call("c")], "response.input[0].call_id"),
            ([function_call("c"), result("c"), result("c")], "response.input[2].call_id"),
            ([function_call("c"), function_call("c")], "response.input[1].call_id"),
        )
        for items, param in refusals:
            refusal = await refused(caller, "response.create", response={"conversation": "none", "input": items})
            assert refusal == ("invalid_tool_call_id", param)
        bad_name = {"conversation": "none", "input": [function_call("c", "no name")]}
        refusal = await refused(caller, "response.create", response=bad_name)
        assert refusal == ("invalid_value", "response.input[0].name")
        caller.send("response.create", response={"conversation": "none", "input": [function_call("c"), result("c")]})
        await caller.expect(wire.ResponseDone)
        caller.send("response.create", response={"conversation": "none", "input": [result("known")]})
        await caller.expect(wire.ResponseDone)


async def test_server_tools_answer_no_deleted_call() -> None:
    gate = Gate()
    tools = FakeTools({"clock": ToolResult("Noon.")}, {"clock": gate})
    async with call(calling(rest=render_tool_call(ToolCall("clock", "{}"))), tools=tools) as caller:
        caller.send("response.create")
        done = await caller.expect(wire.ResponseDone)
        await gate.reached.wait()
        caller.send("conversation.item.delete", item_id=done.response.output[0].id)
        await caller.expect(wire.ConversationItemDeleted)
        gate.open()
        await caller.settle()
        assert not [
            event for event in caller.of(wire.ConversationItemDone) if isinstance(event.item, FunctionCallOutput)
        ]
