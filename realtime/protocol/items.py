"""Conversation items and their content parts, in the GA shape.

There is one class for each kind of item, for both directions. An item from a client may lack an ``id``; it is ``""``
until the conversation gives one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from realtime.protocol.wire import Base64, Bool, JsonObject, Lenient, Maybe

ItemStatus = Literal["in_progress", "completed", "incomplete"]

ItemId = Annotated[str, Field(max_length=128, exclude_if=lambda value: not value)]


class InputText(Lenient):
    type: Literal["input_text"] = "input_text"
    text: str


class InputAudio(Lenient):
    """Speech of the user. ``audio`` is in the session's input format. The server sends it in
    ``conversation.item.retrieved`` only."""

    type: Literal["input_audio"] = "input_audio"
    audio: Maybe[Base64] = None
    transcript: str | None = None


class InputImage(Lenient):
    type: Literal["input_image"] = "input_image"
    image_url: str
    detail: Literal["auto", "low", "high"] = "auto"


class OutputText(Lenient):
    type: Literal["output_text"] = "output_text"
    text: str


class OutputAudio(Lenient):
    """Speech of the assistant. ``transcript`` is None after a truncation, because it has more words than were
    heard."""

    type: Literal["output_audio"] = "output_audio"
    audio: Maybe[Base64] = None
    transcript: str | None = None


UserContent = Annotated[InputText | InputAudio | InputImage, Field(discriminator="type")]


def _by_its_name_of_today(part: Any) -> Any:
    """Accept the beta names: GA clients still use them for the assistant's words when they replay a history."""
    older = {"text": "output_text", "audio": "output_audio"}
    if isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind in older:
        return part | {"type": older[kind]}
    return part


AssistantContent = Annotated[
    OutputText | OutputAudio, Field(discriminator="type"), BeforeValidator(_by_its_name_of_today)
]


class _Item(Lenient):
    id: ItemId = ""
    object: Literal["realtime.item"] = "realtime.item"


class SystemMessage(_Item):
    type: Literal["message"] = "message"
    status: ItemStatus = "completed"
    role: Literal["system"] = "system"
    content: tuple[InputText, ...]


class UserMessage(_Item):
    type: Literal["message"] = "message"
    status: ItemStatus = "completed"
    role: Literal["user"] = "user"
    content: tuple[UserContent, ...]


class AssistantMessage(_Item):
    type: Literal["message"] = "message"
    status: ItemStatus = "completed"
    role: Literal["assistant"] = "assistant"
    content: tuple[AssistantContent, ...]


class FunctionCall(_Item):
    """The model asks for a tool. ``arguments`` is JSON text, ``""`` while in progress."""

    type: Literal["function_call"] = "function_call"
    status: ItemStatus = "completed"
    name: str
    call_id: str = ""
    arguments: str


class FunctionCallOutput(_Item):
    """A tool's answer to the call named ``call_id``."""

    type: Literal["function_call_output"] = "function_call_output"
    status: ItemStatus = "completed"
    call_id: str
    output: str


class McpToolDescription(Lenient):
    name: str
    description: Maybe[str] = None
    input_schema: JsonObject
    annotations: Maybe[JsonObject] = None


class McpListTools(_Item):
    type: Literal["mcp_list_tools"] = "mcp_list_tools"
    server_label: str
    tools: tuple[McpToolDescription, ...] = ()


class McpProtocolError(Lenient):
    type: Literal["protocol_error"] = "protocol_error"
    code: int
    message: str


class McpToolExecutionError(Lenient):
    type: Literal["tool_execution_error"] = "tool_execution_error"
    message: str


class McpHttpError(Lenient):
    type: Literal["http_error"] = "http_error"
    code: int
    message: str


McpError = Annotated[McpProtocolError | McpToolExecutionError | McpHttpError, Field(discriminator="type")]


class McpCall(_Item):
    type: Literal["mcp_call"] = "mcp_call"
    server_label: str
    name: str
    arguments: str
    approval_request_id: Maybe[str] = None
    output: Maybe[str] = None
    error: Maybe[McpError] = None


class McpApprovalRequest(_Item):
    type: Literal["mcp_approval_request"] = "mcp_approval_request"
    server_label: str
    name: str
    arguments: str


class McpApprovalResponse(_Item):
    type: Literal["mcp_approval_response"] = "mcp_approval_response"
    approval_request_id: str
    approve: Bool
    reason: Maybe[str] = None


class ItemReference(Lenient):
    """Names an item of the conversation; only in the input of ``response.create``."""

    type: Literal["item_reference"] = "item_reference"
    id: str


Message = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]
Item = Annotated[
    Message | FunctionCall | FunctionCallOutput | McpListTools | McpCall | McpApprovalRequest | McpApprovalResponse,
    Field(discriminator="type"),
]
InputItem = Annotated[
    Message
    | FunctionCall
    | FunctionCallOutput
    | McpListTools
    | McpCall
    | McpApprovalRequest
    | McpApprovalResponse
    | ItemReference,
    Field(discriminator="type"),
]
"""An item of the input that replaces the conversation in ``response.create``."""


class TextPart(Lenient):
    """A part as ``response.content_part.*`` shows it: ``text``, not ``output_text``, even in GA."""

    type: Literal["text"] = "text"
    text: str = ""


class AudioPart(Lenient):
    """``transcript`` starts as ``""``: beta clients append to it."""

    type: Literal["audio"] = "audio"
    transcript: str = ""


ContentPart = Annotated[TextPart | AudioPart, Field(discriminator="type")]


def without_audio(item: Item) -> Item:
    """The item as every event but ``conversation.item.retrieved`` shows it."""
    if not isinstance(item, (UserMessage, AssistantMessage)):
        return item
    return item.model_copy(update={"content": tuple(_silent(part) for part in item.content)})


def with_audio(item: Item, content_index: int, audio: bytes) -> Item:
    """The item with the audio of one of its parts, for ``conversation.item.retrieved``."""
    if not isinstance(item, (UserMessage, AssistantMessage)):
        return item
    parts = tuple(
        part.model_copy(update={"audio": audio})
        if index == content_index and isinstance(part, (InputAudio, OutputAudio))
        else part
        for index, part in enumerate(item.content)
    )
    return item.model_copy(update={"content": parts})


def _silent(part: UserContent | AssistantContent) -> UserContent | AssistantContent:
    return part.model_copy(update={"audio": None}) if isinstance(part, (InputAudio, OutputAudio)) else part
