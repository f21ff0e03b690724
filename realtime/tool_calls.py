"""Tools in the format of Step-Audio 2 (spec/model.md section 9): how the model is told of them, how it calls them, how
it is told what came of it. A leaf: no torch, no token ids.

A call is ``<tool_call>function\\n{name}\\n{arguments}</tool_call>``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from realtime.messages import Message, Text

AFTER_TOOL_RESULT = "\n\n\n请用口语化形式总结检索结果，简短地回答用户的问题。"
"""Follows a tool's result ("sum the result up as one speaks, answer briefly"): the model was trained with it."""

_TAGGED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """``arguments`` is JSON text, as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """``content``: the text outside the calls; the whole text when no call in it is valid."""

    content: str
    calls: tuple[ToolCall, ...]


def parse_tool_calls(text: str, offered: Collection[str] | None = None) -> ParsedReply:
    """Read a finished reply. Calls with broken JSON, or of a tool not ``offered`` (None: any), are skipped;
    an unterminated call is none."""
    calls = [call for body in _TAGGED.findall(text) if (call := _parse(body, offered)) is not None]
    return ParsedReply(_TAGGED.sub("", text) if calls else text, tuple(calls))


def render_tool_call(call: ToolCall) -> str:
    """The text that `parse_tool_calls` reads back."""
    return f"<tool_call>function\n{call.name}\n{call.arguments}</tool_call>"


def tool_schemas(tools: Sequence[dict[str, Any]]) -> Message:
    """The turn that declares tools, directly after the system turn.

    ``tools``: OpenAI's chat format, {"type": "function", "function": {name, description, parameters}}, in this order.
    """
    return Message("tool_json_schemas", json.dumps(list(tools), ensure_ascii=False))


def tool_result(result: str) -> Message:
    """The turn that gives a tool's result to the model, after the assistant's turn that called it."""
    return Message("input", (Text(result), Text(AFTER_TOOL_RESULT)))


def _parse(body: str, offered: Collection[str] | None) -> ToolCall | None:
    """``body``: kind, name and JSON, split at the first two newlines."""
    fields = body.split("\n", 2)
    if len(fields) != 3:
        return None
    _, name, arguments = fields
    if offered is not None and name not in offered:
        return None
    try:
        json.loads(arguments, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, arguments)


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity, which Python reads and no other client does."""
    raise ValueError(f"{constant} is no JSON")
