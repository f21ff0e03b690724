"""The web server around the routes: uvicorn, with the limits that our protocol needs."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette

MAX_MESSAGE_BYTES = 24 * 2**20
"""One `input_audio_buffer.append` may hold 15 MiB of audio: 20 MiB of base64 and its envelope."""

PING_SECONDS = 20.0
"""A half-open socket is noticed after twice this."""

UNREAD_SECONDS = 30
"""The kernel drops a connection whose peer has taken nothing for so long: what waits for it is then freed."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket for `web_server`. Raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    return listener


def web_server(app: Starlette) -> uvicorn.Server:
    """A server that is not running yet: ``run(sockets=[…])`` or ``await serve(sockets=[…])``, with `listen`'s."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # base64 audio gains nothing
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=10,
        )
    )
