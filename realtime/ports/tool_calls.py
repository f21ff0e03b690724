"""Tools in the format of Step-Audio 2 (spec/model.md section 9): their declaration, the model's calls and the results.
A leaf: no torch, no token ids.

A call is ``<tool_call>function\\n{name}\\n{arguments}</tool_call>``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from realtime.ports.messages import Message, Role, Text

AFTER_TOOL_RESULT = "\n\n\n请用口语化形式总结检索结果，简短地回答用户的问题。"
"""Follows a tool's result ("sum the result up as one speaks, answer briefly"): the model was trained with it."""

RESULT_ROLE: Role = "input"

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """``arguments`` is JSON text, as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallableFunction:
    """A function that a reply may call. ``parameters``: the JSON schema of its arguments as text; ``""``: none."""

    name: str
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class CallRules:
    """Which calls a reply may hold, kept to while it is decoded (`realtime.model.constraints`).

    ``functions``: empty, nothing can be called. ``required``: the reply is a call from its first word on. ``parallel``:
    there may be several. ``words_first``: the reply begins with words, so it is neither a call nor empty.
    """

    functions: tuple[CallableFunction, ...] = ()
    required: bool = False
    parallel: bool = True
    words_first: bool = False


@dataclass(frozen=True, slots=True)
class AllowedCalls:
    """`CallRules` on the engine's port: the functions by name, their schemas are known (`Conversation`)."""

    names: tuple[str, ...] = ()
    required: bool = False
    parallel: bool = True
    words_first: bool = False


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """``content``: the text outside the calls, without tags; the whole text when no call in it is valid."""

    content: str
    calls: tuple[ToolCall, ...]


def parse_tool_calls(text: str, offered: Collection[str] | None = None) -> ParsedReply:
    """Read a finished reply. Calls with broken JSON, or of a tool not ``offered`` (None: any), are skipped;
    an unterminated call is none."""
    calls: list[ToolCall] = []
    words: list[str] = []
    rest = text
    while (found := _next_call(rest)) is not None:
        before, call, rest = found
        words.append(before)
        if call is not None and (offered is None or call.name in offered):
            calls.append(call)
    if not calls:
        return ParsedReply(text, ())
    content = "".join([*words, rest]).partition(_OPEN)[0]  # what follows was not ended
    return ParsedReply(content.replace(_CLOSE, ""), tuple(calls))


def render_tool_call(call: ToolCall) -> str:
    """The text that `parse_tool_calls` reads back."""
    return "".join(part.text for part in tool_call_parts(call))


def tool_call_parts(call: ToolCall) -> tuple[Text, ...]:
    """A call in the prompt. Its tags are the model's; name and arguments are text, even where they spell a tag."""
    return Text(_OPEN, control=True), Text(f"function\n{call.name}\n{call.arguments}"), Text(_CLOSE, control=True)


def tool_schemas(tools: Sequence[dict[str, Any]]) -> Message:
    """The turn that declares tools, directly after the system turn.

    ``tools``: OpenAI's chat format, {"type": "function", "function": {name, description, parameters}}, in this order.
    """
    return Message("tool_json_schemas", json.dumps(list(tools), ensure_ascii=False))


def tool_result(result: str, call_id: str = "") -> Message:
    """The turn that gives a tool's result to the model, after the assistant's turn that called it. ``call_id``: of the
    call; which result is which, `realtime.session.context.tool_results` says."""
    return Message(RESULT_ROLE, (Text(result), Text(AFTER_TOOL_RESULT)), call_id=call_id)


def with_heading(result: Message, heading: str) -> Message:
    """A tool's result that begins with this line. With the function's name it is as StepFun's server writes the results
    of a ``tool`` (spec/model.md section 7)."""
    first, *rest = result.content if isinstance(result.content, tuple) else ()
    if not isinstance(first, Text):
        raise ValueError("expected a tool's result")
    return replace(result, content=(Text(f"{heading}\n{first.text}"), *rest))


def _next_call(text: str) -> tuple[str, ToolCall | None, str] | None:
    """What stands before the first call, the call (None: broken) and what stands behind; None: there is none.

    The tag that ends a call may also stand in a string of its arguments: the first that leaves valid JSON counts.
    """
    before, _, behind = text.partition(_OPEN)
    ends = [match.start() for match in re.finditer(_CLOSE, behind)]
    if not ends:
        return None
    calls = ((end, _parse(behind[:end])) for end in ends)
    end, call = next((found for found in calls if found[1] is not None), (ends[0], None))
    return before, call, behind[end + len(_CLOSE) :]


def _parse(body: str) -> ToolCall | None:
    """``body``: kind, name and JSON, split at the first two newlines."""
    fields = body.split("\n", 2)
    if len(fields) != 3:
        return None
    _, name, arguments = fields
    try:
        json.loads(arguments, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return ToolCall(name, arguments)


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity, which Python reads and no other client does."""
    raise ValueError(f"{constant} is no JSON")
