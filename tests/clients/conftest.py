"""The servers that the clients are tried with, and how to run a client.

`make test-clients` installs the libraries (`install.py`); where one is missing its tests are skipped, with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.serving import RunningServer, serving

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
SPEECH = HERE.parent / "data" / "speech" / "what_time_is_it_slt.wav"
INSTALLED = Path(os.environ.get("REALTIME_CLIENTS", HERE.parents[1] / ".venv-clients"))
"""The folder that `install.py` was given."""
RUN_SECONDS = 300
"""A loaded machine needs a minute to import some of the libraries."""


@dataclass(frozen=True, slots=True)
class Client:
    """A library as published. ``driver``: the script that uses it."""

    name: str
    driver: str
    tls_only: bool = False

    def command(self) -> list[str]:
        """What runs the driver. Skips the test where the library is not installed."""
        kind = "node" if self.driver.endswith(".mjs") else "python"
        if (reason := INSTALLED / f"{kind}.skipped").exists():
            pytest.skip(f"{self.name} could not be installed: {reason.read_text()}")
        program = shutil.which("node") if kind == "node" else str(INSTALLED / "python" / "bin" / "python")
        installed = HERE / "node_modules" if kind == "node" else INSTALLED / "python"
        if program is None or not installed.is_dir():
            pytest.skip(f"{self.name} is not installed; run: make test-clients")
        return [program, str(DRIVERS / self.driver)]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client has shown to its application. ``heard``: the transcript of the user's speech."""

    transcript: str
    audio_seconds: float
    heard: str | None
    interrupted: bool
    calls: list[list[str]]
    errors: list[str]
    more: dict[str, Any] = field(default_factory=dict)


def converse(client: Client, server: RunningServer, scenario: str, speech: Path) -> Seen:
    """Run one scenario of the client's driver against the server."""
    command = [*client.command(), server.url, "any-key", scenario, str(speech)]
    environment = os.environ | {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "NODE_NO_WARNINGS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment, check=False)
    lines = ran.stdout.strip().splitlines()
    assert ran.returncode == 0 and lines, f"{client.name} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    told = json.loads(lines[-1])
    known = {
        name: told.pop(name) for name in ("transcript", "audio_seconds", "heard", "interrupted", "calls", "errors")
    }
    return Seen(**known, more=told)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded question as raw PCM16 at 24 kHz."""
    samples, rate = soundfile.read(SPEECH, dtype="int16")
    positions = np.arange(0, len(samples), rate / 24_000)
    path = tmp_path_factory.mktemp("speech") / "question.pcm"
    path.write_bytes(np.interp(positions, np.arange(len(samples)), samples).astype("<i2").tobytes())
    return path


class Servers:
    """Started when first asked for. A client that wants TLS gets the same servers with it."""

    def __init__(self, logs: Path, stack: ExitStack) -> None:
        self._logs = logs
        self._stack = stack

    @cache  # noqa: B019 - lives as long as the tests
    def model(self, *, tls: bool) -> RunningServer:
        """The product on its embedded model."""
        flags = ["--port", "{port}", *(["--tls-self-signed"] if tls else [])]
        return self._stack.enter_context(serving("realtime.cli serve", self._logs / f"model{tls}.log", flags, tls=tls))

    @cache  # noqa: B019
    def scripted(self, *, tls: bool) -> RunningServer:
        """One whose model calls functions."""
        flags = ["{port}", *(["tls"] if tls else [])]
        log = self._logs / f"scripted{tls}.log"
        return self._stack.enter_context(serving("tests.clients.scripted_server", log, flags, tls=tls))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), stack)
