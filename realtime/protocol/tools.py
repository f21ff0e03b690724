"""The tools of a session, and the choice among them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.wire import Bool, JsonObject, Lenient, Maybe, Wire

MAX_TOOLS = 128
MAX_DECLARED_BYTES = 64 * 1024
"""Limit of the declarations of all tools of a session, as JSON: about 20 000 tokens at the start of every prompt."""

_FUNCTION_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")
"""The form of a function's name in the API."""


class FunctionTool(Lenient):
    unused_keys: ClassVar[frozenset[str]] = frozenset({"strict"})
    """``strict``: of the chat API. Arguments always fit the schema here."""

    type: Literal["function"] = "function"
    name: str
    description: Maybe[str] = None
    parameters: Maybe[JsonObject] = None


class McpToolFilter(Lenient):
    read_only: Maybe[Bool] = None
    tool_names: Maybe[tuple[str, ...]] = None


class McpApprovalFilter(Lenient):
    always: Maybe[McpToolFilter] = None
    never: Maybe[McpToolFilter] = None


class McpTool(Lenient):
    """A server of tools (Model Context Protocol), reached by exactly one of url, connector or tunnel.

    ``authorization`` and ``headers`` are secrets and never echoed.
    """

    unused_keys: ClassVar[frozenset[str]] = frozenset({"allowed_callers", "defer_loading"})

    type: Literal["mcp"] = "mcp"
    server_label: Annotated[str, Field(min_length=1)]
    server_url: Maybe[str] = None
    connector_id: Maybe[str] = None
    tunnel_id: Maybe[str] = None
    authorization: Annotated[str | None, Field(exclude=True, repr=False)] = None
    headers: Annotated[dict[str, str] | None, Field(exclude=True, repr=False)] = None
    allowed_tools: Maybe[tuple[str, ...] | McpToolFilter] = None
    require_approval: Maybe[Literal["always", "never"] | McpApprovalFilter] = None
    server_description: Maybe[str] = None


Tool = Annotated[FunctionTool | McpTool, Field(discriminator="type")]
Tools = Annotated[tuple[Tool, ...], Field(max_length=MAX_TOOLS)]


class ToolChoiceFunction(Lenient):
    type: Literal["function"] = "function"
    name: str


class ToolChoiceMcp(Lenient):
    type: Literal["mcp"] = "mcp"
    server_label: str
    name: Maybe[str] = None


def _mode_or_object(value: object) -> object:
    if not isinstance(value, (str, Mapping, Wire)):
        raise PydanticCustomError("wrong_type", "", {"expected": "a string or an object"})
    return value


ToolChoice = Annotated[
    Literal["auto", "none", "required"] | Annotated[ToolChoiceFunction | ToolChoiceMcp, Field(discriminator="type")],
    BeforeValidator(_mode_or_object),
]


def check_functions(tools: Sequence[Tool], root: str, event_id: str | None = None) -> None:
    """Raises `ProtocolError` for a function's name that is not of the API's form, or when all declarations together are
    too long. ``root``: the owner of the tools (``session``)."""
    size = 0
    for index, tool in enumerate(tools):
        if isinstance(tool, FunctionTool):
            check_function_name(tool.name, f"{root}.tools[{index}].name", event_id)
            size += declared_bytes(tool)
    check_declared_bytes(size, root, event_id)


def check_function_name(name: str, param: str, event_id: str | None = None) -> None:
    """Raises `ProtocolError` for a name that is not of the API's form."""
    if not _FUNCTION_NAME.fullmatch(name):
        raise ProtocolError(
            "invalid_value",
            f"Invalid value for '{param}': {quote(name)}. The name of a function has 1 to 64 characters, each a letter "
            "from a to z, a digit, '_' or '-'.",
            param=param,
            event_id=event_id,
        )


def declaration(function: FunctionTool) -> JsonObject:
    """The function in the API's chat format, keys in the order that models know."""
    fields = {"name": function.name, "description": function.description, "parameters": function.parameters}
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": "function", "function": given}


def declared_bytes(function: FunctionTool) -> int:
    """Length of its declaration as JSON, in UTF-8."""
    return len(json.dumps(declaration(function), ensure_ascii=False).encode())


def check_declared_bytes(size: int, root: str, event_id: str | None = None) -> None:
    """Raises `ProtocolError` when ``size`` bytes of declarations are too many."""
    if size > MAX_DECLARED_BYTES:
        raise ProtocolError(
            "invalid_value",
            f"The tools are {size} bytes of JSON; at most {MAX_DECLARED_BYTES} are read to the model. Name fewer "
            "tools, or describe them in fewer words.",
            param=f"{root}.tools",
            event_id=event_id,
        )
