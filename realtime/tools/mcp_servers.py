"""`realtime.ports.tools.ToolServers`: the MCP servers that the operator allows.

The client (`realtime.tools.mcp_client`) needs the package ``mcp`` and is imported on first use.
"""

from __future__ import annotations

import importlib.util
from contextlib import AbstractAsyncContextManager

from realtime.errors import ToolServerError
from realtime.ports.tools import ToolSet
from realtime.protocol.session_config import McpTool
from realtime.tools.hosts import HostPolicy


class McpServers:
    """Connects to the MCP servers that sessions name, if ``policy`` allows them."""

    def __init__(self, policy: HostPolicy) -> None:
        self._policy = policy

    def refusal(self, server: McpTool) -> str | None:
        if server.server_url is None:
            return (
                "This server has no connectors and no tunnels: it reaches MCP servers by 'server_url' only. Give the "
                "address of the service's own MCP server, with its token in 'authorization'."
            )
        refusal = self._policy.refusal(server.server_url)
        if refusal is not None:
            return f"The MCP server {server.server_label[:80]!r} is not contacted. {refusal}"
        if importlib.util.find_spec("mcp") is None:
            return "This server lacks the MCP client; its operator can add it: pip install 'realtime-voice[mcp]'."
        return None

    def connect(self, server: McpTool) -> AbstractAsyncContextManager[ToolSet]:
        try:
            from realtime.tools.mcp_client import connect  # an extra: most servers run without it
        except ImportError as error:
            raise ToolServerError(f"The package 'mcp' of this server cannot be used: {error}") from error

        return connect(server, self._policy)
