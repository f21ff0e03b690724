"""The MCP client against a real MCP server on this machine, over streamable HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra 'mcp' is not installed")

import httpx2
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from realtime.errors import ToolServerError
from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.ports.tools import ToolSet
from realtime.protocol import events as wire
from realtime.protocol.items import McpCall
from realtime.protocol.session_config import McpTool
from realtime.tools.hosts import HostPolicy
from realtime.tools.mcp_client import GuardedTransport, connect
from realtime.tools.mcp_servers import McpServers
from realtime.tools.registry import MAX_RESULT_CHARS
from tests.fakes import call, calling, reply

LOCAL = HostPolicy.read("127.0.0.1")


def example_server() -> MCPServer:
    server = MCPServer("example")

    @server.tool(annotations=ToolAnnotations(readOnlyHint=True))
    async def add(a: int, b: int) -> str:
        """Add two numbers."""
        return f"{a + b}"

    @server.tool()
    async def fail() -> str:
        raise ValueError("out of order")

    @server.tool()
    async def hang() -> str:
        await asyncio.sleep(60)
        return ""

    @server.tool()
    async def chatter() -> str:
        return "x" * 100_000

    return server


class Forgetful:
    """A server that, when it is told to, does not know the connection of the next message."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.refuse_next = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self.refuse_next:
            self.refuse_next = False
            await PlainTextResponse("no such session", 404)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class KeyNeeded:
    """Refuses whoever does not show the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and Request(scope).headers.get("authorization") != self._key:
            await PlainTextResponse("no", 401)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@asynccontextmanager
async def served(app: ASGIApp | None = None, port: int = 0) -> AsyncIterator[str]:
    """The URL of an MCP server that runs in this event loop."""
    app = app or example_server().streamable_http_app()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait([task], timeout=10)
        task.cancel()


def at(url: str, **fields: Any) -> McpTool:
    return McpTool(server_label="example", server_url=url, **fields)


async def test_tools_are_listed_with_their_schemas_and_called() -> None:
    async with served() as url, connect(at(url), LOCAL) as tools:
        add = tools.tools[0]
        assert (add.name, add.description, add.read_only) == ("add", "Add two numbers.", True)
        assert set(add.parameters["properties"]) == {"a", "b"}
        results = await asyncio.gather(*(tools.call("add", json.dumps({"a": n, "b": 1})) for n in range(5)))
        assert [result.output for result in results] == ["1", "2", "3", "4", "5"]


async def test_faults_of_calls_are_results() -> None:
    async with served() as url, connect(at(url), LOCAL, call_timeout_s=0.5) as tools:
        failed = await tools.call("fail", "{}")
        assert failed.fault is not None and failed.fault.kind == "execution"
        hung = await tools.call("hang", "{}")
        assert hung.fault is not None and "no answer within 0.5 s" in hung.output
        for name, arguments in (("add", '{"a": "x"}'), ("nothing", "{}")):
            assert (await tools.call(name, arguments)).fault is not None
        assert len((await tools.call("chatter", "{}")).output) < MAX_RESULT_CHARS + 20
        assert (await tools.call("add", '{"a": 1, "b": 1}')).output == "2"


async def test_servers_that_go_away_are_reported_in_calls() -> None:
    connected: asyncio.Future[ToolSet] = asyncio.get_running_loop().create_future()

    async def hold(url: str) -> None:
        async with connect(at(url), LOCAL, call_timeout_s=2) as tools:
            connected.set_result(tools)
            await asyncio.get_running_loop().create_future()

    async with served() as url:
        holding = asyncio.create_task(hold(url))
        tools = await connected
    result = await tools.call("add", '{"a": 1, "b": 1}')
    assert result.fault is not None and result.output.startswith("Error: ")
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_servers_that_restart_are_found_again() -> None:
    async with AsyncExitStack() as stack:
        async with served() as url:
            tools = await stack.enter_async_context(connect(at(url), LOCAL, call_timeout_s=20))
            assert (await tools.call("add", '{"a": 1, "b": 1}')).output == "2"
        async with served(port=httpx2.URL(url).port or 0):
            assert (await tools.call("add", '{"a": 2, "b": 1}')).output == "3"


async def test_servers_that_forget_connections_are_asked_again() -> None:
    inner = example_server().streamable_http_app()
    forgetful = Forgetful(inner)
    async with served(forgetful) as url, connect(at(url), LOCAL) as tools:
        for n in range(3):
            forgetful.refuse_next = True
            assert (await tools.call("add", json.dumps({"a": n, "b": 1}))).output == f"{n + 1}"


async def test_servers_with_the_older_transport_are_called() -> None:
    async with served(example_server().sse_app()) as url:
        sse = url.replace("/mcp", "/sse")
        async with connect(at(sse), LOCAL) as tools:
            assert [tool.name for tool in tools.tools] == ["add", "fail", "hang", "chatter"]
            results = await asyncio.gather(*(tools.call("add", json.dumps({"a": n, "b": 1})) for n in range(3)))
            assert [result.output for result in results] == ["1", "2", "3"]


async def test_the_key_is_shown() -> None:
    app = KeyNeeded(example_server().streamable_http_app(), "Bearer k")
    async with served(app) as url:
        async with connect(at(url, authorization="k"), LOCAL) as tools:
            assert (await tools.call("add", '{"a": 1, "b": 1}')).output == "2"
        async with connect(at(url, headers={"Authorization": "Bearer k"}), LOCAL) as tools:
            assert len(tools.tools) == 4
        with pytest.raises(ToolServerError, match="401"):
            async with connect(at(url), LOCAL):
                pass


async def test_unreachable_and_silent_servers_are_reported() -> None:
    with pytest.raises(ToolServerError):
        async with connect(at("http://127.0.0.1:9/mcp"), LOCAL):
            pass

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError("uvicorn goes on without a lifespan")
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(silent) as url:
        with pytest.raises(ToolServerError, match="no answer within"):
            async with connect(at(url), LOCAL, connect_timeout_s=0.3):
                pass


async def test_requests_respect_the_address_policy() -> None:
    async def never(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError("it was sent")

    async with httpx2.AsyncClient(
        transport=GuardedTransport(HostPolicy.read("*"), httpx2.MockTransport(never))
    ) as http:
        for url in ("https://localhost/mcp", "https://127.0.0.1/", "http://example.org/"):
            with pytest.raises(httpx2.ConnectError):
                await http.get(url)


async def test_the_name_is_kept_and_the_address_pinned() -> None:
    async def seen(request: httpx2.Request) -> httpx2.Response:
        assert request.url.host in ("127.0.0.1", "::1")
        assert request.headers["host"] == "localhost" and request.extensions["sni_hostname"] == "localhost"
        return httpx2.Response(200)

    transport = GuardedTransport(HostPolicy.read("localhost"), httpx2.MockTransport(seen))
    async with httpx2.AsyncClient(transport=transport) as http:
        assert (await http.get("https://localhost/mcp")).status_code == 200


# A whole session


async def test_sessions_call_real_servers_and_survive_their_end() -> None:
    sum_of = render_tool_call(ToolCall("add", '{"a": 20, "b": 22}'))
    servers = McpServers(LOCAL)
    async with call(calling("Let me add.", rest=sum_of), reply("42."), servers=servers) as caller:
        async with served() as url:
            tool = {"type": "mcp", "server_label": "sums", "server_url": url, "require_approval": "never"}
            caller.update(tools=[tool])
            await caller.expect(wire.McpListToolsCompleted)
            caller.send("response.create")
            first = await caller.expect(wire.ResponseDone)
            called = first.response.output[1]
            assert isinstance(called, McpCall) and called.output == "42"
            await caller.expect(wire.ResponseDone)
        caller.send("response.create")
        assert (await caller.expect(wire.ResponseDone)).response.status == "completed"


async def test_disallowed_servers_are_refused_when_named() -> None:
    async with call(servers=McpServers(HostPolicy())) as caller:
        caller.update(tools=[{"type": "mcp", "server_label": "s", "server_url": "http://169.254.169.254/"}])
        error = await caller.expect_error()
        assert error.param == "session.tools[0].server_url" and "mcp_hosts" in error.message
        caller.update(tools=[{"type": "mcp", "server_label": "s", "connector_id": "connector_gmail"}])
        assert "no connectors" in (await caller.expect_error()).message
