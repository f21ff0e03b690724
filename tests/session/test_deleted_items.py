"""An item that the client has deleted is never told of again, whatever was going on with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.ports.tools import ToolResult, ToolSet
from realtime.protocol import events as wire
from realtime.protocol.session_config import McpTool
from tests.fakes import Caller, Gate, call, calling, delta, reply
from tests.session.tool_fakes import FakeServers, FakeTools, mcp


async def delete(caller: Caller, item_id: str) -> None:
    caller.send("conversation.item.delete", item_id=item_id)
    await caller.expect(wire.ConversationItemDeleted)


def named_after(caller: Caller, item_id: str) -> list[str]:
    """The types of the events after the deletion that name the item."""
    at = caller.types().index("conversation.item.deleted")
    return [event.type for event in caller.seen[at + 1 :] if item_id in event.model_dump_json()]


@pytest.mark.parametrize("modality", ["audio", "text"])
async def test_deleting_a_running_replys_item_cancels_it(modality: str) -> None:
    async with call([delta("One", 50), Gate()], reply("Two.")) as caller:
        caller.send("response.create", response={"output_modalities": [modality]})
        item_id = (await caller.expect(wire.ConversationItemAdded)).item.id
        await caller.settle()
        await delete(caller, item_id)
        response = (await caller.expect(wire.ResponseDone)).response
        assert (response.status, response.output) == ("cancelled", ())
        assert response.status_details is not None and response.status_details.reason == "client_cancelled"
        assert named_after(caller, item_id) == []
        caller.send("response.create")
        assert (await caller.expect(wire.ResponseDone)).response.status == "completed"


async def test_deleting_another_item_leaves_the_reply_alone() -> None:
    gate = Gate()
    async with call([delta("One", 5), gate, *reply("two.")]) as caller:
        half_said = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
        caller.send("conversation.item.create", item=half_said | {"id": "mine"})
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await delete(caller, "mine")
        gate.open()
        assert (await caller.expect(wire.ResponseDone)).response.status == "completed"


async def test_a_deleted_mcp_call_ends_in_silence() -> None:
    gate = Gate()
    servers = FakeServers({"docs": FakeTools({"search": ToolResult("Found.")}, {"search": gate})})
    script = calling(rest=render_tool_call(ToolCall("search", "{}")))
    async with call(script, servers=servers) as caller:
        caller.update(tools=[mcp(require_approval="never")])
        await caller.expect(wire.McpListToolsCompleted)
        caller.send("response.create")
        item_id = (await caller.expect(wire.ResponseMcpCallInProgress)).item_id
        await gate.reached.wait()
        await delete(caller, item_id)
        gate.open()
        response = (await caller.expect(wire.ResponseDone)).response
        assert (response.status, response.output) == ("completed", ())
        assert named_after(caller, item_id) == []


class SlowServers(FakeServers):
    """Connects when the gate opens."""

    gate = Gate()

    @asynccontextmanager
    async def connect(self, server: McpTool) -> AsyncIterator[ToolSet]:
        await self.gate.wait()
        async with super().connect(server) as tools:
            yield tools


async def test_a_deleted_list_of_tools_is_not_told() -> None:
    servers = SlowServers({"docs": FakeTools({"search": ToolResult("Found.")})})
    async with call(servers=servers) as caller:
        caller.update(tools=[mcp(require_approval="never")])
        item_id = (await caller.expect(wire.McpListToolsInProgress)).item_id
        await delete(caller, item_id)
        servers.gate.open()
        await caller.settle()
        assert named_after(caller, item_id) == []
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert [function.name for function in caller.engine.requests[-1].calls.functions] == ["search"]
