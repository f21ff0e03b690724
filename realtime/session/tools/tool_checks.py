"""Whether a session can have the tools that its settings name: the same checks for `session.update` and for settings
that come before the session, in a request for a client secret or a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from realtime.ports.tools import ServerTool
from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.session_config import Session
from realtime.protocol.tools import FunctionTool, McpTool, Tool, check_declared_bytes, declared_bytes
from realtime.session.quota import Quota
from realtime.session.services import Services
from realtime.session.tools.offer import check_choice
from realtime.session.tools.schema_budget import SchemaBudget


class ToolChecks:
    """The checks of one session, or of settings before there is one."""

    def __init__(self, services: Services, quota: Quota, clock: Callable[[], float]) -> None:
        """``clock``: seconds, monotonic."""
        self._builtin = services.tools
        self._servers = services.tool_servers
        self._schemas = SchemaBudget(services.schema_check, quota, clock)

    async def first_settings(self, settings: Session) -> None:
        """`session` for settings that a session is to begin with, when no MCP server has listed its tools yet."""
        offered = [as_function(tool, tool.name) for tool in active_tools(self._builtin.tools, settings.server_tools)]
        functions = [tool for tool in settings.tools if isinstance(tool, FunctionTool)]
        await self.session(settings, sum(map(declared_bytes, (*offered, *functions))))

    async def session(self, settings: Session, declared: int) -> None:
        """Raises `ProtocolError` for tools that a session cannot have. ``declared``: bytes of all declarations."""
        known = [tool.name for tool in self._builtin.tools]
        unknown = [name for name in settings.server_tools or () if name not in known]
        if unknown:
            raise ProtocolError(
                "invalid_value",
                f"This server has no tool {quote(unknown[0])}. It has: {', '.join(known) or 'none'}.",
                param="session.server_tools",
            )
        labels: set[str] = set()
        for index, tool in enumerate(settings.tools):
            if isinstance(tool, McpTool):
                self._check_server(tool, labels, f"session.tools[{index}]")
        own = active_tools(self._builtin.tools, settings.server_tools)
        await self.functions([*settings.tools, *own], settings.tool_choice, declared, "session")

    async def functions(self, tools: Sequence[Tool | ServerTool], choice: Any, declared: int, where: str) -> None:
        """The checks that a session and a response share. ``tools``: the client's, then the server's own. ``where``:
        "session" or "response"."""
        check_declared_bytes(declared, where)
        self._check_choice(tools, choice, where)
        await self._schemas.check(tools, where)

    def _check_server(self, tool: McpTool, labels: set[str], where: str) -> None:
        if tool.server_label in labels:
            raise ProtocolError(
                "invalid_value",
                f"Two MCP servers are called {quote(tool.server_label)}. Give each a label of its own.",
                param=f"{where}.server_label",
            )
        labels.add(tool.server_label)
        refusal = self._servers.refusal(tool)
        if refusal is not None:
            named = next((name for name in ("connector_id", "tunnel_id") if getattr(tool, name, None)), "server_url")
            raise ProtocolError("invalid_value", refusal, param=f"{where}.{named}")

    @staticmethod
    def _check_choice(tools: Sequence[Tool | ServerTool], choice: Any, where: str) -> None:
        if any(isinstance(tool, McpTool) for tool in tools):
            return  # what a server offers is known later
        check_choice(choice, [tool.name for tool in tools if isinstance(tool, (FunctionTool, ServerTool))], where)


def active_tools(tools: Sequence[ServerTool], active: Sequence[str] | None) -> list[ServerTool]:
    """Those of the server's own tools that a session has: the ones that it names, or None: those offered to all."""
    return [tool for tool in tools if (tool.offered if active is None else tool.name in active)]


def as_function(tool: ServerTool, name: str) -> FunctionTool:
    """The declaration of a tool that the server runs, under this name."""
    return FunctionTool.model_construct(
        type="function", name=name, description=tool.description, parameters=dict(tool.parameters)
    )
