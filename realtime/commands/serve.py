"""`realtime serve`: the server, its console, and how to talk to it."""

from __future__ import annotations

import argparse
import socket
import sys

from realtime.app import Application, find_frontend
from realtime.cli import configure_logging
from realtime.config import Settings, add_arguments
from realtime.errors import ConfigError
from realtime.transports.http import build_app
from realtime.transports.server import listen, web_server

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    settings = Settings.read(arguments)
    configure_logging(settings.log_level)
    server = web_server(build_app(Application(settings), find_frontend()))
    with _listen(settings) as listener:
        print(_greeting(settings), file=sys.stderr, flush=True)
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from error


def _greeting(settings: Settings) -> str:
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    return (
        f"\n  Console     http://{shown}:{settings.port}/\n"
        f"  WebSocket   ws://{shown}:{settings.port}/v1/realtime\n"
        f"  Terminal    .venv/bin/realtime talk --url ws://{shown}:{settings.port}/v1/realtime"
        ' --text "what time is it" --out answer.wav\n'
        f"  Health      http://{shown}:{settings.port}/healthz\n"
        f"  Model       {settings.model} (loading; the log says when it is ready)\n"
    )
