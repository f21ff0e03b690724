"""The operators' routes: what the server does and holds, the end of a session, and the events of one session.

`GET /admin/state` has figures only. Words of a conversation come with the events of one session, which the operator has
to open and which the log notes. A session is named by the beginning of its id, as in the log: the whole id would let
others attach to it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import fields
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from realtime.admission.manager import SessionInfo, SessionLease, SessionManager
from realtime.errors import CapacityError, EndedByOperator, PeerError
from realtime.protocol.ids import Ids, shown_session_id
from realtime.session.status import SessionStatus
from realtime.transports.http.access import Access
from realtime.transports.http.admin_access import AdminAccess
from realtime.transports.http.host import Host
from realtime.transports.http.process_metrics import count_open_files, count_threads, memory_bytes
from realtime.transports.http.refusal import Refused
from realtime.transports.websocket.channel import WebSocketChannel, chosen_subprotocol
from realtime.transports.websocket.endpoint import refuse_handshake

logger = logging.getLogger(__name__)

MOST_SESSIONS = 500
"""Sessions that are listed, the oldest first."""

SESSIONS_AT_ONCE = 20
"""Listing one takes 0.05 ms of the event loop: so many hold up no audio."""

MOST_WAITING = 100
"""Clients of the queue that are listed."""

_STATUS_FIELDS = tuple(field.name for field in fields(SessionStatus))


class Admin:
    """The handlers."""

    def __init__(self, host: Host, access: Access, admin: AdminAccess) -> None:
        self._host = host
        self._access = access
        self._admin = admin
        self._began = time.monotonic()

    async def state(self, request: Request) -> Response:
        """All that the page shows, but for the counts of `/metrics`."""
        self._admin.check(request)
        return JSONResponse(await self._report(), headers={"Cache-Control": "no-store"})

    async def end(self, request: Request) -> Response:
        """End a session: its client gets the error `ended_by_operator`, then the close."""
        self._admin.check(request)
        lease = self._find(request.path_params["session_id"])
        logger.info("the operator at %s ends session %s", _address(request), lease.shown_id)
        lease.end_session(EndedByOperator("The operator of this server has ended the session."))
        return Response(status_code=204)

    async def events(self, websocket: WebSocket) -> None:
        """The events of one session as a second connection gets them, without speech. What is sent here is refused."""
        try:
            self._admin.check(websocket)
            session = self._find(websocket.path_params["session_id"]).session
            assert session is not None
        except Refused as error:
            await refuse_handshake(websocket, error)
            return
        shown = shown_session_id(session.id)
        logger.info("the operator at %s opens the events of session %s", _address(websocket), shown)
        await websocket.accept(subprotocol=chosen_subprotocol(websocket))
        channel = WebSocketChannel(websocket, Ids())
        try:
            await session.attach(channel, read_only=True)
        except CapacityError as fault:
            await channel.close(1013, fault.code)

    def _find(self, shown_id: str) -> SessionLease:
        """The lease of a running session. Raises `Refused`."""
        sessions = self._host.sessions
        lease = sessions.find_shown(shown_id) if sessions is not None else None
        if lease is None:
            message = f"No session {shown_id[:80]!r} runs. GET /admin/state lists those that do."
            raise Refused(404, PeerError("session_not_found", message, param="session_id"))
        return lease

    async def _report(self) -> dict[str, Any]:
        host, sessions = self._host, self._host.sessions
        health = host.health
        return {
            "at": round(time.time(), 3),
            "server": {
                "status": health.state,
                "reason": health.reason,
                "model": host.model_name,
                "uptime_s": round(time.monotonic() - self._began, 1),
            },
            "sessions": await _sessions(sessions),
            "queue": _queue(sessions),
            "workers": health.workers,
            "process": {
                "memory_bytes": memory_bytes(),
                "threads": count_threads(),
                "open_files": count_open_files(),
                "client_secrets": self._access.secrets.count,
                "loop_lag_ms": round(host.metrics.loop_lag.worst_s * 1000, 1),
            },
            "model": {"voices": host.voices, **host.holdings()},
            "hour": host.metrics.last_hour.report(),
        }


async def _sessions(sessions: SessionManager | None) -> dict[str, Any]:
    """Other tasks run after every `SESSIONS_AT_ONCE`."""
    listed = []
    for number, lease in enumerate(sessions.oldest(MOST_SESSIONS) if sessions is not None else (), 1):
        if lease.session is not None:  # it may have ended meanwhile
            listed.append(_session(lease.info))
        if number % SESSIONS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return {
        "running": sessions.running if sessions is not None else 0,
        "limit": sessions.max_sessions if sessions is not None else None,
        "list": listed,
    }


def _session(info: SessionInfo) -> dict[str, Any]:
    return {
        "id": shown_session_id(info.id),
        "caller": info.owner,
        "transport": "webrtc" if info.is_call else "websocket",
        "age_s": round(info.seconds, 1),
        **{name: getattr(info.status, name) for name in _STATUS_FIELDS},
    }


def _queue(sessions: SessionManager | None) -> dict[str, Any]:
    waiting = sessions.queue if sessions is not None else ()
    return {
        "waiting": len(waiting),
        "limit": sessions.max_waiting if sessions is not None else None,
        "list": [{"caller": one.key, "seconds": round(one.seconds, 1)} for one in waiting[:MOST_WAITING]],
    }


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client is not None else "an unknown address"
