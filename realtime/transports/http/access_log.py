"""One line in the log for each HTTP request: method, path without query, status, milliseconds, address of the peer.

A WebSocket's handshake is a request, too: 101, or the status with which it was refused. Of the path only the words of
this server's own routes and files are shown, and `*` for all others: a path may hold the id of a call, or a key that
stands in the wrong place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_SEGMENTS = 12
"""Parts of a path that are shown."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def known_words(routes: Iterable[BaseRoute], folder: Path | None) -> frozenset[str]:
    """The words of the routes, and the names in the page's ``folder``."""
    paths = [route.path for route in routes if isinstance(route, Route | WebSocketRoute | Mount)]
    words = {word for path in paths for word in path.split("/") if "{" not in word}
    return frozenset(words | {entry.name for entry in folder.rglob("*")} if folder is not None else words)


class AccessLog:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, words: frozenset[str]) -> None:
        self._app = app
        self._words = words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status: int | None = None
        accepted = False

        async def noting(message: Message) -> None:
            nonlocal status, accepted
            match message["type"]:
                case "http.response.start" | "websocket.http.response.start":
                    status = message["status"]
                case "websocket.accept":
                    accepted = True  # the session has a line of its own at its end
                    self._write(scope, 101, began)
                case "websocket.close":
                    status = 403
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = 500 if status is None else status
            raise
        finally:
            if not accepted:
                self._write(scope, status, began)

    def _write(self, scope: Scope, status: int | None, began: float) -> None:
        """``status`` None: the peer went before it had an answer."""
        method = scope.get("method", "GET")
        method = method if method in METHODS else "*"
        words = scope["path"].split("/")
        path = "/".join(word if word in self._words else "*" for word in words[: MAX_SEGMENTS + 1])
        ms = round((time.monotonic() - began) * 1000, 1)
        peer = scope["client"][0] if scope.get("client") else None
        fields = {"method": method, "path": path, "status": status, "ms": ms, "peer": peer}
        shown = "no answer" if status is None else status
        logger.info("%s %s %s %s ms %s", method, path, shown, ms, peer, extra={"fields": fields})
