"""`realtime serve`: the server and its web page."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from urllib.parse import quote

import uvicorn

from realtime.app import Application, find_frontend
from realtime.cli import say
from realtime.commands.background_log import log_in_background
from realtime.commands.phone_config import read_phone_config
from realtime.commands.serve_checks import check_settings
from realtime.config import Settings, add_arguments, words
from realtime.errors import ConfigError
from realtime.keys import build_access, build_admin_access, reload_keys
from realtime.logs import configure_logging
from realtime.transports.http.access import Access
from realtime.transports.http.admin_access import AdminAccess
from realtime.transports.http.http import build_app
from realtime.transports.http.self_signed import lan_address, names_of, write_self_signed
from realtime.transports.http.server import TlsFiles, listen, web_server

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    _open_standard_streams()
    settings = Settings.read(arguments)
    configure_logging(settings.log_level, settings.log_format)
    log_in_background()
    access = build_access(settings)
    admin = build_admin_access(settings)
    check_settings(settings)
    server = _server(settings, access, admin)
    _reload_at_hangup(settings, access, admin)
    with _listen(settings) as listener:
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        say(greeting(settings, on_terminal=on_terminal, operators=admin.enabled))
        # uvicorn raises the signal again when all is done. As an exception it would wait for the thread that loads.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _server(settings: Settings, access: Access, admin: AdminAccess) -> uvicorn.Server:
    application = Application(settings)
    app = build_app(application, find_frontend(), access, admin, phone=read_phone_config(settings))
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
    except (OSError, UnicodeError) as error:
        where = f"{settings.host!r} port {settings.port}"
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise ConfigError(f"--port: cannot listen on {where}: {error.strerror}; choose another") from error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"--host: cannot listen on {where}: {reason}; use an address of this machine") from error


def _open_standard_streams() -> None:
    """Where the parent has closed one, the first file or socket would get its number, and be written to by libraries
    that print errors."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _reload_at_hangup(settings: Settings, access: Access, admin: AdminAccess) -> None:
    """SIGHUP, also that of a terminal which is closed, never ends the server: it reads the keys again."""

    def handle(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # no loop runs yet: the keys were just read
            asyncio.get_running_loop().call_soon_threadsafe(reload_keys, settings, access, admin)

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, handle)


def greeting(settings: Settings, *, on_terminal: bool, operators: bool = False) -> str:
    """Where the server is reached. On a terminal the links to the pages have their keys, which the pages take out of
    the address; elsewhere they would end up in a log. ``operators``: whether the operators' page can be opened."""
    key = _fragment(settings.api_key) if on_terminal else ""
    admin_key = _fragment(settings.admin_key) if on_terminal else ""
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
    admin = f"  Operators   http{tls}://{shown}:{settings.port}/admin{admin_key}\n" if operators else ""
    return (
        f"\n  Console     http{tls}://{shown}:{settings.port}/{key}\n"
        f"{admin}"
        f"  WebSocket   ws{tls}://{shown}:{settings.port}/v1/realtime\n"
        f"{talk}"
        f"  Health      http{tls}://{shown}:{settings.port}/healthz\n"
        f"  Model       {settings.model} (loading; the log shows when it is ready)\n"
    )


def _fragment(key: str) -> str:
    """The key as the end of a page's address; empty without one."""
    return f"#key={quote(key, safe='')}" if key else ""
