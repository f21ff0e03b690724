"""`weather` and `web_search`: adapters to an HTTP endpoint of the operator.

The endpoint is called by GET. Its URL may have a placeholder (``{location}``, ``{query}``); otherwise the argument
becomes a query parameter. Its answer is text or JSON, which the model gets unchanged. A key goes into the URL or into a
header: ``https://HOST/PATH?key=…`` or ``https://HOST/PATH Authorization: Bearer …``.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any

from realtime.errors import ConfigError
from realtime.ports.tools import ServerTool
from realtime.tools.registry import BuiltinTool, ToolError, bounded, schema

READ_TIMEOUT_S = 10.0
MAX_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint of a tool. ``header``: name and value of an additional header."""

    url: str
    header: tuple[str, str] | None = None

    @classmethod
    def read(cls, setting: str, name: str) -> Endpoint:
        """Parse ``URL [Header: value]``. Raises `ConfigError` for anything but an HTTP address."""
        url, _, header = setting.strip().partition(" ")
        try:
            parts = urllib.parse.urlsplit(url)
        except ValueError:
            parts = urllib.parse.SplitResult("", "", "", "", "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{name}: got {url[:80]!r}, expected an http or https URL")
        if not header.strip():
            return cls(url)
        key, colon, value = header.partition(":")
        if not colon or not key.strip():
            raise ConfigError(f"{name}: expected 'URL Header: value', got {header.strip()[:20]!r}… behind the URL")
        return cls(url, (key.strip(), value.strip()))

    def asking(self, argument: str, value: str) -> urllib.request.Request:
        quoted = urllib.parse.quote(value, safe="")
        placeholder = "{" + argument + "}"
        url = self.url
        if placeholder in url:
            url = url.replace(placeholder, quoted)
        else:
            url += ("&" if urllib.parse.urlsplit(url).query else "?") + f"{argument}={quoted}"
        headers = {"Accept": "application/json, text/plain", "User-Agent": "realtime-voice"}
        return urllib.request.Request(url, headers=headers | (dict([self.header]) if self.header else {}))


def weather(endpoint: Endpoint) -> BuiltinTool:
    return _asking(
        ServerTool(
            "weather",
            "The current weather and the forecast for a place.",
            schema(["location"], location={"type": "string", "description": "City, or city and country."}),
            read_only=True,
        ),
        endpoint,
        "location",
    )


def web_search(endpoint: Endpoint) -> BuiltinTool:
    return _asking(
        ServerTool(
            "web_search",
            "Search the web for facts that are new or that you do not know.",
            schema(["query"], query={"type": "string", "description": "What to search for, in a few words."}),
            read_only=True,
        ),
        endpoint,
        "query",
    )


def _asking(declaration: ServerTool, endpoint: Endpoint, argument: str) -> BuiltinTool:
    async def run(arguments: Mapping[str, Any]) -> str:
        value = str(arguments.get(argument, "")).strip()
        if not value:
            raise ToolError(f"The argument {argument} is empty.")
        return await asyncio.to_thread(_fetch, endpoint.asking(argument, value), declaration.name)

    return BuiltinTool(declaration, run)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: only the operator's address gets requests, and its key."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _fetch(request: urllib.request.Request, name: str) -> str:
    """The text of the answer; blocks. `ToolError` does not repeat the address, which may contain a key."""
    try:
        with _OPENER.open(request, timeout=READ_TIMEOUT_S) as answer:
            body = answer.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        error.close()
        raise ToolError(f"The service behind {name} answered with HTTP status {error.code}.") from None
    except (OSError, HTTPException, ValueError):
        raise ToolError(f"The service behind {name} cannot be reached.") from None
    text = body.decode("utf-8", "replace").strip()
    if not text:
        raise ToolError(f"The service behind {name} gave an empty answer.")
    return bounded(_compact(text))


def _compact(text: str) -> str:
    """JSON on one line without escapes, which takes fewer tokens."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
