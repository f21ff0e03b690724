"""The HTTP routes of the one port that serves the page, health, metrics and `/v1/realtime`.

Starlette runs on uvicorn with uvicorn's `websockets` implementation, so one port and one TLS context serve GET, POST
and WebSocket. The `websockets` server alone accepts GET only, and WebRTC offers are POSTs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from realtime.errors import CapacityError, PeerError
from realtime.ports.tools import ServerTool
from realtime.protocol.session_config import Session, TranscriptionSession
from realtime.session.config import SessionConfig
from realtime.transports.http.access import Access, Caller
from realtime.transports.http.access_log import AccessLog, known_words
from realtime.transports.http.admin import Admin
from realtime.transports.http.admin_access import AdminAccess
from realtime.transports.http.console_files import ConsoleFiles
from realtime.transports.http.cors import Cors
from realtime.transports.http.host import Host
from realtime.transports.http.hosts import HostCheck, Hosts
from realtime.transports.http.metrics_page import CONTENT_TYPE
from realtime.transports.http.refusal import Refused, refusal
from realtime.transports.http.secret_requests import answer, older_answer, read_older_request, read_request
from realtime.transports.webrtc.call_requests import PHONE_ACTIONS, SDP, read_new_offer, read_offer, refuse_phone_action
from realtime.transports.webrtc.calls import Calls
from realtime.transports.websocket.channel import AZURE_BETA_PATH, asks_for_beta
from realtime.transports.websocket.endpoint import RealtimeSocket, not_ready

logger = logging.getLogger(__name__)

AZURE_PATH = "/openai/v1/realtime"
"""The path of Azure's clients since GA; `AZURE_BETA_PATH` is that of the beta."""


CALL_PATHS = ("/v1/realtime", AZURE_PATH)


def build_app(
    host: Host, frontend: Path | None, access: Access | None = None, admin: AdminAccess | None = None
) -> Starlette:
    """The ASGI application. ``frontend``: the page's folder; None: no page. ``access``: None: an open server.
    ``admin``: None: the operators' routes are closed."""
    access, admin = access or Access(), admin or AdminAccess()
    endpoints, socket = _Endpoints(host, access, admin), _endpoint(RealtimeSocket(host, access))
    operators = Admin(host, access, admin)
    routes: list[BaseRoute] = [
        Route("/healthz", endpoints.healthz),
        Route("/readyz", endpoints.readyz),
        Route("/metrics", endpoints.metrics),
        Route("/v1/models", endpoints.models),
        Route("/v1/models/{name:path}", endpoints.model),
        Route("/v1/audio/voices", endpoints.voices),
        Route("/v1/realtime/turns", endpoints.turns),
        Route("/v1/realtime/client_secrets", endpoints.client_secrets, methods=["POST"]),
        Route("/v1/realtime/sessions", endpoints.older_sessions, methods=["POST"]),
        *(Route(f"{path}/calls", endpoints.calls, methods=["POST"]) for path in CALL_PATHS),
        *(Route(f"{path}/calls/{{call_id}}", endpoints.offer_again, methods=["POST"]) for path in CALL_PATHS),
        *(Route(f"{path}/calls/{{call_id}}/{{action}}", endpoints.call, methods=["POST"]) for path in CALL_PATHS),
        Route("/v1/realtime", endpoints.calls, methods=["POST"]),
        *(WebSocketRoute(path, socket) for path in ("/v1/realtime", AZURE_PATH, AZURE_BETA_PATH)),
    ]
    routes += [
        Route("/admin/state", operators.state),
        Route("/admin/sessions/{session_id}/end", operators.end, methods=["POST"]),
        WebSocketRoute("/admin/sessions/{session_id}/events", operators.events),
    ]
    routes.append(WebSocketRoute("/{path:path}", _no_such_socket))
    if frontend is not None:
        routes.append(Mount("/", ConsoleFiles(directory=frontend, html=True)))
    handlers = dict.fromkeys((Refused, PeerError, CapacityError), _answer_refusal)
    log = Middleware(AccessLog, words=known_words(routes, frontend) | {"hangup", *PHONE_ACTIONS})
    middleware = [log, Middleware(Cors, origins=access.origins)]
    if not access.has_keys:
        middleware.insert(1, Middleware(HostCheck, hosts=Hosts((*access.hosts, *access.origins.names))))
    lifespan = _lifespan(host.running)
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=middleware)


def _endpoint(socket: RealtimeSocket) -> Callable[[WebSocket], Awaitable[None]]:
    """A function, because Starlette takes other callables for ASGI applications."""

    async def realtime(websocket: WebSocket) -> None:
        await socket(websocket)

    return realtime


async def _no_such_socket(websocket: WebSocket) -> None:
    """Answer 404. Without this route the handshake is refused with 403, which reads as a wrong key."""
    paths = ", ".join(("/v1/realtime", AZURE_PATH, AZURE_BETA_PATH))
    fault = PeerError("not_found", f"No WebSocket is served at {websocket.url.path[:80]!r}. There is: {paths}.")
    await websocket.send_denial_response(refusal(Refused(404, fault)))


