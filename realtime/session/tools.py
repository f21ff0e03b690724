"""Which functions a response may call, and how the model is told of them."""

from __future__ import annotations

from typing import Any

from realtime.messages import Message
from realtime.protocol.responses import ResponseConfig
from realtime.protocol.session_config import FunctionTool
from realtime.tool_calls import tool_schemas


def offered_functions(config: ResponseConfig) -> tuple[FunctionTool, ...]:
    """What the model may call. Any ``tool_choice`` but ``none`` leaves the choice to the model."""
    if config.tool_choice == "none":
        return ()
    return tuple(tool for tool in config.tools if isinstance(tool, FunctionTool))


def declaration(config: ResponseConfig) -> tuple[Message, ...]:
    """The turn behind the system turn that tells of the offered functions; none when there are none."""
    functions = offered_functions(config)
    return (tool_schemas([_schema(function) for function in functions]),) if functions else ()


def _schema(function: FunctionTool) -> dict[str, Any]:
    """In the API's chat format, keys in the order that the model knows."""
    fields = {"name": function.name, "description": function.description, "parameters": function.parameters}
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": "function", "function": given}
