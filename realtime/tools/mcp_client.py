"""One connection to an MCP server over streamable HTTP, by the official package (extra ``mcp``)."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from realtime.errors import ToolServerError
from realtime.protocol.session_config import McpTool
from realtime.session.tool_ports import ServerTool, ToolFault, ToolResult, ToolSet
from realtime.tools.hosts import HostPolicy
from realtime.tools.registry import bounded

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
"""For the handshake and the list of tools together."""

CALL_TIMEOUT_S = 30.0
"""For one call of a tool."""

MAX_PAGES = 10
"""Of a list of tools."""

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Of one answer."""


@asynccontextmanager
async def connect(
    server: McpTool,
    policy: HostPolicy,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    call_timeout_s: float = CALL_TIMEOUT_S,
) -> AsyncIterator[ToolSet]:
    """Connected, with its tools listed. Raises `ToolServerError`, also when the connection breaks for good."""
    assert server.server_url is not None
    guard = GuardedTransport(policy)
    try:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(connect_timeout_s):
                http = httpx2.AsyncClient(
                    transport=guard,
                    headers=_headers(server),
                    # A silent answer ends its call (below), not the connection that other calls use.
                    timeout=httpx2.Timeout(connect_timeout_s, read=None),
                    trust_env=False,
                )
                await stack.enter_async_context(http)
                transport = streamable_http_client(server.server_url, http_client=http)
                client = await stack.enter_async_context(mcp.Client(transport, cache=None))
                tools = await _list_tools(client)
            yield McpTools(client, tools, guard, call_timeout_s)
    except TimeoutError:
        raise ToolServerError(f"it gave no answer within {connect_timeout_s:g} s") from None
    except (Exception, ExceptionGroup) as error:  # the library's groups hold whatever its tasks met
        raise ToolServerError(guard.refusal or _reason(error)) from error


class McpTools:
    """`ToolSet` over one connected server."""

    def __init__(
        self, client: mcp.Client, tools: Sequence[ServerTool], guard: GuardedTransport, timeout_s: float
    ) -> None:
        self._client = client
        self._tools = tuple(tools)
        self._guard = guard
        self._timeout_s = timeout_s

    @property
    def tools(self) -> tuple[ServerTool, ...]:
        return self._tools

    async def call(self, name: str, arguments: str) -> ToolResult:
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._client.call_tool(name, json.loads(arguments or "{}"))
        except TimeoutError:
            return _failed(ToolFault("execution", f"The tool gave no answer within {self._timeout_s:g} seconds."))
        except Exception as error:  # the call's border: whatever the library or the server did, the session goes on
            logger.info("a call of an MCP tool failed: %s", _reason(error))
            return _failed(self._fault(error))
        text = bounded(_text(result))
        return _failed(ToolFault("execution", text)) if result.is_error else ToolResult(text)

    def _fault(self, error: Exception) -> ToolFault:
        if self._guard.refused is not None:
            return ToolFault(
                "http", f"The MCP server answered with HTTP status {self._guard.refused}.", self._guard.refused
            )
        if isinstance(error, MCPError):
            return ToolFault("protocol", error.message[:500], error.code)
        return ToolFault("execution", "The MCP server cannot be reached.")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Every request goes to an address that the policy allows, looked up here and not again by anybody else.

    ``refused``: the HTTP status of the last answer where that was an error, which the library does not tell.
    """

    def __init__(self, policy: HostPolicy, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self.refused: int | None = None
        self._policy = policy
        self._inner = inner or httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        refusal = self._policy.refusal(str(request.url))
        if refusal is not None:
            raise httpx2.ConnectError(refusal, request=request)
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        address = self._policy.choose_address(host, port, await _addresses(host, port))
        if address is None:
            raise httpx2.ConnectError(f"{host} has no public address", request=request)
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=address)  # the header "Host" keeps the name
        response = await self._inner.handle_async_request(request)
        if request.method == "POST":  # servers need not know the other methods
            self.refused = response.status_code if response.is_error else None
        if request.method == "POST" and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream)
        return response

    @property
    def refusal(self) -> str | None:
        return None if self.refused is None else f"it answered with HTTP status {self.refused}"

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_BODY_BYTES
        async for chunk in self._inner:
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError(f"the answer is longer than {MAX_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _addresses(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


async def _list_tools(client: mcp.Client) -> list[ServerTool]:
    tools: list[ServerTool] = []
    cursor = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += map(_declared, page.tools)
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


def _declared(tool: Any) -> ServerTool:
    annotations = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else None
    read_only = bool(tool.annotations and tool.annotations.read_only_hint)
    return ServerTool(tool.name, tool.description or "", tool.input_schema, read_only, annotations)


def _headers(server: McpTool) -> dict[str, str]:
    headers = dict(server.headers or {})
    if server.authorization:
        scheme = "" if " " in server.authorization else "Bearer "
        headers["Authorization"] = scheme + server.authorization
    return headers


def _text(result: Any) -> str:
    """What of a result can be told in words."""
    parts = [part.text if part.type == "text" else f"[{part.type}]" for part in result.content]
    if parts:
        return "\n".join(parts)
    if result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "The tool gave no output."


def _failed(fault: ToolFault) -> ToolResult:
    return ToolResult(f"Error: {fault.message}", fault)


def _reason(error: BaseException) -> str:
    leaf = _leaf(error)
    return f"{type(leaf).__name__}: {leaf}"[:300]


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
