"""Results of tools in the prompt: in the order of their calls, told apart where there are several."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from realtime.ports.messages import Message, Text
from realtime.ports.tool_calls import AFTER_TOOL_RESULT, ToolCall, render_tool_call, tool_result
from realtime.protocol import events as wire
from realtime.protocol.items import FunctionCall, ItemReference
from tests.fakes import Caller, call, calling, reply

TOOLS: dict[str, Any] = {"tools": [{"type": "function", "name": name} for name in ("weather", "now", "light")]}
PARIS, ROME = '{"city": "Paris"}', '{"city": "Rome"}'


def calls(*made: tuple[str, str]) -> Any:
    return calling("Let me see. ", rest="".join(render_tool_call(ToolCall(*one)) for one in made))


async def respond(caller: Caller, **response: Any) -> list[str]:
    """The ids of the calls in the response."""
    caller.send("response.create", response=response)
    done = await caller.expect(wire.ResponseDone)
    return [item.call_id for item in done.response.output if isinstance(item, FunctionCall)]


def give(caller: Caller, call_id: str, output: str) -> None:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    caller.send("conversation.item.create", item=item)


def write(caller: Caller, text: str) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    caller.send("conversation.item.create", item=item)


def prompt(caller: Caller) -> list[tuple[str, str]]:
    """Role and text of each message of the last request, the model's replies as dots."""
    told = []
    for message in caller.engine.requests[-1].messages:
        content = message.content if isinstance(message.content, tuple) else (Text(message.content or ""),)
        texts = [part.text if isinstance(part, Text) else "..." for part in content]
        if message.role == "input":
            assert texts.pop() == AFTER_TOOL_RESULT
        told.append((message.role, " ".join(texts)))
    return told[1:]  # without the declaration


def results(caller: Caller) -> list[str]:
    return [text for role, text in prompt(caller) if role == "input"]


async def test_one_result_stands_as_the_model_was_trained() -> None:
    async with call(calls(("now", "{}")), reply("Noon."), settings=TOOLS) as caller:
        (now,) = await respond(caller)
        give(caller, now, "12:00")
        await respond(caller)
        last = caller.engine.requests[-1].messages[-1]
        assert last.content == tool_result("12:00").content == (Text("12:00"), Text(AFTER_TOOL_RESULT))


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_results_stand_in_the_order_of_their_calls(order: tuple[int, ...]) -> None:
    made = calls(("weather", PARIS), ("now", "{}"), ("light", "{}"))
    async with call(made, reply("Done."), settings=TOOLS) as caller:
        ids = await respond(caller)
        outputs = ["21 degrees", "12:00", "on"]
        for index in order:
            give(caller, ids[index], outputs[index])
        await respond(caller)
        assert results(caller) == ["weather\n21 degrees", "now\n12:00", "light\non"]


async def test_calls_of_one_function_differ_by_their_arguments() -> None:
    made = calls(("weather", PARIS), ("weather", ROME), ("now", "{}"))
    async with call(made, reply("Done."), settings=TOOLS) as caller:
        paris, rome, now = await respond(caller)
        give(caller, now, "12:00")
        give(caller, rome, "30 degrees")
        await respond(caller)
        assert results(caller) == [f"weather {ROME}\n30 degrees", "now\n12:00"]
        give(caller, paris, "21 degrees")
        await respond(caller)
        assert results(caller)[-1] == f"weather {PARIS}\n21 degrees"


@pytest.mark.parametrize("count", [1, 2])
async def test_a_late_result_is_told_with_its_function(count: int) -> None:
    made = [("weather", PARIS), ("now", "{}")][:count]
    async with call(calls(*made), reply("Later."), reply("Now."), settings=TOOLS) as caller:
        ids = await respond(caller)
        write(caller, "Never mind, who are you?")
        await respond(caller)
        for call_id in reversed(ids):
            give(caller, call_id, "late")
        await respond(caller)
        roles = [role for role, _ in prompt(caller)]
        assert roles == ["assistant", "human", "assistant", *["input"] * count]
        assert results(caller) == ["weather\nlate", "now\nlate"][:count]


async def test_results_of_two_turns_do_not_mix() -> None:
    scripts = calls(("weather", PARIS)), calls(("now", "{}")), reply("Done.")
    async with call(*scripts, settings=TOOLS) as caller:
        (weather,) = await respond(caller)
        give(caller, weather, "21 degrees")
        (now,) = await respond(caller)
        give(caller, now, "12:00")
        await respond(caller)
        assert [text for _, text in prompt(caller)] == ["... ...", "21 degrees", "... ...", "12:00"]


async def test_calls_that_the_client_wrote_bind_their_results() -> None:
    async with call(reply("Done."), settings=TOOLS) as caller:
        for name, arguments, call_id in (("weather", PARIS, "one"), ("now", "{}", "two")):
            item = {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}
            caller.send("conversation.item.create", item=item)
        give(caller, "two", "12:00")
        give(caller, "one", "21 degrees")
        await respond(caller)
        assert results(caller) == ["weather\n21 degrees", "now\n12:00"]


async def test_the_input_of_a_response_binds_its_results() -> None:
    async with call(calls(("weather", PARIS), ("now", "{}")), reply("Done."), settings=TOOLS) as caller:
        weather, now = await respond(caller)
        item_ids = [event.item.id for event in caller.of(wire.ConversationItemAdded)]
        given = [
            *(ItemReference(id=item_id).model_dump() for item_id in item_ids),
            {"type": "function_call_output", "call_id": now, "output": "12:00"},
            {"type": "function_call_output", "call_id": weather, "output": "21 degrees"},
        ]
        await respond(caller, input=given, conversation="none")
        assert results(caller) == ["weather\n21 degrees", "now\n12:00"]


def test_the_prompt_omits_the_call_id_of_results() -> None:
    bound = tool_result("a", "call_1")
    assert bound.call_id == "call_1"
    assert bound == tool_result("a") == Message("input", (Text("a"), Text(AFTER_TOOL_RESULT)))
