"""A session's tools beside the client's functions: the server's own, and those of MCP servers.

Each MCP server has a task that connects, lists the tools (an `mcp_list_tools` item) and holds the connection until the
server is removed or the session ends. If a server cannot be reached, only its tools are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from realtime.errors import ToolServerError
from realtime.ports.tool_calls import tool_result
from realtime.ports.tools import ServerLost, ServerTool, ToolFault, ToolResult, ToolSet
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.items import FunctionCallOutput, McpListTools, McpToolDescription
from realtime.protocol.responses import ResponseConfig
from realtime.protocol.session_config import Session
from realtime.protocol.tools import (
    MAX_DECLARED_BYTES,
    FunctionTool,
    McpTool,
    McpToolFilter,
    Tool,
    check_functions,
    declared_bytes,
)
from realtime.session.context.history import History
from realtime.session.environment import Environment
from realtime.session.outbox import Outbox
from realtime.session.tools.call_ids import awaits_result, check_input
from realtime.session.tools.offer import (
    Offer,
    ToolBinding,
    callable_name,
    make_offer,
)
from realtime.session.tools.tool_checks import ToolChecks, active_tools, as_function
from realtime.session.work import Work

MAX_SERVER_TOOLS = 128
"""The most tools of one MCP server."""


@dataclass(frozen=True, slots=True)
class ServerCall:
    """A call that the server runs. ``call_id``: of its `function_call`, or of the approval request."""

    callee: ToolBinding
    arguments: str
    call_id: str


@dataclass(slots=True)
class _Server:
    """One MCP server of the session. ``tools``: None while it is not connected."""

    spec: McpTool
    work: Work | None = None
    tools: ToolSet | None = None
    listed: tuple[ServerTool, ...] = field(default=())
    lost: bool = False

    async def call(self, name: str, arguments: str) -> ToolResult:
        """Call one of its tools."""
        if self.tools is None:
            message = "The MCP server is not connected."
            return ToolResult(message, ToolFault("http", message))
        return await self.tools.call(name, arguments)


class SessionTools:
    """One session's tools. Call `configure` after every change of the session object, `offer` for every response."""

    def __init__(self, env: Environment, history: History, outbox: Outbox) -> None:
        services = env.services
        self._builtin = services.tools
        self._connector = services.tool_servers
        self._checks = ToolChecks(services, env.quota, env.inputs.now)
        self._history = history
        self._outbox = outbox
        self._ids = env.ids
        self._log = env.log
        self._work = env.work
        self._active: tuple[str, ...] | None = None
        self._tools_of_session: tuple[Tool, ...] = ()
        self._servers: dict[str, _Server] = {}
        self._unapproved: dict[str, ServerCall] = {}
        self._approved: list[ServerCall] = []

    # What the client asks for

    async def check(self, settings: Session) -> None:
        """Raises `ProtocolError` for tools that this session cannot have."""
        await self._checks.session(settings, self._declared_bytes(settings.tools))

    async def check_response(self, config: ResponseConfig) -> None:
        """`check` for one response, whose MCP servers must be those of the session."""
        check_functions(config.tools, "response")
        for index, tool in enumerate(config.tools):
            if isinstance(tool, McpTool) and tool.server_label not in self._servers:
                raise ProtocolError(
                    "invalid_value",
                    f"The session has no MCP server {quote(tool.server_label)}. Connect it with session.update; a "
                    "response may then name it.",
                    param=f"response.tools[{index}].server_label",
                )
        check_input(config.input or (), self._history, self._ids)
        tools = [*config.tools, *self._own_tools]
        await self._checks.functions(tools, config.tool_choice, self._declared_bytes(config.tools), "response")

    def configure(self, settings: Session) -> None:
        """Connect to MCP servers that are new or were lost, and disconnect from those that were removed."""
        self._active = settings.server_tools
        self._tools_of_session = settings.tools
        wanted = {tool.server_label: tool for tool in settings.tools if isinstance(tool, McpTool)}
        stale = [label for label, server in self._servers.items() if wanted.get(label) != server.spec or server.lost]
        for label in stale:
            work = self._servers.pop(label).work
            if work is not None:
                self._work.cancel(work)
        for label, spec in wanted.items():
            if label not in self._servers:
                server = self._servers[label] = _Server(spec)
                self._connect(server)

    def offer(self, config: ResponseConfig) -> Offer:
        """The functions that a response may call. Out of band these are the client's only."""
        return make_offer(config, () if config.out_of_band else self._callees(config.tools))

    # Calls

    def run(self, calls: Sequence[ServerCall], then: Callable[[str | None], None]) -> None:
        """Run calls of the server's own tools, all at once. Each result becomes an item when it arrives.

        ``then`` is called after the last, with the voice that the results ask for; None: no other.
        """
        voices: dict[str, str | None] = {}

        def take(call: ServerCall, result: ToolResult) -> None:
            self._add_result(call, result)
            voices[call.call_id] = result.voice
            if len(voices) == len(calls):
                in_order = (voices[one.call_id] for one in calls)
                then(next((voice for voice in in_order if voice is not None), None))

        for call in calls:
            self._run(call, partial(take, call))

    def _run(self, call: ServerCall, take: Callable[[ToolResult], None]) -> None:
        runner = call.callee.runner
        assert runner is not None

        def failed(fault: str) -> None:
            take(ToolResult("The tool failed.", ToolFault("execution", fault)))

        self._work.call(lambda: runner.call(call.callee.tool, call.arguments), take, failed, f"tool {call.callee.tool}")

    def _add_result(self, call: ServerCall, result: ToolResult) -> None:
        if not awaits_result(self._history, call.call_id):
            return  # the client has deleted the call meanwhile, or given a result of its own
        item = FunctionCallOutput(id=self._ids.item(), call_id=call.call_id, output=result.output)
        self._history.make_room()
        self._history.add(item, tool_result(result.output))
        previous = self._history.predecessor(item.id)
        self._outbox.put(wire.ConversationItemAdded(previous_item_id=previous, item=item))
        self._outbox.put(wire.ConversationItemDone(previous_item_id=previous, item=item))

    def ask(self, call: ServerCall) -> None:
        """This call waits for approval."""
        self._unapproved[call.call_id] = call

    def check_question(self, request_id: str) -> None:
        """Raises `ProtocolError` unless a call waits for the answer to this request."""
        if request_id not in self._unapproved:
            raise ProtocolError(
                "invalid_value",
                f"No approval request {quote(request_id)} waits for an answer.",
                param="item.approval_request_id",
            )

    def decide(self, request_id: str, approve: bool) -> None:
        """Store the client's answer. The next reply runs an approved call."""
        call = self._unapproved.pop(request_id)
        if approve:
            self._approved.append(call)

    def take_approved(self) -> tuple[ServerCall, ...]:
        """The approved calls, once: the caller runs them."""
        calls, self._approved = tuple(self._approved), []
        return calls

    # Small parts

    @property
    def _own_tools(self) -> list[ServerTool]:
        """The server's, as far as this session has them."""
        return active_tools(self._builtin.tools, self._active)

    def _callees(self, tools: Sequence[Tool]) -> Iterator[ToolBinding]:
        for tool in self._own_tools:
            yield ToolBinding(as_function(tool, tool.name), self._builtin, tool.name)
        taken = {tool.name for tool in tools if isinstance(tool, FunctionTool)}
        taken |= {tool.name for tool in self._own_tools}
        for spec in tools:
            server = self._servers.get(spec.server_label) if isinstance(spec, McpTool) else None
            for tool in server.listed if server is not None else ():
                assert server is not None
                name = tool.name if tool.name not in taken else f"{server.spec.server_label}_{tool.name}"
                taken.add(name)
                asks = needs_approval(server.spec, tool)
                yield ToolBinding(as_function(tool, name), server, tool.name, server.spec.server_label, asks)

    def _connect(self, server: _Server) -> None:
        """Connect, list the tools, and hold the connection until the server is taken out."""
        item = McpListTools(id=self._ids.item(), server_label=server.spec.server_label)
        self._history.make_room()
        self._history.add(item, None)
        previous = self._history.predecessor(item.id)
        self._outbox.put(wire.ConversationItemAdded(previous_item_id=previous, item=item))
        self._outbox.put(wire.McpListToolsInProgress(item_id=item.id))
        server.work = self._work.start(
            self._connection(server),
            partial(self._connected, server, item),
            lambda fault: self._disconnected(server, item, ServerLost(fault or "The connection was closed.")),
            "MCP server",
        )

    async def _connection(self, server: _Server) -> AsyncIterator[tuple[ServerTool, ...] | ServerLost]:
        """Yields the server's tools, then waits while the connection lasts, then yields why it ended."""
        try:
            async with self._connector.connect(server.spec) as tools:
                server.tools = tools
                yield tuple(tools.tools)
                await asyncio.get_running_loop().create_future()
        except ToolServerError as error:
            yield ServerLost(str(error))

    def _connected(self, server: _Server, item: McpListTools, found: tuple[ServerTool, ...] | ServerLost) -> None:
        if isinstance(found, ServerLost):
            self._disconnected(server, item, found)
            return
        listed = _allowed(server.spec, found)
        problem = self._problem_of_size(listed)
        if problem is not None:
            if server.work is not None:
                self._work.cancel(server.work)
            self._disconnected(server, item, ServerLost(problem))
            return
        server.listed = listed
        self._log.info("an MCP server has %d tools", len(server.listed))
        described = item.model_copy(update={"tools": tuple(map(_description, server.listed))})
        self._tell_listed(wire.McpListToolsCompleted(item_id=item.id), described)

    def _disconnected(self, server: _Server, item: McpListTools, fault: ServerLost) -> None:
        if server.lost:
            return
        server.lost = True
        self._log.warning("an MCP server cannot be used or was lost")
        if not server.listed:
            self._tell_listed(wire.McpListToolsFailed(item_id=item.id, message=fault.message), item)
        server.listed = ()

    def _declared_bytes(self, tools: Sequence[Tool]) -> int:
        """Length of the declarations of all tools in a session with these, as far as they are known."""
        functions = [tool for tool in tools if isinstance(tool, FunctionTool)]
        return sum(map(declared_bytes, (*functions, *(callee.function for callee in self._callees(tools)))))

    def _problem_of_size(self, listed: Sequence[ServerTool]) -> str | None:
        """Why the tools of a server that has just connected do not fit beside the others; None: they fit."""
        size = sum(declared_bytes(as_function(tool, tool.name)) for tool in listed)
        others = self._declared_bytes(self._tools_of_session)
        if size + others <= MAX_DECLARED_BYTES:
            return None
        return (
            f"Its {len(listed)} tools are {size} bytes of JSON, beside {others} of the session's other tools; at "
            f"most {MAX_DECLARED_BYTES} are read to the model. Name the tools that are needed in 'allowed_tools'."
        )

    def _tell_listed(self, ended: wire.McpListToolsCompleted | wire.McpListToolsFailed, item: McpListTools) -> None:
        """Send the end of the listing, unless the client has deleted its item."""
        if item.id not in self._history:
            return
        self._outbox.put(ended)
        self._history.update(item)
        previous = self._history.predecessor(item.id)
        self._outbox.put(wire.ConversationItemDone(previous_item_id=previous, item=item))


