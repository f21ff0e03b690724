"""The tools that the server runs itself, as a session sees them: Protocols, so that tests pass fakes.

A `ToolSet` is a group of tools that can be called: the server's own, or those of one MCP server. `ToolServers` connects
to MCP servers. Both live in `realtime.tools`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from realtime.protocol.session_config import McpTool


@dataclass(frozen=True, slots=True)
class ServerTool:
    """``parameters``: JSON schema of the arguments. ``annotations``: what an MCP server says of it, hints only.
    ``offered``: in sessions that do not name the server's tools; else only where a session names it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    read_only: bool = False
    annotations: Mapping[str, Any] | None = None
    offered: bool = True


@dataclass(frozen=True, slots=True)
class ToolFault:
    """Why a tool gave no result. ``code``: of the HTTP or JSON-RPC error."""

    kind: Literal["execution", "protocol", "http"]
    message: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class ToolResult:
    """``output``: text for the model; where there is a ``fault`` it says so. ``voice``: who speaks the answer to it."""

    output: str
    fault: ToolFault | None = None
    voice: str | None = None


@dataclass(frozen=True, slots=True)
class ServerLost:
    """Why the connection to an MCP server ended."""

    message: str


MAX_SCHEMA_SECONDS = 1.0
"""CPU time that compiling all schemas of one response or session may take; 50 usual functions take 0.1 s."""


@dataclass(frozen=True, slots=True)
class SchemaVerdict:
    """Whether arguments can be held to a schema. ``problem``: why not; None: they can.

    ``limit``: it is refused for its cost. ``seconds``: CPU time that compiling it takes. ``spent``: CPU time of this
    check, 0 where the answer was known. ``unpaid``: it was not checked, because the budget is used up.
    """

    problem: str | None = None
    limit: bool = False
    seconds: float = 0.0
    spent: float = 0.0
    unpaid: bool = False


class SchemaCheck(Protocol):
    """Checks the schemas that clients bring, outside this process."""

    async def __call__(self, schema: Any, budget_s: float) -> SchemaVerdict:
        """``budget_s``: CPU time that the client has left; at 0 only what is known already is answered."""


async def accept_any(schema: Any, budget_s: float = math.inf) -> SchemaVerdict:
    """A `SchemaCheck` that takes every schema."""
    return SchemaVerdict()


class ToolRunner(Protocol):
    """Runs tools by name. Several calls may run at once."""

    async def call(self, name: str, arguments: str) -> ToolResult:
        """``arguments``: a JSON object as text. Ends within the tool's own time limit; a fault is a result, never an
        exception."""


class ToolSet(ToolRunner, Protocol):
    """Tools by name, with their declarations."""

    @property
    def tools(self) -> tuple[ServerTool, ...]: ...


class ToolServers(Protocol):
    """Other machines' tools, by the Model Context Protocol."""

    def refusal(self, server: McpTool) -> str | None:
        """Why this server is not contacted, known without contacting it; None: it may be."""

    def connect(self, server: McpTool) -> AbstractAsyncContextManager[ToolSet]:
        """Connect and list the tools. Raises `realtime.errors.ToolServerError` when that fails or takes too long."""


class NoServers:
    """`ToolServers` of a server that contacts none."""

    def refusal(self, server: McpTool) -> str | None:
        return "This server contacts no MCP servers."

    def connect(self, server: McpTool) -> AbstractAsyncContextManager[ToolSet]:
        raise AssertionError("it was refused")


class NoTools:
    """A `ToolSet` without tools."""

    tools: tuple[ServerTool, ...] = ()

    async def call(self, name: str, arguments: str) -> ToolResult:
        raise AssertionError(f"there is no tool {name}")
