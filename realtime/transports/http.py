"""The HTTP side: routes of the one port that serves the console, health, metrics, and `/v1/realtime`.

Starlette on uvicorn with uvicorn's `websockets` implementation: one port and one TLS context for GET, POST and
WebSocket, where the `websockets` server alone refuses every method but GET (and WebRTC offers are POSTs).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from realtime.errors import CapacityError
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import Ids
from realtime.session.config import SessionConfig
from realtime.session.manager import Seat
from realtime.transports.access import Access, reads_status
from realtime.transports.client_secrets import ClientSecret
from realtime.transports.metrics_page import CONTENT_TYPE, ServerMetrics
from realtime.transports.refusal import Refused, refusal
from realtime.transports.secret_requests import answer, older_answer, read_older_request, read_request
from realtime.transports.websocket import WebSocketChannel, chosen_subprotocol, turn_away

logger = logging.getLogger(__name__)


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

    @property
    def session_config(self) -> SessionConfig | None:
        """How sessions begin; None until the model is ready."""

    @property
    def metrics(self) -> ServerMetrics: ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Entered while the server runs: starts loading, and at the end stops everything."""

    def admit(self) -> Seat:
        """A place for one caller, to be entered with ``with``. Raises `CapacityError` when there is none."""

    def recent_turns(self, limit: int) -> list[dict[str, Any]]:
        """Latency parts of the latest responses, newest last, in milliseconds."""


def build_app(host: Host, frontend: Path | None, access: Access | None = None) -> Starlette:
    """The ASGI application. ``frontend``: the console's folder, None: no page. ``access``: None is open."""
    endpoints = _Endpoints(host, access or Access())
    routes: list[BaseRoute] = [
        Route("/healthz", endpoints.healthz),
        Route("/readyz", endpoints.readyz),
        Route("/metrics", endpoints.metrics),
        Route("/v1/models", endpoints.models),
        Route("/v1/realtime/turns", endpoints.turns),
        Route("/v1/realtime/client_secrets", endpoints.client_secrets, methods=["POST"]),
        Route("/v1/realtime/sessions", endpoints.older_sessions, methods=["POST"]),
        WebSocketRoute("/v1/realtime", endpoints.realtime),
    ]
    if frontend is not None:
        routes.append(Mount("/", StaticFiles(directory=frontend, html=True)))
    handlers = {Refused: _answer_refusal, ProtocolError: _answer_refusal}
    return Starlette(routes=routes, lifespan=_lifespan(host.running), exception_handlers=handlers)


class _Endpoints:
    """The routes' handlers. Health is for everyone; all else of HTTP needs a key where the server has keys."""

    def __init__(self, host: Host, access: Access) -> None:
        self._host = host
        self._access = access

    async def healthz(self, request: Request) -> Response:
        """Whether the model is loaded and warm."""
        health = self._host.health
        body = {"status": health.state, "reason": health.reason, "model": self._host.model_name}
        return JSONResponse(body, 200 if health.state == "ready" else 503)

    async def readyz(self, request: Request) -> Response:
        """Whether a caller would be served now: for what sends callers to one server of several."""
        health = self._host.health
        if health.state != "ready":
            return JSONResponse({"status": health.state, "reason": health.reason}, 503)
        try:
            with self._host.admit():
                return JSONResponse({"status": "ready", "reason": "a place is free"})
        except CapacityError as error:
            return JSONResponse({"status": "full", "reason": str(error)}, 503)

    async def metrics(self, request: Request) -> Response:
        self._access.check_key(request)
        return PlainTextResponse(self._host.metrics.page(), media_type=CONTENT_TYPE)

    async def models(self, request: Request) -> Response:
        self._access.check_key(request)
        entry = {"id": self._host.model_name, "object": "model", "created": 0, "owned_by": "realtime"}
        return JSONResponse({"object": "list", "data": [entry]})

    async def turns(self, request: Request) -> Response:
        self._access.check_key(request)
        return JSONResponse({"data": self._host.recent_turns(_limit(request.query_params.get("limit")))})

    async def client_secrets(self, request: Request) -> Response:
        config = self._check_secret_request(request)
        asked = await read_request(request, config)
        value, secret = self._access.secrets.create(asked.settings, model=asked.model, seconds=asked.seconds)
        return JSONResponse(answer(value, secret, asked.session))

    async def older_sessions(self, request: Request) -> Response:
        """The same in the shape of the API's beta."""
        config = self._check_secret_request(request)
        asked = await read_older_request(request, config)
        value, secret = self._access.secrets.create(asked.settings, model=asked.model, seconds=asked.seconds)
        return JSONResponse(older_answer(value, secret, asked.session))

    def _check_secret_request(self, request: Request) -> SessionConfig:
        self._access.check_origin(request)
        self._access.check_key(request)
        config = self._host.session_config
        if config is None:
            raise self._not_ready()
        return config

    async def realtime(self, websocket: WebSocket) -> None:
        try:
            secret = self._check_caller(websocket)
            with self._host.admit() as seat:
                await self._serve(websocket, seat, secret)
        except CapacityError as error:
            self._host.metrics.refused(error.code)
            await websocket.send_denial_response(refusal(error))
        except Refused as error:
            self._host.metrics.refused(error.fault.code)
            logger.info("a caller was refused (%s): %s", error.fault.code, error)
            if error.status == 401 and not reads_status(websocket):
                await turn_away(websocket, error.fault)
            else:
                await websocket.send_denial_response(refusal(error))

    def _check_caller(self, websocket: WebSocket) -> ClientSecret | None:
        self._access.check_origin(websocket)
        secret = self._access.check_caller(websocket)
        if self._host.health.state != "ready":
            raise self._not_ready()
        return secret

    def _not_ready(self) -> Refused:
        return Refused(503, ProtocolError("server_not_ready", self._host.health.reason, type="server_error"))

    async def _serve(self, websocket: WebSocket, seat: Seat, secret: ClientSecret | None) -> None:
        await websocket.accept(subprotocol=chosen_subprotocol(websocket))
        ids, query, metrics = Ids(), websocket.query_params, self._host.metrics
        channel = WebSocketChannel(websocket, ids, metrics.response_done)
        settings = secret.settings if secret is not None else {}
        if not settings and query.get("intent") == "transcription":
            settings = {"type": "transcription"}
        model = secret.model if secret is not None and secret.model else query.get("model")
        metrics.session_began()
        try:
            await seat.serve(channel, model=model, settings=settings, ids=ids)
        finally:
            metrics.session_ended()


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, (Refused, ProtocolError))
    return refusal(error)


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
