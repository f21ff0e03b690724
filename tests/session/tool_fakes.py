"""Tools and MCP servers that play a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from realtime.errors import ToolServerError
from realtime.ports.tools import ServerTool, ToolResult, ToolSet
from realtime.protocol.session_config import McpTool
from tests.fakes import Gate


def tool(name: str, *, read_only: bool = False) -> ServerTool:
    return ServerTool(name, f"The tool {name}.", {"type": "object", "properties": {}}, read_only)


class FakeTools:
    """`ToolSet`: each tool gives its result, behind its gate where it has one."""

    def __init__(self, results: Mapping[str, ToolResult], gates: Mapping[str, Gate] | None = None) -> None:
        self.tools: tuple[ServerTool, ...] = tuple(map(tool, results))
        self.calls: list[tuple[str, str]] = []
        self.cancelled: list[str] = []
        self._results = dict(results)
        self._gates = dict(gates or {})

    async def call(self, name: str, arguments: str) -> ToolResult:
        self.calls.append((name, arguments))
        try:
            if name in self._gates:
                await self._gates[name].wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        return self._results[name]


class FakeServers:
    """`ToolServers`: by label the tools, or why there are none."""

    def __init__(self, servers: Mapping[str, FakeTools | str]) -> None:
        self.connected: list[McpTool] = []
        self.left: list[str] = []
        self._servers = servers

    def refusal(self, server: McpTool) -> str | None:
        return "No." if server.server_label == "forbidden" else None

    @asynccontextmanager
    async def connect(self, server: McpTool) -> AsyncIterator[ToolSet]:
        found = self._servers[server.server_label]
        await asyncio.sleep(0)
        if isinstance(found, str):
            raise ToolServerError(found)
        self.connected.append(server)
        try:
            yield found
        finally:
            self.left.append(server.server_label)


def mcp(label: str = "docs", **fields: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": label, "server_url": "https://example.org/mcp", **fields}