def needs_approval(server: McpTool, tool: ServerTool) -> bool:
    """Whether the client must approve each call of this tool. The default is yes, as in the API."""
    rule = server.require_approval
    if rule is None or isinstance(rule, str):
        return rule != "never"
    if rule.always is not None and _matches(rule.always, tool):
        return True
    return rule.never is None or not _matches(rule.never, tool)


def _matches(rule: McpToolFilter, tool: ServerTool) -> bool:
    named = rule.tool_names is None or tool.name in rule.tool_names
    return named and (rule.read_only is None or rule.read_only == tool.read_only)


def _allowed(server: McpTool, tools: Sequence[ServerTool]) -> tuple[ServerTool, ...]:
    rule = server.allowed_tools
    if isinstance(rule, McpToolFilter):
        tools = [tool for tool in tools if _matches(rule, tool)]
    elif rule is not None:
        tools = [tool for tool in tools if tool.name in rule]
    return tuple(tool for tool in tools if callable_name(tool.name))[:MAX_SERVER_TOOLS]


def _description(tool: ServerTool) -> McpToolDescription:
    return McpToolDescription(
        name=tool.name,
        description=tool.description or None,
        input_schema=dict(tool.parameters),
        annotations=None if tool.annotations is None else dict(tool.annotations),
    )
