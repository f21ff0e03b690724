"""The server events of one reply, from the model's deltas, in the one legal order.

1. ``response.created`` is first, ``response.done`` is last and comes once.
2. Items come one after another. Each: output item added, conversation item added, content part added, deltas,
   the ``done`` of each kind of delta, content part done, conversation item done, output item done.
3. All those ``done`` events also come when the response is cancelled, incomplete or failed.
4. The deltas joined are the text in every ``done`` event, the item and the response.
5. A call of an MCP server's tool is an item that stays open while the tool runs. A request for approval is an item of
   its own, complete at once.
6. A thought comes in an open message before its first words, and is not part of the item.
7. Out of band (no conversation) there are no ``conversation.item.*`` events.

A call that is not legal in the present state raises `IllegalTransition`; the table is `_LEGAL`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypedDict

from realtime.errors import IllegalTransition
from realtime.protocol.events import (
    ConversationItemAdded,
    ConversationItemDone,
    ResponseContentPartAdded,
    ResponseContentPartDone,
    ResponseCreated,
    ResponseDone,
    ResponseFunctionCallArgumentsDelta,
    ResponseFunctionCallArgumentsDone,
    ResponseMcpCallArgumentsDelta,
    ResponseMcpCallArgumentsDone,
    ResponseMcpCallCompleted,
    ResponseMcpCallFailed,
    ResponseMcpCallInProgress,
    ResponseOutputAudioDelta,
    ResponseOutputAudioDone,
    ResponseOutputAudioTranscriptDelta,
    ResponseOutputAudioTranscriptDone,
    ResponseOutputItemAdded,
    ResponseOutputItemDone,
    ResponseOutputTextDelta,
    ResponseOutputTextDone,
    ResponseThinkingDelta,
    ResponseThinkingDone,
    ServerEvent,
)
from realtime.protocol.items import (
    AssistantMessage,
    AudioPart,
    ContentPart,
    FunctionCall,
    Item,
    ItemStatus,
    McpApprovalRequest,
    McpCall,
    McpError,
    McpToolExecutionError,
    OutputAudio,
    OutputText,
    TextPart,
)
from realtime.protocol.responses import (
    FinalStatus,
    Response,
    ResponseError,
    StatusDetails,
    StatusReason,
    Usage,
)

MAX_AUDIO_DELTA_MS = 200
"""The longest audio in one event: about 13 kB of base64 at 24 kHz, far below clients' message limits, and little is
lost at a barge-in."""


class State(Enum):
    NEW = "new"
    """Not announced yet."""
    IDLE = "idle"
    """Between items."""
    MESSAGE = "message"
    """A message is being spoken or written."""
    CALL = "call"
    """The arguments of a function call are being written."""
    MCP_CALL = "MCP call"
    """A tool of an MCP server is being called."""
    DONE = "done"
    """Nothing may follow."""


_LEGAL: dict[str, frozenset[State]] = {
    "create": frozenset({State.NEW}),
    "start_message": frozenset({State.IDLE}),
    "start_function_call": frozenset({State.IDLE}),
    "think": frozenset({State.MESSAGE}),
    "text": frozenset({State.MESSAGE}),
    "audio": frozenset({State.MESSAGE}),
    "arguments": frozenset({State.CALL}),
    "start_mcp_call": frozenset({State.IDLE}),
    "finish_mcp_call": frozenset({State.MCP_CALL}),
    "ask_approval": frozenset({State.IDLE}),
    "finish_item": frozenset({State.MESSAGE, State.CALL}),
    "finish": frozenset({State.IDLE, State.MESSAGE, State.CALL, State.MCP_CALL}),
}


class _OutputIds(TypedDict):
    response_id: str
    item_id: str
    output_index: int


class _ContentIds(_OutputIds):
    content_index: int


@dataclass(slots=True)
class _Draft:
    """The item in progress."""

    item_id: str
    name: str = ""
    call_id: str = ""
    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    mcp_call: McpCall | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def opening_message(item_id: str) -> AssistantMessage:
    """The form in which a message of the assistant is added: without content."""
    return AssistantMessage(id=item_id, status="in_progress", content=())


def opening_function_call(item_id: str, call_id: str, name: str) -> FunctionCall:
    """The form in which a function call is added: its name and id are complete, its arguments empty."""
    return FunctionCall(id=item_id, status="in_progress", name=name, call_id=call_id, arguments="")


class ResponseStream:
    """One response. Every method returns the events to send, in order.

    ``response``: the response object at the start (`responses.ResponseConfig.response`); its ``conversation_id`` is
    None out of band. ``predecessor`` gives the id of the item before one in the conversation. So the caller must add an
    item there (as `opening_message` or `opening_function_call`) **before** it starts it here; the finished item is the
    last of `finished_items`. ``exists``: whether an item is still in the conversation. An item that the client has
    deleted gets no ``done`` events and is not in the response's output.
    """

    def __init__(
        self,
        response: Response,
        predecessor: Callable[[str], str | None] | None = None,
        exists: Callable[[str], bool] | None = None,
    ) -> None:
        self._response = response
        self._exists = exists if response.conversation_id is not None else None
        self._predecessor = predecessor if response.conversation_id is not None else None
        self._speech = response.output_modalities == ("audio",)
        self._format = response.audio.output.format if response.audio is not None else None
        self._state = State.NEW
        self._draft = _Draft("")
        self._finished: list[Item] = []

    @property
    def response(self) -> Response:
        """The response object as last announced."""
        return self._response

    @property
    def state(self) -> State:
        return self._state

    @property
    def item_id(self) -> str | None:
        """The item in progress."""
        return self._draft.item_id if self._state in (State.MESSAGE, State.CALL, State.MCP_CALL) else None

    @property
    def finished_items(self) -> tuple[Item, ...]:
        """The finished items, as the conversation keeps them."""
        return tuple(self._finished)

    def create(self) -> list[ServerEvent]:
        self._enter("create", State.IDLE)
        return [ResponseCreated(response=self._response)]

    def start_message(self, item_id: str) -> list[ServerEvent]:
        """Opens a message of the assistant with its one part: speech or text, as the response is."""
        self._enter("start_message", State.MESSAGE)
        self._draft = _Draft(item_id)
        part: ContentPart = AudioPart() if self._speech else TextPart()
        added = self._item_added(opening_message(item_id))
        return [*added, ResponseContentPartAdded(**self._content, part=part)]

    def think(self, delta: str) -> list[ServerEvent]:
        """More of the thought that goes before the message's words."""
        self._enter("think", State.MESSAGE)
        if not delta:
            return []
        self._draft.thoughts.append(delta)
        return [ResponseThinkingDelta(**self._content, delta=delta)]

    def end_thought(self) -> list[ServerEvent]:
        """Close the thought; nothing if none is open."""
        thought = "".join(self._draft.thoughts)
        self._draft.thoughts.clear()
        return [ResponseThinkingDone(**self._content, thinking=thought)] if thought else []

    def text(self, delta: str) -> list[ServerEvent]:
        """More words: of the transcript when the response is spoken. May come before or after their audio."""
        self._enter("text", State.MESSAGE)
        if not delta:
            return []
        events = self.end_thought()
        self._draft.pieces.append(delta)
        if self._speech:
            return [*events, ResponseOutputAudioTranscriptDelta(**self._content, delta=delta)]
        return [*events, ResponseOutputTextDelta(**self._content, delta=delta)]

    def audio(self, data: bytes) -> list[ServerEvent]:
        """More speech in the response's output format, whole samples. Long pieces become several events."""
        self._enter("audio", State.MESSAGE)
        if not self._speech or self._format is None:
            raise IllegalTransition("a text response has no audio")
        if len(data) % self._format.sample_bytes:
            raise ValueError(f"{len(data)} bytes are no whole samples of {self._format.sample_bytes} bytes")
        step = self._format.sample_rate * MAX_AUDIO_DELTA_MS // 1000 * self._format.sample_bytes
        return [
            ResponseOutputAudioDelta(**self._content, delta=data[start : start + step])
            for start in range(0, len(data), step)
        ]

    def start_function_call(self, item_id: str, call_id: str, name: str) -> list[ServerEvent]:
        """Opens a function call; clients start looking the function up at once, so the name must be final."""
        self._enter("start_function_call", State.CALL)
        self._draft = _Draft(item_id, name=name, call_id=call_id)
        return self._item_added(opening_function_call(item_id, call_id, name))

    def arguments(self, delta: str) -> list[ServerEvent]:
        """More of the call's arguments (JSON text)."""
        self._enter("arguments", State.CALL)
        if not delta:
            return []
        self._draft.pieces.append(delta)
        return [ResponseFunctionCallArgumentsDelta(**self._output, call_id=self._draft.call_id, delta=delta)]

    def finish_item(self, *, completed: bool = True) -> list[ServerEvent]:
        """Closes the item in progress with all its ``done`` events."""
        is_message = self._state is State.MESSAGE
        self._enter("finish_item", State.IDLE)
        status: ItemStatus = "completed" if completed else "incomplete"
        item = self._finished_message(status) if is_message else self._finished_call(status)
        events = [*self.end_thought(), *self._message_done()] if is_message else self._arguments_done()
        return self._unless_deleted([*events, *self._item_done(item)])

    def start_mcp_call(self, opening: McpCall, arguments: str) -> list[ServerEvent]:
        """Opens the call of an MCP server's tool, which runs from now on. ``opening``: without arguments and output."""
        self._enter("start_mcp_call", State.MCP_CALL)
        self._draft = _Draft(opening.id, mcp_call=opening.model_copy(update={"arguments": arguments}))
        index = len(self._finished)
        return [
            *self._item_added(opening),
            ResponseMcpCallArgumentsDelta(**self._output, delta=arguments),
            ResponseMcpCallArgumentsDone(**self._output, arguments=arguments),
            ResponseMcpCallInProgress(item_id=opening.id, output_index=index),
        ]

    def finish_mcp_call(self, output: str | None, error: McpError | None = None) -> list[ServerEvent]:
        """The tool has answered, or failed with ``error``."""
        self._enter("finish_mcp_call", State.IDLE)
        call = self._draft.mcp_call
        assert call is not None
        item = call.model_copy(update={"output": output, "error": error})
        index = len(self._finished)
        ended: ServerEvent
        if error is None:
            ended = ResponseMcpCallCompleted(item_id=item.id, output_index=index)
        else:
            ended = ResponseMcpCallFailed(item_id=item.id, output_index=index)
        return self._unless_deleted([ended, *self._item_done(item)])

    def ask_approval(self, item: McpApprovalRequest) -> list[ServerEvent]:
        """Ask the client whether a tool of an MCP server may be called."""
        self._enter("ask_approval", State.IDLE)
        self._draft = _Draft(item.id)
        return [*self._item_added(item), *self._item_done(item)]

    def finish(
        self,
        status: FinalStatus,
        *,
        reason: StatusReason | None = None,
        error: ResponseError | None = None,
        usage: Usage | None = None,
    ) -> list[ServerEvent]:
        """Closes what is open and ends the response. ``reason`` belongs to cancelled and incomplete,
        ``error`` to failed."""
        self._check("finish")
        events = self._close(completed=status == "completed")
        self._state = State.DONE
        details = None if status == "completed" else StatusDetails(type=status, reason=reason, error=error)
        self._response = self._response.model_copy(
            update={
                "status": status,
                "status_details": details,
                "output": tuple(item for item in self._finished if not self._is_deleted(item.id)),
                "usage": usage or Usage(),
            }
        )
        return [*events, ResponseDone(response=self._response)]

    def _close(self, *, completed: bool) -> list[ServerEvent]:
        """Close the item in progress, if there is one."""
        if self._state is State.IDLE:
            return []
        if self._state is State.MCP_CALL:
            return self.finish_mcp_call(None, McpToolExecutionError(message="The response ended before the tool did."))
        return self.finish_item(completed=completed)

    def _check(self, action: str) -> None:
        if self._state not in _LEGAL[action]:
            legal = ", ".join(sorted(state.value for state in _LEGAL[action]))
            raise IllegalTransition(
                f"{action} came for {self._response.id} in state {self._state.value}; it is legal in {legal}"
            )

    def _enter(self, action: str, state: State) -> None:
        self._check(action)
        self._state = state

    @property
    def _output(self) -> _OutputIds:
        return {
            "response_id": self._response.id,
            "item_id": self._draft.item_id,
            "output_index": len(self._finished),
        }

    @property
    def _content(self) -> _ContentIds:
        return {**self._output, "content_index": 0}

    def _is_deleted(self, item_id: str) -> bool:
        return self._exists is not None and not self._exists(item_id)

    def _unless_deleted(self, events: list[ServerEvent]) -> list[ServerEvent]:
        """The events of the item in progress; none once the client has deleted it."""
        return [] if self._is_deleted(self._draft.item_id) else events

    def _item_added(self, item: Item) -> list[ServerEvent]:
        index = len(self._finished)
        events: list[ServerEvent] = [
            ResponseOutputItemAdded(response_id=self._response.id, output_index=index, item=item)
        ]
        if self._predecessor is not None:
            events.append(ConversationItemAdded(previous_item_id=self._predecessor(item.id), item=item))
        return events

    def _item_done(self, item: Item) -> list[ServerEvent]:
        index = len(self._finished)
        self._finished.append(item)
        events: list[ServerEvent] = []
        if self._predecessor is not None:
            events.append(ConversationItemDone(previous_item_id=self._predecessor(item.id), item=item))
        events.append(ResponseOutputItemDone(response_id=self._response.id, output_index=index, item=item))
        return events

    def _message_done(self) -> list[ServerEvent]:
        text = self._draft.text
        if not self._speech:
            return [
                ResponseOutputTextDone(**self._content, text=text),
                ResponseContentPartDone(**self._content, part=TextPart(text=text)),
            ]
        return [
            ResponseOutputAudioDone(**self._content),
            ResponseOutputAudioTranscriptDone(**self._content, transcript=text),
            ResponseContentPartDone(**self._content, part=AudioPart(transcript=text)),
        ]

    def _arguments_done(self) -> list[ServerEvent]:
        draft = self._draft
        return [
            ResponseFunctionCallArgumentsDone(
                **self._output, call_id=draft.call_id, name=draft.name, arguments=draft.text
            )
        ]

    def _finished_message(self, status: ItemStatus) -> Item:
        text = self._draft.text
        part = OutputAudio(transcript=text) if self._speech else OutputText(text=text)
        return opening_message(self._draft.item_id).model_copy(update={"status": status, "content": (part,)})

    def _finished_call(self, status: ItemStatus) -> Item:
        draft = self._draft
        opening = opening_function_call(draft.item_id, draft.call_id, draft.name)
        return opening.model_copy(update={"status": status, "arguments": draft.text})
