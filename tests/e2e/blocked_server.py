"""`realtime`, with a route that blocks the event loop: what a fault in the server's own code would do."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from realtime.cli import main
from realtime.transports.http.http import _Endpoints


async def _block(endpoints: _Endpoints, request: Request) -> Response:
    time.sleep(120)  # noqa: ASYNC251
    return Response()


if __name__ == "__main__":
    _Endpoints.voices = _block  # type: ignore[method-assign,assignment]
    raise SystemExit(main())
