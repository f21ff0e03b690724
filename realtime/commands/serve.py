"""`realtime serve`: the server and its web page."""

from __future__ import annotations

import argparse
import socket
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn

from realtime.app import Application, build_access, find_frontend
from realtime.checkpoint.vocoder_options import vocoder_options
from realtime.cli import configure_logging
from realtime.config import Settings, add_arguments, words
from realtime.errors import ConfigError
from realtime.transports.http.access import Access
from realtime.transports.http.http import build_app
from realtime.transports.http.self_signed import lan_address, names_of, write_self_signed
from realtime.transports.http.server import TlsFiles, listen, web_server

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    settings = Settings.read(arguments)
    configure_logging(settings.log_level)
    access = build_access(settings)
    vocoder_options(settings, settings.flow_steps or 1)  # validated before anything is loaded
    server = _server(settings, access)
    with _listen(settings) as listener:
        print(_greeting(settings), file=sys.stderr, flush=True)
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _server(settings: Settings, access: Access) -> uvicorn.Server:
    application = Application(settings)
    app = build_app(application, find_frontend(), access)
    serve = partial(
        web_server,
        app,
        drain=application.drain,
        grace_s=settings.drain_seconds,
        proxies=words(settings.trusted_proxies),
    )
    given = bool(settings.tls_cert), bool(settings.tls_key)
    if any(given) and not all(given):
        raise ConfigError("--tls-cert and --tls-key need each other; set both, or --tls-self-signed")
    if all(given) and settings.tls_self_signed:
        raise ConfigError("--tls-self-signed makes its own certificate; remove it, or --tls-cert and --tls-key")
    if settings.tls_self_signed:
        with TemporaryDirectory(
            prefix="realtime-tls-"
        ) as folder:  # uvicorn reads the files now, so the key does not stay on disk
            return serve(write_self_signed(Path(folder), names_of(settings.host)))
    return serve(TlsFiles(Path(settings.tls_cert), Path(settings.tls_key)) if all(given) else None)


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from error


def _greeting(settings: Settings) -> str:
    tls = "s" if settings.tls_cert or settings.tls_self_signed else ""
    shown = settings.host
    if shown in ("0.0.0.0", "::", ""):  # with TLS the page is meant for other machines, whose microphones need it
        shown = (lan_address() if tls else None) or "127.0.0.1"
    if ":" in shown:
        shown = f"[{shown}]"
    insecure = " --insecure" if settings.tls_self_signed else ""
    talk = (
        f"  Terminal    .venv/bin/realtime talk --url ws{tls}://{shown}:{settings.port}/v1/realtime{insecure}"
        ' --text "what time is it" --out answer.wav\n'
    )
    return (
        f"\n  Console     http{tls}://{shown}:{settings.port}/\n"
        f"  WebSocket   ws{tls}://{shown}:{settings.port}/v1/realtime\n"
        f"{talk}"
        f"  Health      http{tls}://{shown}:{settings.port}/healthz\n"
        f"  Model       {settings.model} (loading; the log shows when it is ready)\n"
    )
