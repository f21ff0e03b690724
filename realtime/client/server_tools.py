"""The tools that a server runs itself, as ``/v1/models`` lists them.

Naming tools in the session's `server_tools` replaces those that the operator offers, so a client that wants one more
names both. Servers of other makers have no such list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from realtime.client.connection import ClientError
from realtime.client.http import get_json, http_url

DEFAULT_TOOLS = ("calculate",)
"""What a client asks for besides the operator's: small models cannot calculate."""


async def server_tools(
    url: str, names: Sequence[str] | None = None, *, api_key: str | None = None, any_certificate: bool = False
) -> list[str] | None:
    """The session's `server_tools`: the operator's and those of ``names`` (None: `DEFAULT_TOOLS`, as far as the server
    has them). None: a session has these without naming any. Raises `ClientError` for names that the server lacks.
    """
    models = http_url(url, "/v1/models")
    try:
        _, body = await get_json(models, api_key=api_key, any_certificate=any_certificate)
    except ClientError:  # some servers answer nothing but the WebSocket
        body = {}
    offered = _tools(body)
    missing = [name for name in names or () if name not in offered]
    if missing:
        raise ClientError(f"the server has no tool {missing[0]!r}; it has: {', '.join(offered) or 'none'}")
    asked = [name for name in (DEFAULT_TOOLS if names is None else names) if name in offered]
    if all(offered[name] for name in asked):
        return None
    return [name for name in offered if offered[name] or name in asked]


def _tools(body: dict[str, Any]) -> dict[str, bool]:
    """By name, whether a session has the tool without naming it; empty where the server has no such list."""
    models = body.get("data")
    listed = models[0].get("server_tools") if isinstance(models, list) and models else None
    return {str(tool["name"]): bool(tool["offered"]) for tool in listed or ()}
