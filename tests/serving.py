"""Servers in a process of their own, as their user runs them."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS = 120
"""A loaded CI machine may take many times what an idle one takes."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    port: int
    log: Path
    process: subprocess.Popen[bytes]
    tls: bool = False

    @property
    def http(self) -> str:
        return f"http{'s' * self.tls}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"ws{'s' * self.tls}://127.0.0.1:{self.port}/v1/realtime"


@contextmanager
def serving(
    module: str, log: Path, flags: Sequence[str] = (), *, tls: bool = False, port: int | None = None
) -> Iterator[RunningServer]:
    """`python -m MODULE FLAGS…` until the block ends. ``{port}`` in a flag becomes ``port``, by default a free one.
    ``tls``: whether the server speaks it (with any certificate)."""
    port = port or free_port()
    command = [sys.executable, "-m", *module.split(), *(flag.format(port=port) for flag in flags)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        running = RunningServer(port, log, process, tls)
        try:
            wait_until_ready(running, process)
            yield running
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_ready(server: RunningServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended by itself:\n{server.log.read_text()}"
        status, body = health(server)
        if status == 200:
            return
        assert body.get("status") in (None, "loading"), body
        time.sleep(0.1)
    pytest.fail(f"not ready after {START_SECONDS} s:\n{server.log.read_text()}")


def health(server: RunningServer, path: str = "healthz") -> tuple[int, dict[str, str]]:
    """Status and body of /healthz or /readyz; 0 while nothing listens yet."""
    any_certificate = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(f"{server.http}/{path}", timeout=10, context=any_certificate) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}