class _Endpoints:
    """The handlers of the routes. All but health need a key where the server has keys."""

    def __init__(self, host: Host, access: Access, admin: AdminAccess) -> None:
        self._host = host
        self._access = access
        self._admin = admin
        self._started = int(time.time())
        self._calls = Calls(host, access)

    async def healthz(self, request: Request) -> Response:
        """Whether the model is loaded and warm, and its workers live."""
        health = self._host.health
        body: dict[str, Any] = {"status": health.state, "reason": health.reason, "model": self._host.model_name}
        if health.workers:
            body["workers"] = health.workers
        return JSONResponse(body, 200 if health.state == "ready" else 503)

    async def readyz(self, request: Request) -> Response:
        """Whether a new client would get a session now, for load balancers."""
        health = self._host.health
        if health.state != "ready":
            return JSONResponse({"status": health.state, "reason": health.reason}, 503)
        try:
            with self._host.admit():
                return JSONResponse({"status": "ready", "reason": "a place is free"})
        except CapacityError as error:
            return JSONResponse({"status": "full", "reason": str(error)}, 503)

    async def metrics(self, request: Request) -> Response:
        if not self._admin.knows(request):
            self._access.check_key(request)
        return PlainTextResponse(self._host.metrics.page(), media_type=CONTENT_TYPE)

    async def models(self, request: Request) -> Response:
        self._access.check_key(request)
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        self._access.check_key(request)
        name = request.path_params["name"]
        if name != self._host.model_name:
            message = f"The model {name[:80]!r} is not here; {self._host.model_name!r} is, and answers to any name."
            raise Refused(404, PeerError("model_not_found", message, param="model"))
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        """The API's model object, with extensions: modalities, voices and the server's own tools."""
        return {
            "id": self._host.model_name,
            "object": "model",
            "created": self._started,
            "owned_by": "realtime",
            "input_modalities": ["audio", "text"],
            "output_modalities": ["audio", "text"],
            "voices": list(self._host.voices),
            "server_tools": [_shown(tool) for tool in self._host.server_tools],
        }

    async def voices(self, request: Request) -> Response:
        """Names for `audio.output.voice`."""
        self._access.check_key(request)
        voices = self._host.voices
        listed = [{"id": name, "object": "voice", "name": name, "default": name == voices[0]} for name in voices]
        return JSONResponse({"object": "list", "data": listed})

    async def turns(self, request: Request) -> Response:
        self._access.check_key(request)
        return JSONResponse({"data": self._host.recent_turns(_limit(request.query_params.get("limit")))})

    async def client_secrets(self, request: Request) -> Response:
        caller, config = self._check_secret_request(request)
        asked = await read_request(request, config)
        await self._check_tools(asked.first, caller)
        value, secret = self._access.secrets.create(
            asked.settings, model=asked.model, seconds=asked.seconds, owner=caller.name
        )
        return JSONResponse(answer(value, secret, asked.session))

    async def older_sessions(self, request: Request) -> Response:
        """`client_secrets` in the beta's shape."""
        caller, config = self._check_secret_request(request)
        asked = await read_older_request(request, config)
        await self._check_tools(asked.first, caller)
        value, secret = self._access.secrets.create(
            asked.settings, model=asked.model, seconds=asked.seconds, owner=caller.name
        )
        return JSONResponse(older_answer(value, secret, asked.session))

    async def calls(self, request: Request) -> Response:
        """An offer of WebRTC. At the path of the WebSocket this is the beta's route, and the call speaks beta."""
        self._access.check_origin(request)
        caller = self._access.check_caller(request)
        self._calls.check_ready()
        config = self._host.session_config
        if config is None:
            raise not_ready(self._host)
        offer = await read_offer(request, config, caller.secret)
        await self._check_tools(offer.first, caller)
        older = not request.url.path.endswith("/calls") or asks_for_beta(request)
        call_id, sdp = await self._calls.open(offer, caller, beta=older)
        return Response(sdp, 201, {"Location": f"/v1/realtime/calls/{call_id}"}, media_type=SDP)

    async def offer_again(self, request: Request) -> Response:
        """Another offer of a running call: ICE restarts, or the direction of audio changes."""
        self._access.check_origin(request)
        caller = self._access.check_caller(request)
        offer = await read_new_offer(request)
        return Response(self._calls.renegotiate(request.path_params["call_id"], caller, offer), 200, media_type=SDP)

    async def call(self, request: Request) -> Response:
        """An action on a running call."""
        self._access.check_origin(request)
        caller = self._access.check_caller(request)
        call_id, action = request.path_params["call_id"], request.path_params["action"]
        if action == "hangup":
            self._calls.hang_up(call_id, caller)
            return Response(status_code=200)
        if action not in PHONE_ACTIONS:
            known = ", ".join(("hangup", *PHONE_ACTIONS))
            raise Refused(404, PeerError("not_found", f"A call knows no {action[:80]!r}, only {known}."))
        self._calls.find(call_id, caller)
        raise await refuse_phone_action(action, request)

    async def _check_tools(self, first: Session | TranscriptionSession, caller: Caller) -> None:
        await self._host.check_tools(first, self._host.quotas.of(caller.name))

    def _check_secret_request(self, request: Request) -> tuple[Caller, SessionConfig]:
        self._access.check_origin(request)
        caller = self._access.check_key(request)
        config = self._host.session_config
        if config is None or self._host.health.state == "draining":  # a secret would end with the server
            raise not_ready(self._host)
        return caller, config


def _shown(tool: ServerTool) -> dict[str, Any]:
    """``offered``: a session has it without naming it in `server_tools`."""
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "offered": tool.offered,
    }


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, (Refused, PeerError, CapacityError))
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
