"""The product itself, for the few tests that want it: the embedded model (or REALTIME_MODEL) behind a real socket."""

from __future__ import annotations

import argparse
import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.app import Application, find_frontend
from realtime.config import Settings
from realtime.transports.http.http import build_app
from realtime.transports.http.server import web_server


async def until_ready(url: str) -> None:
    """Wait until the model is loaded."""
    async with asyncio.timeout(180):
        while await asyncio.to_thread(_status, url + "readyz") != 200:
            await asyncio.sleep(0.2)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@asynccontextmanager
async def serving_the_model() -> AsyncIterator[str]:
    """Gives the page's URL while the server runs; it still loads. Skips the test where there is no model."""
    settings = Settings.read(argparse.Namespace())
    if not (settings.model / "config.json").is_file():
        pytest.skip(f"no model in {settings.model}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = web_server(build_app(Application(settings), find_frontend()))
        serve = asyncio.create_task(server.serve(sockets=[listener]), name="server")
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            await serve
