"""The HTTP side: routes of the one port that serves the console, health, and `/v1/realtime`.

Starlette on uvicorn with uvicorn's `websockets` implementation: one port and one TLS context for GET, POST and
WebSocket, where the `websockets` server alone refuses every method but GET (and WebRTC offers are POSTs).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from realtime.errors import CapacityError
from realtime.protocol.ids import Ids
from realtime.session.manager import Seat
from realtime.transports.websocket import WebSocketChannel, chosen_subprotocol


@dataclass(frozen=True, slots=True)
class Health:
    """``reason``: what is being done, or what went wrong; shown to whoever asks."""

    state: Literal["loading", "ready", "failed", "draining"]
    reason: str


class Host(Protocol):
    """What the routes need of the application."""

    @property
    def health(self) -> Health: ...

    @property
    def model_name(self) -> str: ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Entered while the server runs: starts loading, and at the end stops everything."""

    def admit(self) -> Seat:
        """A place for one caller, to be entered with ``with``. Raises `CapacityError` when there is none."""

    def recent_turns(self, limit: int) -> list[dict[str, Any]]:
        """Latency parts of the latest responses, newest last, in milliseconds."""


def build_app(host: Host, frontend: Path | None) -> Starlette:
    """The ASGI application. ``frontend``: the console's folder, None: no page."""

    async def healthz(request: Request) -> Response:
        health = host.health
        body = {"status": health.state, "reason": health.reason, "model": host.model_name}
        return JSONResponse(body, 200 if health.state == "ready" else 503)

    async def models(request: Request) -> Response:
        entry = {"id": host.model_name, "object": "model", "created": 0, "owned_by": "realtime"}
        return JSONResponse({"object": "list", "data": [entry]})

    async def turns(request: Request) -> Response:
        return JSONResponse({"data": host.recent_turns(_limit(request.query_params.get("limit")))})

    async def realtime(websocket: WebSocket) -> None:
        if host.health.state != "ready":
            await websocket.send_denial_response(_error(503, "server_not_ready", host.health.reason))
            return
        try:
            with host.admit() as seat:
                await websocket.accept(subprotocol=chosen_subprotocol(websocket))
                ids, query = Ids(), websocket.query_params
                channel = WebSocketChannel(websocket, ids)
                settings = {"type": "transcription"} if query.get("intent") == "transcription" else {}
                await seat.serve(channel, model=query.get("model"), settings=settings, ids=ids)
        except CapacityError as error:
            await websocket.send_denial_response(_error(503, error.code, str(error)))

    routes: list[BaseRoute] = [
        Route("/healthz", healthz),
        Route("/v1/models", models),
        Route("/v1/realtime/turns", turns),
        WebSocketRoute("/v1/realtime", realtime),
    ]
    if frontend is not None:
        routes.append(Mount("/", StaticFiles(directory=frontend, html=True)))
    return Starlette(routes=routes, lifespan=_lifespan(host.running))


def _lifespan(
    running: Callable[[], AbstractAsyncContextManager[None]],
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with running():
            yield

    return lifespan


def _limit(text: str | None) -> int:
    return min(int(text), 1000) if text is not None and text.isdecimal() else 100


def _error(status: int, code: str, message: str) -> Response:
    """The error body that every OpenAI client knows."""
    body = {"error": {"type": "server_error", "code": code, "message": message, "param": None}}
    return Response(json.dumps(body), status, media_type="application/json")
