"""The files of the console and the operators' page (`frontend/`), with the headers of pages that hold a key and may
use a microphone."""

from __future__ import annotations

import os

from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HEADERS = {
    # Modules have no version in their names: after an update a page must not mix old and new ones. An unchanged file is
    # answered with 304.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; media-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


PAGES = {"admin": "admin.html"}
"""Pages besides the console, by their path."""


class ConsoleFiles(StaticFiles):
    """Serves the folder of the pages."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path in PAGES and scope["path"].endswith("/"):  # the pages name their files relative to the folder
            return RedirectResponse(f"../{path}")
        return await super().get_response(PAGES.get(path, path), scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response
