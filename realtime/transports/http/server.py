"""The web server: uvicorn, with the limits of the protocol."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from realtime.errors import ConfigError
from realtime.transports.http.guards import GuardedHttp, GuardedWebSocket

MAX_MESSAGE_BYTES = 24 * 2**20
"""One `input_audio_buffer.append` may hold 15 MiB of audio, which is 20 MiB of base64 and its envelope."""

PING_SECONDS = 20.0
"""A half-open socket is detected after twice this time."""

UNREAD_SECONDS = 30
"""The kernel drops a connection whose peer has taken nothing for this time, and frees its buffers."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket for `web_server`. Raises OSError when the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    return listener


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM; ``cert`` with the whole chain."""

    cert: Path
    key: Path


def web_server(app: Starlette, tls: TlsFiles | None = None) -> uvicorn.Server:
    """A server that is not running yet: ``run(sockets=[…])`` or ``await serve(sockets=[…])``, with the socket of
    `listen`.

    The files of ``tls`` are read now. Raises `ConfigError` when they do not match.
    """
    config = uvicorn.Config(
        app,
        http=GuardedHttp,
        ws=GuardedWebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # base64 audio gains nothing
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    if tls is not None:
        _read_tls(config, tls)
    return uvicorn.Server(config)


def _read_tls(config: uvicorn.Config, tls: TlsFiles) -> None:
    for path in (tls.cert, tls.key):
        if not path.is_file():
            raise ConfigError(f"TLS file {path} does not exist; give --tls-cert and --tls-key files in PEM")
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"TLS files {tls.cert} and {tls.key}: {error.strerror or error}; expected a certificate and its own "
            "private key, both in PEM, the key without a password"
        ) from error
