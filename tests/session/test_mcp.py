"""MCP servers of a session: their tools are listed, called inside the response, and approved where the client wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from realtime.admission.manager import first_settings
from realtime.ports.messages import Message, Text
from realtime.ports.tool_calls import AFTER_TOOL_RESULT, ToolCall, render_tool_call
from realtime.ports.tools import ToolFault, ToolResult
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import Ids
from realtime.protocol.items import (
    FunctionCall,
    McpApprovalRequest,
    McpCall,
    McpHttpError,
    McpListTools,
)
from realtime.protocol.session_config import Session
from realtime.protocol.tools import MAX_DECLARED_BYTES
from realtime.session.config import SessionConfig
from tests.fakes import Caller, Gate, call, calling, reply
from tests.session.tool_fakes import FakeServers, FakeTools, mcp

FOUND = ToolResult("Found it.")
SEARCH = render_tool_call(ToolCall("search", "{}"))
TOLD = Message("input", (Text("Found it."), Text(AFTER_TOOL_RESULT)))


async def connect(caller: Caller, *tools: dict[str, Any], **fields: Any) -> None:
    caller.update(tools=[*tools], **fields)
    await caller.expect(wire.SessionUpdated)
    await caller.settle()


def names(caller: Caller, request: int = -1) -> list[str]:
    return [function.name for function in caller.engine.requests[request].calls.functions]


async def respond(caller: Caller, **response: Any) -> wire.ResponseDone:
    caller.send("response.create", response=response)
    return await caller.expect(wire.ResponseDone)


# Listing


async def test_tools_of_a_server_are_listed_and_offered() -> None:
    async with call(servers=FakeServers({"docs": FakeTools({"search": FOUND})})) as caller:
        caller.update(tools=[mcp(require_approval="never")])
        await caller.expect(wire.McpListToolsCompleted)
        await caller.settle()
        types = [kind for kind in caller.types() if kind != "session.created"]
        assert types == [
            "session.updated",
            "conversation.item.added",
            "mcp_list_tools.in_progress",
            "mcp_list_tools.completed",
            "conversation.item.done",
        ]
        listed = caller.of(wire.ConversationItemDone)[0].item
        assert isinstance(listed, McpListTools) and [tool.name for tool in listed.tools] == ["search"]
        await respond(caller)
        assert names(caller) == ["search"]


async def test_servers_named_at_the_start_are_listed_too() -> None:
    servers = FakeServers({"docs": FakeTools({"search": FOUND})})
    async with call(servers=servers, settings={"tools": [mcp()]}) as caller:
        await caller.expect(wire.McpListToolsCompleted)


async def test_failing_servers_cost_only_their_tools() -> None:
    servers = FakeServers({"docs": "it is down", "good": FakeTools({"search": FOUND})})
    async with call(servers=servers) as caller:
        await connect(caller, mcp("docs"), mcp("good"))
        (failed,) = caller.of(wire.McpListToolsFailed)
        assert failed.message == "it is down"
        await respond(caller)
        assert names(caller) == ["search"]


async def test_servers_that_are_never_contacted_are_refused_directly() -> None:
    async with call(servers=FakeServers({})) as caller:
        caller.update(tools=[mcp("forbidden")])
        error = await caller.expect_error()
        assert (error.code, error.param) == ("invalid_value", "session.tools[0].server_url")
        caller.update(tools=[mcp("a"), mcp("a")])
        assert (await caller.expect_error()).param == "session.tools[1].server_label"


async def test_a_server_that_is_taken_out_is_left() -> None:
    servers = FakeServers({"docs": FakeTools({"search": FOUND})})
    async with call(servers=servers) as caller:
        await connect(caller, mcp())
        await connect(caller, mcp())
        assert len(servers.connected) == 1
        await connect(caller)
        assert servers.left == ["docs"]
        await respond(caller)
        assert names(caller) == []


async def test_the_end_of_the_session_leaves_its_servers() -> None:
    servers = FakeServers({"docs": FakeTools({"search": FOUND})})
    async with call(servers=servers) as caller:
        await connect(caller, mcp())
    assert servers.left == ["docs"]


@pytest.mark.parametrize(
    ("allowed", "offered"),
    [
        (None, ["search", "write"]),
        (["write"], ["write"]),
        ({"read_only": True}, ["search"]),
        ({"tool_names": ["x"]}, []),
    ],
)
async def test_only_allowed_tools_are_offered(allowed: Any, offered: list[str]) -> None:
    tools = FakeTools({"search": FOUND, "write": FOUND})
    tools.tools = tuple(
        type(tool)(tool.name, tool.description, tool.parameters, tool.name == "search") for tool in tools.tools
    )
    async with call(servers=FakeServers({"docs": tools})) as caller:
        await connect(caller, mcp(allowed_tools=allowed))
        await respond(caller)
        assert names(caller) == offered


async def test_tools_of_the_same_name_are_told_apart() -> None:
    servers = FakeServers({"a": FakeTools({"search": FOUND}), "b": FakeTools({"search": FOUND})})
    async with call(servers=servers) as caller:
        await connect(caller, mcp("a"), mcp("b"))
        await respond(caller)
        assert names(caller) == ["search", "b_search"]
        await respond(caller, tool_choice={"type": "mcp", "server_label": "b"})
        assert names(caller) == ["b_search"] and caller.engine.requests[-1].calls.required


async def test_responses_may_name_only_servers_of_the_session() -> None:
    async with call(servers=FakeServers({"docs": FakeTools({"search": FOUND})})) as caller:
        await connect(caller, mcp())
        await respond(caller, tools=[mcp()])
        assert names(caller) == ["search"]
        caller.send("response.create", response={"tools": [mcp("other")]}, event_id="c")
        error = await caller.expect_error()
        assert (error.param, error.event_id) == ("response.tools[0].server_label", "c")


async def test_secrets_are_kept_and_never_told() -> None:
    servers = FakeServers({"docs": FakeTools({"search": FOUND})})
    async with call(servers=servers) as caller:
        await connect(caller, mcp(authorization="secret", headers={"X-Key": "hidden"}))
        await connect(caller, mcp(authorization="secret", headers={"X-Key": "hidden"}), instructions="other")
        caller.update(instructions="third")
        await caller.expect(wire.SessionUpdated)
        (server,) = servers.connected
        assert (server.authorization, server.headers) == ("secret", {"X-Key": "hidden"})
        settings = caller.session.settings
        assert isinstance(settings, Session) and settings.tools == (server,)
        for event in caller.seen:
            assert "secret" not in event.model_dump_json() and "hidden" not in event.model_dump_json()


# ReplyToolCalls


async def test_server_calls_run_inside_the_response_that_continues() -> None:
    tools = FakeTools({"search": FOUND})
    async with call(
        calling("Let me look.", rest=SEARCH), reply("Here."), servers=FakeServers({"docs": tools})
    ) as caller:
        await connect(caller, mcp(require_approval="never"))
        caller.seen.clear()
        first = await respond(caller)
        await caller.expect(wire.ResponseDone)
        types = caller.types()
        start = types.index("response.mcp_call_arguments.delta")
        assert types[start - 2 : types.index("response.done") + 1] == [
            "response.output_item.added",
            "conversation.item.added",
            "response.mcp_call_arguments.delta",
            "response.mcp_call_arguments.done",
            "response.mcp_call.in_progress",
            "response.mcp_call.completed",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        called = first.response.output[1]
        assert isinstance(called, McpCall)
        assert (called.name, called.server_label, called.arguments, called.output) == (
            "search",
            "docs",
            "{}",
            "Found it.",
        )
        told = caller.engine.requests[1].messages
        assert told[-1] == TOLD and told[-2].role == "assistant"


async def test_failed_calls_are_reported_as_failed_with_text() -> None:
    tools = FakeTools({"search": ToolResult("Error: no.", ToolFault("http", "no.", 401))})
    async with call(calling(rest=SEARCH), reply("Sorry."), servers=FakeServers({"docs": tools})) as caller:
        await connect(caller, mcp(require_approval="never"))
        first = await respond(caller)
        await caller.expect(wire.ResponseDone)
        called = first.response.output[0]
        assert isinstance(called, McpCall) and called.output is None
        assert called.error == McpHttpError(code=401, message="no.")
        assert caller.of(wire.ResponseMcpCallFailed) and first.response.status == "completed"
        assert caller.engine.requests[1].messages[-1].role == "input"


async def test_several_calls_run_together_and_end_in_order() -> None:
    gate = Gate()
    tools = FakeTools({"search": FOUND, "slow": ToolResult("At last.")}, {"slow": gate})
    rest = render_tool_call(ToolCall("slow", "{}")) + SEARCH
    async with call(calling(rest=rest), reply("Both."), servers=FakeServers({"docs": tools})) as caller:
        await connect(caller, mcp(require_approval="never"))
        caller.send("response.create")
        await gate.reached.wait()
        await caller.settle()
        assert [name for name, _ in tools.calls] == ["slow", "search"]
        gate.open()
        first = await caller.expect(wire.ResponseDone)
        await caller.expect(wire.ResponseDone)
        results = [item.output for item in first.response.output if isinstance(item, McpCall)]
        assert results == ["At last.", "Found it."]
        roles = [message.role for message in caller.engine.requests[1].messages]
        assert roles[-3:] == ["assistant", "input", "input"]


async def test_client_functions_come_last_and_the_client_continues() -> None:
    rest = render_tool_call(ToolCall("mine", "{}")) + SEARCH
    function = {"type": "function", "name": "mine"}
    servers = FakeServers({"docs": FakeTools({"search": FOUND})})
    async with call(calling(rest=rest), servers=servers) as caller:
        await connect(caller, mcp(require_approval="never"), function)
        first = await respond(caller)
        await caller.settle()
        assert [type(item) for item in first.response.output] == [McpCall, FunctionCall]
        assert len(caller.engine.requests) == 1


async def test_an_interruption_ends_the_call_too() -> None:
    gate = Gate()
    tools = FakeTools({"search": FOUND}, {"search": gate})
    async with call(calling(rest=SEARCH), servers=FakeServers({"docs": tools})) as caller:
        await connect(caller, mcp(require_approval="never"))
        caller.send("response.create")
        await gate.reached.wait()
        caller.send("response.cancel")
        finished = await caller.expect(wire.ResponseDone)
        await caller.settle()
        assert finished.response.status == "cancelled" and tools.cancelled == ["search"]
        called = finished.response.output[0]
        assert isinstance(called, McpCall) and called.error is not None
        assert (await respond(caller)).response.status == "completed"


# Approval


async def question(caller: Caller) -> McpApprovalRequest:
    finished = await respond(caller)
    asked = finished.response.output[-1]
    assert isinstance(asked, McpApprovalRequest)
    return asked


def decide(caller: Caller, request_id: str, approve: bool, **fields: Any) -> None:
    item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve, **fields}
    caller.send("conversation.item.create", item=item, event_id="decide")


async def test_clients_approve_calls_unless_they_said_otherwise() -> None:
    tools = FakeTools({"search": FOUND})
    async with call(calling(rest=SEARCH), reply("Here."), servers=FakeServers({"docs": tools})) as caller:
        await connect(caller, mcp())
        asked = await question(caller)
        assert (asked.server_label, asked.name, asked.arguments) == ("docs", "search", "{}")
        await caller.settle()
        assert not tools.calls and len(caller.engine.requests) == 1
        decide(caller, asked.id, True)
        finished = await caller.expect(wire.ResponseDone)
        called, said = finished.response.output
        assert isinstance(called, McpCall)
        assert (called.approval_request_id, called.output) == (asked.id, "Found it.")
        assert said.type == "message"
        assert caller.engine.requests[1].messages[-1] == TOLD


async def test_refused_calls_are_not_made_and_are_reported() -> None:
    tools = FakeTools({"search": FOUND})
    async with call(calling(rest=SEARCH), reply("As you like."), servers=FakeServers({"docs": tools})) as caller:
        await connect(caller, mcp())
        asked = await question(caller)
        decide(caller, asked.id, False, reason="Too risky.")
        await caller.expect(wire.ResponseDone)
        assert not tools.calls
        content = caller.engine.requests[1].messages[-1].content
        assert content == (Text("The user did not allow this call. Too risky."), Text(AFTER_TOOL_RESULT))


async def test_only_a_question_that_waits_can_be_answered() -> None:
    async with call(calling(rest=SEARCH), servers=FakeServers({"docs": FakeTools({"search": FOUND})})) as caller:
        await connect(caller, mcp())
        asked = await question(caller)
        decide(caller, "item_unknown", True)
        error = await caller.expect_error()
        assert (error.code, error.param, error.event_id) == ("invalid_value", "item.approval_request_id", "decide")
        decide(caller, asked.id, True)
        await caller.expect(wire.ResponseDone)
        decide(caller, asked.id, True)
        await caller.expect_error()


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        (None, True),
        ("always", True),
        ("never", False),
        ({"never": {"tool_names": ["search"]}}, False),
        ({"never": {"tool_names": ["other"]}}, True),
        ({"never": {"read_only": True}}, True),
        ({"always": {"tool_names": ["search"]}, "never": {"tool_names": ["search"]}}, True),
    ],
)
async def test_rules_of_approval(rule: Any, asks: bool) -> None:
    tools = FakeTools({"search": FOUND})
    async with call(calling(rest=SEARCH), servers=FakeServers({"docs": tools})) as caller:
        await connect(caller, mcp(require_approval=rule))
        finished = await respond(caller)
        assert isinstance(finished.response.output[0], McpApprovalRequest) is asks
        assert bool(tools.calls) is not asks


# The length of all declarations


def wordy(characters: int) -> FakeTools:
    """One tool whose description is so long."""
    tools = FakeTools({"search": FOUND})
    tools.tools = tuple(replace(tool, description="x" * characters) for tool in tools.tools)
    return tools


async def test_servers_with_too_long_tools_name_the_limit() -> None:
    servers = FakeServers({"long": wordy(70_000), "good": FakeTools({"find": FOUND})})
    async with call(servers=servers) as caller:
        await connect(caller, mcp("long"), mcp("good"))
        (failed,) = caller.of(wire.McpListToolsFailed)
        assert "70" in str(failed.message) and str(MAX_DECLARED_BYTES) in str(failed.message)
        await respond(caller)
        assert names(caller) == ["find"]


async def test_two_servers_share_the_limit() -> None:
    servers = FakeServers({"a": wordy(40_000), "b": wordy(40_000)})
    async with call(servers=servers) as caller:
        await connect(caller, mcp("a"), mcp("b"))
        assert len(caller.of(wire.McpListToolsFailed)) == len(caller.of(wire.McpListToolsCompleted)) == 1


async def test_functions_count_beside_the_tools_of_servers() -> None:
    function = {"type": "function", "name": "f", "description": "y" * 40_000}
    async with call(servers=FakeServers({"a": wordy(40_000)})) as caller:
        await connect(caller, mcp("a"))
        caller.update(tools=[mcp("a"), function])
        error = await caller.expect_error()
        assert (error.code, error.param) == ("invalid_value", "session.tools")
        assert str(MAX_DECLARED_BYTES) in error.message
        caller.send("response.create", response={"tools": [mcp("a"), function]})
        assert (await caller.expect_error()).param == "response.tools"
        await respond(caller, tools=[function])


def test_functions_alone_have_the_limit_too() -> None:
    function = {"type": "function", "name": "f", "parameters": {"type": "object", "description": "y" * 70_000}}
    with pytest.raises(ProtocolError) as refused:
        first_settings(SessionConfig(), Ids("t"), patch={"type": "realtime", "tools": [function]})
    assert refused.value.param == "session.tools"
