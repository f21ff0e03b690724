"""Which pages of other origins may read the HTTP routes: those that may connect (`access.Origins`)."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from realtime.transports.http.access import Origins

PREFLIGHT_SECONDS = 600


class Cors(CORSMiddleware):
    """Allows no credentials: keys are sent in headers that the page sets, never in cookies."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        super().__init__(
            app,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=("Location",),  # agents-js reads the id of its call from it
            max_age=PREFLIGHT_SECONDS,
        )
        self._origins = origins

    def is_allowed_origin(self, origin: str) -> bool:
        """The server's own page needs no permission to read answers, so the host is not needed here."""
        return self._origins.admit(origin, host="")
