"""`realtime serve`: the server, its console, and how to talk to it."""

from __future__ import annotations

import argparse
import sys

import uvicorn

from realtime.app import Application, find_frontend
from realtime.cli import configure_logging
from realtime.config import Settings, add_arguments
from realtime.transports.http import build_app

__all__ = ["add_arguments", "run"]

MAX_MESSAGE_BYTES = 24 * 2**20
"""One `input_audio_buffer.append` may hold 15 MiB of audio: 20 MiB of base64 and its envelope."""


def run(arguments: argparse.Namespace) -> int:
    settings = Settings.read(arguments)
    configure_logging(settings.log_level)
    application = Application(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(application, find_frontend()),
            host=settings.host,
            port=settings.port,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # base64 audio gains nothing
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=10,
        )
    )
    print(_greeting(settings), file=sys.stderr, flush=True)
    server.run()
    return 0 if server.started else 1


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
