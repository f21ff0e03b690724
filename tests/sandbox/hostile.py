"""Tool schemas with which a client attacks."""

from __future__ import annotations

from typing import Any

INTERSECTION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "x": {"type": "string", "allOf": [{"pattern": f"^(a|b)*a(a|b){{{count}}}c$"} for count in range(20, 50)]}
    },
    "required": ["x"],
}
"""An intersection of patterns with 2 ** 50 states: the server was frozen by 1.5 kB of it."""

MULTIPLE: dict[str, Any] = {
    "type": "object",
    "properties": {"x": {"type": "integer", "multipleOf": 999_983}},
    "required": ["x"],
}
"""An automaton of a million states: 9 s of CPU time."""


def optional(count: int, prefix: str = "p") -> dict[str, Any]:
    """A schema of so many optional properties, which compiles in a time that grows with their square."""
    return {"type": "object", "properties": {f"{prefix}{index}": {} for index in range(count)}}
