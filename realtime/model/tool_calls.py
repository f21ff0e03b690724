"""Tool calls as the model writes them: ``<tool_call>function\\n{name}\\n{arguments}</tool_call>``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

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


def _parse(body: str, offered: Collection[str] | None) -> ToolCall | None:
    """``body``: kind, name and JSON, split at the first two newlines."""
    fields = body.split("\n", 2)
    if len(fields) != 3:
        return None
    _, name, arguments = fields
    if offered is not None and name not in offered:
        return None
    try:
        json.loads(arguments)
    except ValueError:
        return None
    return ToolCall(name, arguments)
