"""The line that each HTTP request, each handshake and each call leaves in the log."""

from __future__ import annotations

import asyncio
import logging
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.fakes import reply
from tests.transports.test_access import BEARER, guarded
from tests.transports.test_server import Server, ask, expect, serving

NAME = "realtime.transports.http.access_log"


@pytest.fixture(autouse=True)
def all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="realtime")


def fields(caplog: pytest.LogCaptureFixture, logger: str = NAME) -> list[dict[str, Any]]:
    return [record.fields for record in caplog.records if record.name == logger and hasattr(record, "fields")]


@pytest.mark.parametrize(
    ("asked", "path", "status"),
    [
        ("/healthz", "/healthz", 200),
        ("/v1/models?key=abc", "/v1/models", 200),
        ("/v1/models/fake", "/v1/models/*", 200),
        ("/v1/models/some%20key%0a", "/v1/models/*", 404),
        ("/page.html?key=abc", "/page.html", 200),
        ("/sk-key/v1/models", "/*/v1/models", 404),
        ("/" + "key/" * 500, "/*" * 12, 404),
    ],
)
async def test_a_request_leaves_one_line(
    asked: str, path: str, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "page.html").write_text("page")
    async with serving(frontend=tmp_path) as server:
        await server.get(asked)
    (line,) = fields(caplog)
    assert line.pop("ms") >= 0
    assert line == {"method": "GET", "path": path, "status": status, "peer": "127.0.0.1"}


async def test_odd_methods_are_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    def odd(server: Server) -> None:
        request = urllib.request.Request(server.http + "/v1/models", method="KEY")
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request)

    async with serving() as server:
        await asyncio.to_thread(odd, server)
    assert [(line["method"], line["status"]) for line in fields(caplog)] == [("*", 405)]


async def test_handshakes_leave_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(access=guarded()) as server:
        with pytest.raises(InvalidStatus):
            await connect(f"{server.url}?api-key=secret", additional_headers={"Authorization": "Bearer secret"})
        assert [(line["path"], line["status"]) for line in fields(caplog)] == [("/v1/realtime", 401)]
        ws = await connect(server.url, additional_headers=BEARER)
        await ws.close()
    assert [(line["path"], line["status"]) for line in fields(caplog)][1:] == [("/v1/realtime", 101)]
    assert "secret" not in caplog.text


async def test_a_client_that_gives_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(max_sessions=1, max_waiting=1) as server:
        held = await connect(server.url)
        with pytest.raises(TimeoutError):
            async with connect(server.url, open_timeout=0.2):
                pass
        await held.close()
        await server.all_gone()
    assert [line["status"] for line in fields(caplog)] == [101, None]


async def test_a_call_leaves_one_line_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(reply("one"), reply("two")) as server:
        ws = await connect(server.url)
        for question in ("first", "second"):
            await ask(ws, question)
            await expect(ws, "response.done")
        await ws.close()
        await server.all_gone()
    (line,) = fields(caplog, "realtime.session")
    assert line.pop("duration_s") >= 0 and line.pop("first_audio_p50_ms") > 0
    assert line.pop("late_chunks") >= 0
    assert line == {"turns": 2, "replies": 2, "close_code": 1000, "reason": "channel_closed"}
