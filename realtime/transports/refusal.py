"""Answers of HTTP that say no, in the one body that every client of the API knows."""

from __future__ import annotations

import json

from starlette.responses import Response

from realtime.errors import CapacityError, PeerError, RealtimeError


class Refused(RealtimeError):
    """A request or a handshake is refused: ``fault`` is told to the caller, with an HTTP ``status``."""

    def __init__(self, status: int, fault: PeerError) -> None:
        super().__init__(fault.message)
        self.status = status
        self.fault = fault


def refusal(error: Refused | PeerError | CapacityError) -> Response:
    """What is wrong, as ``{"error": {…}}``."""
    if isinstance(error, CapacityError):
        return _response(503, error.type, error.code, str(error), None)
    status, fault = (error.status, error.fault) if isinstance(error, Refused) else (400, error)
    return _response(status, fault.type, fault.code, fault.message, fault.param)


def _response(status: int, type: str, code: str, message: str, param: str | None) -> Response:
    body = {"error": {"type": type, "code": code, "message": message, "param": param}}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return Response(json.dumps(body), status, headers, media_type="application/json")
