"""The product as its user runs it: `realtime serve` in a process of its own, on the embedded model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import RunningServer, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    with serving("realtime.cli serve", log, ["--port", "{port}"]) as running:
        yield running
