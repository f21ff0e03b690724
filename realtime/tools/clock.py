"""`get_time`: the date and the time, local or in a time zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from realtime.ports.tools import ServerTool
from realtime.tools.registry import BuiltinTool, ToolError, schema

Now = Callable[[], datetime]
"""The current time, with its time zone."""


def get_time(now: Now = lambda: datetime.now(UTC)) -> BuiltinTool:
    declaration = ServerTool(
        "get_time",
        "The current date, weekday and time.",
        schema(
            timezone={
                "type": "string",
                "description": "IANA time zone such as Europe/Berlin or Asia/Shanghai; left out: where the server is.",
            }
        ),
        read_only=True,
    )

    async def run(arguments: Mapping[str, Any]) -> str:
        name = str(arguments.get("timezone") or "").strip()
        moment = now().astimezone(_zone(name) if name else None)
        return f"{moment:%A}, {moment.day} {moment:%B %Y}, {moment:%H:%M} ({name or moment.tzname()}, UTC{moment:%z})"

    return BuiltinTool(declaration, run)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; "../x"; "Asia", a folder
        raise ToolError(f"There is no time zone {name[:60]!r}; an example of one is Europe/Berlin.") from None
