"""The calls of one reply. Those of MCP servers run inside the response.

A function of the client or of the server is sent as a `function_call`, and runs after the response. An MCP call is an
item that is open while the tool runs. If the client must approve it, the item is an approval request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from realtime.ports.tool_calls import ToolCall, tool_result
from realtime.ports.tools import ToolFault, ToolResult
from realtime.protocol.events import ServerEvent
from realtime.protocol.ids import Ids
from realtime.protocol.items import (
    Item,
    McpApprovalRequest,
    McpCall,
    McpError,
    McpHttpError,
    McpProtocolError,
    McpToolExecutionError,
)
from realtime.protocol.response_stream import ResponseStream, opening_function_call
from realtime.session.context.history import History
from realtime.session.tools.offer import Offer, ToolBinding
from realtime.session.tools.session_tools import ServerCall
from realtime.session.work import OutsideWork, Work


class ReplyToolCalls:
    """``items``: of the model's calls, in order. ``server_calls``: run by the server after the response. ``questions``:
    MCP calls that wait for approval, by the id of their request. ``voice``: the voice that a result asks for.
    """

    def __init__(
        self,
        offer: Offer,
        stream: ResponseStream,
        ids: Ids,
        history: History | None,
        send: Callable[[Iterable[ServerEvent]], None],
        work: OutsideWork,
    ) -> None:
        self.items: list[str] = []
        self.server_calls: list[ServerCall] = []
        self.questions: list[ServerCall] = []
        self.voice: str | None = None
        self._offer = offer
        self._stream = stream
        self._ids = ids
        self._history = history
        self._send = send
        self._work = work
        self._running: list[Work] = []
        self._for_client = False
        self._ran = False

    @property
    def answers_itself(self) -> bool:
        """Whether the server gives every result, so that the conversation continues without the client."""
        return (self._ran or bool(self.server_calls)) and not self._for_client and not self.questions

    def make(self, calls: Sequence[ToolCall], then: Callable[[], None]) -> None:
        """Send the model's calls, then call ``then``. MCP calls come first: a client runs its functions at once, and
        the response must be done by then.
        """
        found = [(call, callee) for call in calls if (callee := self._offer.find(call.name)) is not None]
        remote = [pair for pair in found if pair[1].server_label is not None]
        self._finish_item()
        free = [ServerCall(callee, call.arguments, "") for call, callee in remote if not callee.asks]

        def rest() -> None:
            for call, callee in found:
                if callee.server_label is None:
                    self._tell_function(call, callee)
                elif callee.asks:
                    self._ask(callee, call.arguments)
            then()

        self._run_mcp(free, True, rest)

    def run_approved(self, calls: Sequence[ServerCall], then: Callable[[], None]) -> None:
        """Run the calls that the client has approved, then call ``then``."""
        self._run_mcp(calls, False, then)

    def stop(self) -> None:
        """Stop the running calls."""
        for work in self._running:
            self._work.cancel(work)
        self._running.clear()

    def _tell_function(self, call: ToolCall, callee: ToolBinding) -> None:
        item_id = self._ids.item()
        call_id = self._ids.call() if self._history is not None else self._ids.call_beside()
        self._add(opening_function_call(item_id, call_id, call.name))
        self._send(self._stream.start_function_call(item_id, call_id, call.name))
        self._send(self._stream.arguments(call.arguments))
        self._send(self._stream.finish_item())
        self.items.append(item_id)
        if callee.runner is None:
            self._for_client = True
        else:
            self.server_calls.append(ServerCall(callee, call.arguments, call_id))

    def _ask(self, callee: ToolBinding, arguments: str) -> None:
        assert callee.server_label is not None
        item = McpApprovalRequest(
            id=self._ids.item(), server_label=callee.server_label, name=callee.tool, arguments=arguments
        )
        self._add(item)
        self._send(self._stream.ask_approval(item))
        self.items.append(item.id)
        self.questions.append(ServerCall(callee, arguments, item.id))

    def _run_mcp(self, calls: Sequence[ServerCall], by_model: bool, then: Callable[[], None]) -> None:
        """Run all at once and send their events one after the other. ``by_model``: the reply itself made them."""
        results: list[ToolResult | None] = [None] * len(calls)
        openings: list[McpCall] = []

        def announce() -> None:
            """Send results in the order of the calls, as far as they are there, and show the next call as running."""
            while len(openings) <= len(calls):
                if openings:
                    result = results[len(openings) - 1]
                    if result is None:
                        return
                    self._conclude_mcp(openings[-1], result, by_model)
                if len(openings) == len(calls):
                    then()
                    return
                openings.append(self._open_mcp(calls[len(openings)]))
                if by_model:
                    self.items.append(openings[-1].id)

        def take(index: int, result: ToolResult) -> None:
            results[index] = result
            if index == len(openings) - 1:
                announce()

        for index, call in enumerate(calls):
            self._running.append(_start(self._work, call, partial(take, index)))
        announce()

    def _conclude_mcp(self, opening: McpCall, result: ToolResult, by_model: bool) -> None:
        self._ran = True
        self.voice = self.voice or result.voice
        self._remember(opening.id, result, behind=by_model and opening.id == self.items[0])
        error = _error(result.fault) if result.fault is not None else None
        self._send(self._stream.finish_mcp_call(None if error is not None else result.output, error))

    def _open_mcp(self, call: ServerCall) -> McpCall:
        assert call.callee.server_label is not None
        opening = McpCall(
            id=self._ids.item(),
            server_label=call.callee.server_label,
            name=call.callee.tool,
            arguments="",
            approval_request_id=call.call_id or None,
        )
        self._add(opening)
        self._send(self._stream.start_mcp_call(opening, call.arguments))
        return opening

    def _remember(self, item_id: str, result: ToolResult, *, behind: bool) -> None:
        """Store the result for the model, after the calls (``behind``) where the same item has both."""
        entry = self._history.get(item_id) if self._history is not None else None
        if entry is None:
            return
        if behind:
            entry.answer = tool_result(result.output)
        else:
            entry.payload = tool_result(result.output)

    def _add(self, item: Item) -> None:
        if self._history is not None:
            self._history.make_room()
            self._history.add(item, None)

    def _finish_item(self) -> None:
        if self._stream.item_id is not None:
            self._send(self._stream.finish_item())


def _start(work: OutsideWork, call: ServerCall, take: Callable[[ToolResult], None]) -> Work:
    """Run one call. A fault is a result, too."""
    runner = call.callee.runner
    assert runner is not None

    def failed(fault: str) -> None:
        take(ToolResult("The tool failed.", ToolFault("execution", fault)))

    return work.call(lambda: runner.call(call.callee.tool, call.arguments), take, failed, f"tool {call.callee.tool}")


def _error(fault: ToolFault) -> McpError:
    match fault.kind:
        case "http":
            return McpHttpError(code=fault.code, message=fault.message)
        case "protocol":
            return McpProtocolError(code=fault.code, message=fault.message)
    return McpToolExecutionError(message=fault.message)
