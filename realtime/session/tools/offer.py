"""Which functions a response may call, who runs them, and how they are declared to the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from realtime.ports.messages import Message
from realtime.ports.tool_calls import CallableFunction, CallRules, tool_schemas
from realtime.ports.tools import ToolRunner
from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.responses import ResponseConfig
from realtime.protocol.tools import (
    FunctionTool,
    ToolChoice,
    ToolChoiceFunction,
    ToolChoiceMcp,
    declaration,
)


@dataclass(frozen=True, slots=True)
class ToolBinding:
    """A function that the model may call. ``runner`` runs it under the name ``tool``; None: the client runs it.

    ``server_label``: of its MCP server. ``asks``: the client must approve each call.
    """

    function: FunctionTool
    runner: ToolRunner | None = None
    tool: str = ""
    server_label: str | None = None
    asks: bool = False

    @property
    def name(self) -> str:
        return self.function.name


@dataclass(frozen=True, slots=True)
class Offer:
    """The functions that one response may call."""

    callees: tuple[ToolBinding, ...] = ()
    choice: ToolChoice = "auto"
    parallel: bool = True

    def find(self, name: str) -> ToolBinding | None:
        return next((callee for callee in self.callees if callee.name == name), None)

    @property
    def rules(self) -> CallRules:
        """The rules for decoding. A choice that leaves no function is ignored."""
        chosen = tuple(callee for callee in self.callees if self._is_chosen(callee))
        single = isinstance(self.choice, ToolChoiceFunction) and bool(chosen)
        return CallRules(
            tuple(_callable(callee.function) for callee in chosen[: 1 if single else None] or self.callees),
            required=self.choice != "auto" and bool(chosen),
            parallel=self.parallel and not single,
        )

    @property
    def declaration(self) -> tuple[Message, ...]:
        """The declaration of the functions, a turn after the system turn; empty when there are none."""
        if not self.callees:
            return ()
        return (tool_schemas([declaration(callee.function) for callee in self.callees]),)

    def _is_chosen(self, callee: ToolBinding) -> bool:
        match self.choice:
            case ToolChoiceFunction(name=name):
                return callee.name == name
            case ToolChoiceMcp(server_label=label, name=tool):
                return callee.server_label == label and tool in (None, callee.tool)
        return True


def make_offer(config: ResponseConfig, servers: Iterable[ToolBinding] = ()) -> Offer:
    """The client's functions, then those of ``servers`` whose names are free."""
    if config.tool_choice == "none":
        return Offer()
    callees = {tool.name: ToolBinding(tool) for tool in reversed(config.tools) if isinstance(tool, FunctionTool)}
    ordered = dict(reversed(callees.items()))
    for callee in servers:
        ordered.setdefault(callee.name, callee)
    return Offer(tuple(ordered.values()), config.tool_choice, config.parallel_tool_calls)


def check_choice(choice: ToolChoice, names: Sequence[str], where: str) -> None:
    """Raises `ProtocolError` for a chosen function that is not among ``names``."""
    if isinstance(choice, ToolChoiceFunction) and choice.name not in names:
        raise ProtocolError(
            "invalid_value",
            f"tool_choice names the function {quote(choice.name)}, which is not among the tools. Add it, or choose one "
            "of them: " + (", ".join(map(quote, names)) or "there are none") + ".",
            param=f"{where}.tool_choice",
        )


def callable_name(name: str) -> bool:
    """Whether the model can write this name in a call."""
    return bool(name) and all(symbol.isprintable() and symbol not in "<>" for symbol in name)


def _callable(function: FunctionTool) -> CallableFunction:
    parameters = function.parameters
    return CallableFunction(function.name, "" if parameters is None else json.dumps(parameters))
