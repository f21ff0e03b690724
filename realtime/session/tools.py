"""Which functions a response may call, and how the model is told of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from realtime.messages import Message
from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.responses import ResponseConfig
from realtime.protocol.session_config import FunctionTool, Tool, ToolChoice, ToolChoiceFunction
from realtime.tool_calls import CallableFunction, CallRules, tool_schemas

SchemaCheck = Callable[[Any], str | None]
"""Why arguments cannot be held to this schema of a function's parameters; None: they can."""


def unchecked(schema: Any) -> str | None:
    """Takes every schema."""
    return None


def offered_functions(config: ResponseConfig) -> tuple[FunctionTool, ...]:
    """What the model is told that it may call."""
    if config.tool_choice == "none":
        return ()
    return tuple(tool for tool in config.tools if isinstance(tool, FunctionTool))


def call_rules(config: ResponseConfig) -> CallRules:
    """What ``tool_choice`` and ``parallel_tool_calls`` ask for, as decoding keeps to it."""
    functions = offered_functions(config)
    choice = config.tool_choice
    if isinstance(choice, ToolChoiceFunction):
        functions = tuple(function for function in functions if function.name == choice.name)[:1]
    forced = choice != "auto" and bool(functions)
    return CallRules(
        tuple(_callable(function) for function in functions),
        required=forced,
        parallel=config.parallel_tool_calls and not isinstance(choice, ToolChoiceFunction),
    )


def check_tools(tools: Sequence[Tool], choice: ToolChoice, check: SchemaCheck, where: str) -> None:
    """Raises `ProtocolError` for a function that cannot be called, and for the choice of one that is not there.

    ``where``: "session" or "response", whose fields these are.
    """
    functions = [tool for tool in tools if isinstance(tool, FunctionTool)]
    for index, tool in enumerate(tools):
        if isinstance(tool, FunctionTool):
            _check_function(tool, check, f"{where}.tools[{index}]")
    if isinstance(choice, ToolChoiceFunction) and choice.name not in {function.name for function in functions}:
        raise ProtocolError(
            "invalid_value",
            f"tool_choice names the function {quote(choice.name)}, which is not among the tools. Add it, or choose one "
            "of them: " + (", ".join(quote(function.name) for function in functions) or "there are none") + ".",
            param=f"{where}.tool_choice",
        )


def declaration(config: ResponseConfig) -> tuple[Message, ...]:
    """The turn behind the system turn that tells of the offered functions; none when there are none."""
    functions = offered_functions(config)
    return (tool_schemas([_schema(function) for function in functions]),) if functions else ()


def _check_function(function: FunctionTool, check: SchemaCheck, where: str) -> None:
    if any(not symbol.isprintable() or symbol in "<>" for symbol in function.name):
        raise ProtocolError(
            "invalid_value",
            f"Invalid value: {quote(function.name)}. A function's name has no line breaks, control characters, < or >.",
            param=f"{where}.name",
        )
    problem = check(function.parameters)
    if problem is not None:
        raise ProtocolError(
            "invalid_value",
            f"The parameters of {quote(function.name)} are no JSON schema that arguments can be held to: {problem}.",
            param=f"{where}.parameters",
        )


def _callable(function: FunctionTool) -> CallableFunction:
    parameters = function.parameters
    return CallableFunction(function.name, "" if parameters is None else json.dumps(parameters))


def _schema(function: FunctionTool) -> dict[str, Any]:
    """In the API's chat format, keys in the order that the model knows."""
    fields = {"name": function.name, "description": function.description, "parameters": function.parameters}
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": "function", "function": given}
