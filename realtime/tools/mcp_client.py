"""An MCP server over HTTP, by the official package (extra ``mcp``): streamable HTTP, else the older SSE transport.

If the server has forgotten the connection (it was restarted), the next call makes another. The package requires that
one task opens and closes a connection, so a `_Link` has such a task.
"""

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
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from realtime.errors import ToolServerError, log_text
from realtime.ports.tools import ServerTool, ToolFault, ToolResult, ToolSet
from realtime.protocol.session_config import McpTool
from realtime.tools.hosts import HostPolicy
from realtime.tools.registry import bounded

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
"""Limit of the handshake and the list of tools together."""

CALL_TIMEOUT_S = 30.0
"""Limit of one call."""

MAX_PAGES = 10
"""The most pages of a list of tools."""

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The longest answer."""

MAX_STREAM_BYTES = 16 * MAX_BODY_BYTES
"""Limit of all that a server sends unasked over one connection; in the older transport this includes its answers."""

OLDER_STATUS = (400, 404, 405, 406, 415)
"""A server of the older transport (protocol of 2024-11-05) answers a POST with one of these."""

FORGOTTEN_STATUS = (400, 404)
"""Answers to a message of a connection that the server does not know: it did not handle the message."""

SSE_READ_S = 3600.0
"""The longest silence of a server of the older transport: the length of a session."""


@asynccontextmanager
async def connect(
    server: McpTool,
    policy: HostPolicy,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    call_timeout_s: float = CALL_TIMEOUT_S,
) -> AsyncIterator[ToolSet]:
    """A connected server with its tools. Raises `ToolServerError`."""
    link = _Link(server, policy, connect_timeout_s)
    try:
        yield McpTools(link, await _list_tools(link), call_timeout_s)
    finally:
        await link.close()


class _Link:
    """The connection to one server, renewed when it is lost."""

    def __init__(self, server: McpTool, policy: HostPolicy, timeout_s: float) -> None:
        self.guard = GuardedTransport(policy)
        self._server = server
        self._timeout_s = timeout_s
        self._holding: asyncio.Task[None] | None = None
        self._client: asyncio.Future[mcp.Client] | None = None

    async def client(self) -> mcp.Client:
        """The connection, made anew if there is none. Raises `ToolServerError`."""
        if self._holding is None or self._holding.done() or self._client is None:
            self._client = asyncio.get_running_loop().create_future()
            self._holding = asyncio.create_task(self._hold(self._client), name="MCP connection")
        return await asyncio.shield(self._client)

    def renew(self, lost: mcp.Client) -> None:
        """Discard this connection: the next `client` is another."""
        if self._client is not None and self._client.done() and not self._client.exception():
            if self._client.result() is lost and self._holding is not None:
                self._holding.cancel()
                self._client = None

    async def close(self) -> None:
        if self._holding is not None:
            self._holding.cancel()
            await asyncio.gather(self._holding, return_exceptions=True)
        await self.guard.aclose()

    async def _hold(self, ready: asyncio.Future[mcp.Client]) -> None:
        """Open a connection and keep it until this task is cancelled or the connection breaks."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._timeout_s):
                    client = await self._open(stack)
                ready.set_result(client)
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            _fail(ready, f"it gave no answer within {self._timeout_s:g} s")
        except (Exception, ExceptionGroup) as error:  # the library's groups hold whatever its tasks met
            _fail(ready, self.guard.refusal or _reason(error))
        finally:
            ready.cancel()

    async def _open(self, stack: AsyncExitStack) -> mcp.Client:
        url = self._server.server_url
        assert url is not None
        http = await stack.enter_async_context(self._http(_headers(self._server)))
        try:
            async with AsyncExitStack() as attempt:
                transport = streamable_http_client(url, http_client=http)
                client = await attempt.enter_async_context(mcp.Client(transport, cache=None))
                await client.list_tools()
                stack.push_async_exit(attempt.pop_all())
                return client
        except (Exception, ExceptionGroup):
            if self.guard.refused not in OLDER_STATUS:
                raise
        older = sse_client(url, _headers(self._server), httpx_client_factory=self._http, sse_read_timeout=SSE_READ_S)
        return await stack.enter_async_context(mcp.Client(older, cache=None))

    def _http(
        self,
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=Shared(self.guard),
            headers=headers,
            # A silent answer ends its call (below), not the connection that other calls use.
            timeout=httpx2.Timeout(self._timeout_s, read=None),
            auth=auth,
            trust_env=False,
        )


def _fail(ready: asyncio.Future[mcp.Client], why: str) -> None:
    if not ready.done():
        ready.set_exception(ToolServerError(why))
        ready.exception()  # somebody may have given up waiting for it


class McpTools:
    """`ToolSet` over one server."""

    def __init__(self, link: _Link, tools: Sequence[ServerTool], timeout_s: float) -> None:
        self._link = link
        self._guard = link.guard
        self._tools = tuple(tools)
        self._timeout_s = timeout_s

    @property
    def tools(self) -> tuple[ServerTool, ...]:
        return self._tools

    async def call(self, name: str, arguments: str) -> ToolResult:
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._call(name, json.loads(arguments or "{}"))
        except TimeoutError:
            return _failed(ToolFault("execution", f"The tool gave no answer within {self._timeout_s:g} seconds."))
        except Exception as error:  # the call's border: whatever the library or the server did, the session goes on
            logger.info("a call of an MCP tool failed: %s", log_text(_leaf(error)))
            return _failed(self._fault(error))
        text = bounded(_text(result))
        return _failed(ToolFault("execution", text)) if result.is_error else ToolResult(text)

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call once more over a new connection, if the old one did not deliver the call."""
        client = await self._link.client()
        try:
            return await client.call_tool(name, arguments)
        except Exception:
            if not self._guard.undelivered:
                raise
            logger.info("an MCP server has lost its connection; another is made")
        self._link.renew(client)
        return await (await self._link.client()).call_tool(name, arguments)

    def _fault(self, error: Exception) -> ToolFault:
        if self._guard.refused is not None:
            return ToolFault(
                "http", f"The MCP server answered with HTTP status {self._guard.refused}.", self._guard.refused
            )
        if isinstance(error, MCPError):
            return ToolFault("protocol", error.message[:500], error.code)
        return ToolFault("execution", "The MCP server cannot be reached.")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends every request to an address that the policy allows, resolved here only.

    ``refused``: the HTTP status of the last answer if that was an error; the library does not report it.
    """

    def __init__(self, policy: HostPolicy, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self.refused: int | None = None
        self.undelivered = False
        """Whether the last message did not reach a server that knows the connection."""
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
        posts = request.method == "POST"  # servers need not know the other methods
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.ConnectError:
            self.undelivered = posts or self.undelivered
            raise
        if posts:
            self.refused = response.status_code if response.is_error else None
            self.undelivered = response.status_code in FORGOTTEN_STATUS
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, MAX_BODY_BYTES if posts else MAX_STREAM_BYTES)
        return response

    @property
    def refusal(self) -> str | None:
        return None if self.refused is None else f"it answered with HTTP status {self.refused}"

    async def aclose(self) -> None:
        await self._inner.aclose()


class Shared(httpx2.AsyncBaseTransport):
    """A transport that closing a client does not close."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._inner.handle_async_request(request)


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for chunk in self._inner:
            left -= len(chunk)
            if left < 0:
                raise httpx2.ReadError(f"the answer is longer than {self._most} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _addresses(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


async def _list_tools(link: _Link) -> list[ServerTool]:
    client = await link.client()
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
    """The text of a result."""
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
