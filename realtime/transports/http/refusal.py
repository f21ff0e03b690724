"""HTTP refusals, in the API's error body."""

from __future__ import annotations

import json
import math

from starlette.responses import Response

from realtime.errors import CapacityError, PeerError, RealtimeError

RETRY_SECONDS = 5
"""Seconds after which a session may be free."""


class Refused(RealtimeError):
    """A request or a handshake is refused. ``fault``: told to the client, with an HTTP ``status`` and, where that is
    known, when to try again.
    """

    quotes_peer = True

    def __init__(self, status: int, fault: PeerError, *, retry_after_s: float = 0.0) -> None:
        super().__init__(fault.message)
        self.status = status
        self.fault = fault
        self.retry_after_s = retry_after_s


def refusal(error: Refused | PeerError | CapacityError) -> Response:
    """The response with the body ``{"error": {…}}``."""
    if isinstance(error, CapacityError):
        response = _response(503, error.type, error.code, str(error), None, error.position)
        response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response
    if isinstance(error, PeerError):
        status = 429 if error.type == "rate_limit_error" else 400
        return _response(status, error.type, error.code, error.message, error.param)
    fault = error.fault
    response = _response(error.status, fault.type, fault.code, fault.message, fault.param)
    if error.retry_after_s:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return response


def _response(
    status: int, type: str, code: str, message: str, param: str | None, position: int | None = None
) -> Response:
    """``position``: in the queue, an extension; left out where there is none."""
    error: dict[str, object] = {"type": type, "code": code, "message": message, "param": param}
    if position is not None:
        error["position"] = position
    body = {"error": error}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return Response(json.dumps(body), status, headers, media_type="application/json")
