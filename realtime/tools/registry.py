"""The server's own tools by name, as a `realtime.ports.tools.ToolSet`: reads arguments, limits the time, and reports
faults to the model in a sentence.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime.ports.tools import ServerTool, ToolFault, ToolResult

logger = logging.getLogger(__name__)

TIMEOUT_S = 15.0
"""The longest time of one tool."""

MAX_RESULT_CHARS = 4000
"""The longest result that the model gets: about a thousand tokens."""


class ToolError(Exception):
    """A tool cannot do what it was asked. The text is for the model, which says it in its own words."""


@dataclass(frozen=True, slots=True)
class BuiltinTool:
    """``run``: arguments -> the text for the model, or a `ToolResult`. Raises `ToolError`."""

    declaration: ServerTool
    run: Callable[[Mapping[str, Any]], Awaitable[str | ToolResult]]


class Registry:
    """`ToolSet` over `BuiltinTool`s."""

    def __init__(self, tools: Iterable[BuiltinTool] = (), timeout_s: float = TIMEOUT_S) -> None:
        self._tools = {tool.declaration.name: tool for tool in tools}
        self._timeout_s = timeout_s

    @property
    def tools(self) -> tuple[ServerTool, ...]:
        return tuple(tool.declaration for tool in self._tools.values())

    async def call(self, name: str, arguments: str) -> ToolResult:
        tool = self._tools.get(name)
        if tool is None:
            return failure(f"There is no tool {name[:80]!r}.")
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await tool.run(_read(arguments))
        except ToolError as error:
            return failure(str(error))
        except TimeoutError:
            return failure(f"The tool {name} gave no answer within {self._timeout_s:g} seconds.")
        except Exception:  # a tool's border: the conversation goes on without its result
            logger.exception("the tool %s failed", name)
            return failure(f"The tool {name} failed.")
        return result if isinstance(result, ToolResult) else ToolResult(bounded(result))


def failure(message: str) -> ToolResult:
    return ToolResult(f"Error: {message}", ToolFault("execution", message))


def bounded(text: str) -> str:
    """A result as the model gets it: cut if it is too long."""
    return text if len(text) <= MAX_RESULT_CHARS else text[:MAX_RESULT_CHARS] + " … (cut)"


def schema(required: Iterable[str] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": {name: dict(value) for name, value in properties.items()},
        "required": list(required),
        "additionalProperties": False,
    }


def _read(arguments: str) -> Mapping[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        raise ToolError("The arguments are no JSON.") from None
    if not isinstance(value, dict):
        raise ToolError("The arguments are no JSON object.")
    return value
