"""The real web server on a real socket, the model side faked: the handshake, hostile clients, and what they leave."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.admission.manager import SessionLease, SessionManager
from realtime.admission.queue import QueueEntry
from realtime.ports.tools import SchemaCheck, ServerTool, accept_any
from realtime.protocol.session_config import Session, TranscriptionSession
from realtime.session.config import SessionConfig, SessionLimits
from realtime.session.quota import Quota, QuotaLimits, Quotas
from realtime.session.services import Services
from realtime.tools.builtin import ToolConfig, build_tools
from realtime.transports.http.access import Access
from realtime.transports.http.admin_access import AdminAccess
from realtime.transports.http.host import Health
from realtime.transports.http.http import build_app
from realtime.transports.http.metrics_page import ServerMetrics
from realtime.transports.http.server import TlsFiles, listen, web_server
from realtime.transports.webrtc.offers import OfferAnswerer
from tests.fakes import FakeEngine, FakeVocoder, Gate, LoudnessVad, Step, delta, reply


class FakeHost:
    """`realtime.transports.http.http.Host` over fakes."""

    def __init__(
        self,
        engine: FakeEngine,
        *,
        max_sessions: int = 4,
        max_waiting: int = 0,
        limits: SessionLimits | None = None,
        quota: QuotaLimits | None = None,
        schema_check: SchemaCheck = accept_any,
    ) -> None:
        self.health = Health("ready", "serving")
        self.model_name = "fake"
        self.engine = engine
        self.vocoder = FakeVocoder()
        self.metrics = ServerMetrics()
        config = SessionConfig(limits=limits or SessionLimits())
        self.session_config: SessionConfig | None = config
        services = Services(
            engine,
            self.vocoder,
            LoudnessVad(),
            lambda _, summary: self.metrics.reply_measured(summary),
            schema_check,
        )
        self.voices = self.vocoder.voices
        self.server_tools: tuple[ServerTool, ...] = ()
        self.quotas = Quotas(quota)
        self.waiting_s = 10.0
        self.handshake_s = 10.0
        self.offers: OfferAnswerer | None = None
        self.sessions = SessionManager(services, config, max_sessions=max_sessions, max_waiting=max_waiting)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield
        await self.sessions.drain()

    async def drain(self, grace_s: float) -> None:
        self.health = Health("draining", "The server is shutting down.")
        await self.sessions.drain(grace_s)

    def admit(self) -> SessionLease:
        return self.sessions.admit()

    def join_queue(self, key: str = "") -> QueueEntry[SessionLease]:
        return self.sessions.join_queue(key)

    async def check_tools(self, first: Session | TranscriptionSession, quota: Quota) -> None:
        await self.sessions.check_tools(first, quota)

    def find_session(self, call_id: str) -> SessionLease | None:
        return self.sessions.find(call_id)

    def holdings(self) -> dict[str, Any]:
        return {"engine_jobs": 0, "kv_caches": 2, "kv_caches_limit": 9, "vocoder_streams": 1}

    def recent_turns(self, limit: int) -> list[dict[str, Any]]:
        return [{"response_id": "resp_1"}][-limit:]


class Server:
    def __init__(self, host: FakeHost, port: int) -> None:
        self.host = host
        self.http = f"http://127.0.0.1:{port}"
        self.url = f"ws://127.0.0.1:{port}/v1/realtime"

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        def fetch() -> tuple[int, Any]:
            try:
                request = urllib.request.Request(self.http + path, headers=headers)
                with urllib.request.urlopen(request) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()

        status, body = await asyncio.to_thread(fetch)
        return status, json.loads(body) if body[:1] in b"{[" else body

    async def all_gone(self) -> None:
        """Returns once every session has ended; the test's own time limit says when that is too late."""
        async with asyncio.timeout(10):
            while self.host.sessions.sessions:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    *scripts: Sequence[Step],
    frontend: Path | None = None,
    access: Access | None = None,
    admin: AdminAccess | None = None,
    tls: TlsFiles | None = None,
    **options: Any,
) -> AsyncIterator[Server]:
    host = FakeHost(FakeEngine(*scripts), **options)
    with listen("127.0.0.1", 0) as listener:
        server = web_server(build_app(host, frontend, access, admin), tls)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield Server(host, listener.getsockname()[1])
        finally:
            server.should_exit = True
            await task


async def expect(ws: ClientConnection, type: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            event: dict[str, Any] = json.loads(await ws.recv())
            if event["type"] == type:
                return event


async def say(ws: ClientConnection, **event: Any) -> None:
    await ws.send(json.dumps(event))


async def ask(ws: ClientConnection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await say(ws, type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await say(ws, type="response.create")


def loud(seconds: float) -> bytes:
    return b"\x00\x20" * int(24_000 * seconds)


async def test_health_tells_why_the_server_is_not_ready() -> None:
    async with serving() as server:
        server.host.health = Health("loading", "reading weights")
        status, body = await server.get("/healthz")
        assert (status, body["reason"]) == (503, "reading weights")
        with pytest.raises(InvalidStatus) as refusal:
            await connect(server.url)
        assert refusal.value.response.status_code == 503
        server.host.health = Health("ready", "serving")
        assert (await server.get("/healthz"))[0] == 200


async def test_a_refused_handshake_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        server.host.health = Health("loading", "reading weights")
        with pytest.raises(InvalidStatus):
            await connect(server.url)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_console_and_lists_share_one_port(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>console</p>")
    async with serving(frontend=tmp_path) as server:
        assert await server.get("/") == (200, b"<p>console</p>")
        assert (await server.get("/v1/models"))[1]["data"][0]["id"] == "fake"
        assert (await server.get("/v1/realtime/turns?limit=5"))[1]["data"] == [{"response_id": "resp_1"}]
        assert (await server.get("/nothing"))[0] == 404


async def test_the_model_lists_the_servers_tools() -> None:
    async with serving() as server:
        server.host.server_tools = build_tools(ToolConfig(names=("get_time",)), str).tools
        listed = (await server.get("/v1/models"))[1]["data"][0]["server_tools"]
    assert [(tool["name"], tool["offered"]) for tool in listed] == [("get_time", True), ("calculate", False)]
    assert listed[1]["description"] and listed[1]["parameters"]["required"] == ["expression"]


async def test_console_modules_are_never_stale(tmp_path: Path) -> None:
    (tmp_path / "main.js").write_text("export {};")

    def headers_of(server: Server, **conditions: str) -> tuple[int, Mapping[str, str]]:
        try:
            with urllib.request.urlopen(urllib.request.Request(server.http + "/main.js", headers=conditions)) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers

    async with serving(frontend=tmp_path) as server:
        status, headers = await asyncio.to_thread(headers_of, server)
        assert (status, headers["Cache-Control"]) == (200, "no-cache")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        again = await asyncio.to_thread(headers_of, server, **{"If-None-Match": headers["ETag"]})
        assert (again[0], again[1]["Cache-Control"]) == (304, "no-cache")


async def test_models_and_voices_can_be_looked_up() -> None:
    async with serving() as server:
        status, model = await server.get("/v1/models/fake")
        assert (status, model["object"], model["voices"]) == (200, "model", ["default", "other"])
        assert model["created"] > 1_700_000_000
        status, body = await server.get("/v1/models/gpt-realtime")
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        voices = (await server.get("/v1/audio/voices"))[1]["data"]
        assert [(voice["id"], voice["default"]) for voice in voices] == [("default", True), ("other", False)]


@pytest.mark.parametrize("offered", [["realtime"], ["realtime", "openai-insecure-api-key.secret"]])
async def test_of_the_offered_subprotocols_only_realtime_is_selected(offered: Any) -> None:
    async with serving() as server, connect(server.url, subprotocols=offered) as ws:
        assert ws.subprotocol == "realtime"


async def test_no_subprotocol_is_selected_when_none_was_offered() -> None:
    async with serving() as server, connect(server.url) as ws:
        assert ws.subprotocol is None
        assert (await expect(ws, "session.created"))["event_id"]


async def test_foreign_model_names_are_echoed_and_served() -> None:
    async with serving() as server, connect(server.url + "?model=gpt-realtime-2.1") as ws:
        assert (await expect(ws, "session.created"))["session"]["model"] == "gpt-realtime-2.1"


async def test_a_socket_may_ask_for_transcripts_only() -> None:
    async with serving(reply("hello")) as server, connect(server.url + "?intent=transcription") as ws:
        assert (await expect(ws, "session.created"))["session"]["type"] == "transcription"


async def test_full_servers_refuse_and_admit_again_when_free() -> None:
    async with serving(max_sessions=1) as server:
        async with connect(server.url) as first:
            await expect(first, "session.created")
            with pytest.raises(InvalidStatus) as refusal:
                await connect(server.url)
            response = refusal.value.response
            assert response.status_code == 503
            assert json.loads(response.body or b"")["error"]["code"] == "server_full"
        await server.all_gone()
        async with connect(server.url) as second:
            await expect(second, "session.created")


@pytest.mark.parametrize("path", ["/", "/v1/realtim", "/v1/realtime/", "/v1/realtime/calls", "/realtime", "/healthz"])
@pytest.mark.parametrize("page", [True, False], ids=["page", "no page"])
async def test_a_socket_at_an_unknown_path_is_404(path: str, page: bool, tmp_path: Path) -> None:
    async with serving(frontend=tmp_path if page else None) as server:
        origin = server.url.partition("/v1/")[0]
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(origin + path):
                pass
        response = refusal.value.response
        error = json.loads(response.body or b"{}")["error"]
        assert (response.status_code, error["code"]) == (404, "not_found")
        assert "/v1/realtime" in error["message"]
        async with connect(server.url) as ws:
            await expect(ws, "session.created")


async def test_binary_frames_are_audio() -> None:
    async with serving() as server, connect(server.url) as ws:
        await say(ws, type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await ws.send(loud(0.5))
        await say(ws, type="input_audio_buffer.commit")
        await expect(ws, "input_audio_buffer.committed")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not json", "invalid_json"),
        ('{"event_id": "x"}', "invalid_event"),
        ('{"type": "nope", "event_id": "x"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty"),
        ('{"type": "response.cancel"}', "response_cancel_not_active"),
        ("[" * 100_000, "invalid_json"),
    ],
)
async def test_bad_messages_are_answered_and_sessions_live_on(message: str, code: str) -> None:
    async with serving(reply("Hi.")) as server, connect(server.url) as ws:
        await ws.send(message)
        error = (await expect(ws, "error"))["error"]
        assert error["code"] == code and error["message"]
        await ask(ws, "hello")
        assert (await expect(ws, "response.done"))["response"]["status"] == "completed"


async def test_half_a_sample_waits_for_its_other_half() -> None:
    async with serving() as server, connect(server.url) as ws:
        await say(ws, type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        sound = loud(0.5)
        for start in range(0, len(sound), 999):
            audio = base64.b64encode(sound[start : start + 999]).decode()
            await say(ws, type="input_audio_buffer.append", audio=audio)
        await say(ws, type="input_audio_buffer.commit")
        await expect(ws, "input_audio_buffer.committed")


async def test_vanishing_clients_leave_nothing_behind() -> None:
    gate = Gate()
    async with serving([delta("One", 5), gate]) as server:
        before = len(asyncio.all_tasks())
        ws = await connect(server.url)
        await ask(ws, "count")
        await expect(ws, "response.output_audio_transcript.delta")
        ws.transport.abort()
        await server.all_gone()
        assert server.host.engine.generations[0].cancelled
        assert server.host.engine.released
        assert all(stream.closed for stream in server.host.vocoder.streams)
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) <= before


async def test_second_callers_are_served_beside_the_first() -> None:
    gate = Gate()
    async with serving([delta("One", 5), gate]) as server, connect(server.url) as first, connect(server.url) as second:
        await ask(first, "count")
        await gate.reached.wait()
        await ask(second, "hello")
        assert (await expect(second, "response.done"))["response"]["status"] == "completed"


async def test_clients_that_do_not_read_are_given_up() -> None:
    flood = [[*[delta("word ", 50)] * 2000, Gate()]]
    limits = SessionLimits(send_timeout_s=0.5, lead_s=10_000.0)
    async with serving(*flood, limits=limits) as server:
        deaf = await connect(server.url, max_queue=1)
        await ask(deaf, "flood me")
        deaf.transport.pause_reading()
        async with connect(server.url) as other:
            await ask(other, "hello")
            assert (await expect(other, "response.done"))["response"]["status"] == "completed"
        await server.all_gone()
        deaf.transport.resume_reading()
        with pytest.raises(ConnectionClosed):
            while True:
                await deaf.recv()


async def test_too_long_messages_end_only_their_connection() -> None:
    async with serving() as server, connect(server.url) as giant, connect(server.url) as other:
        with pytest.raises(ConnectionClosed) as closed:
            await giant.send("x" * (25 * 2**20))
            while True:
                await giant.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        await ask(other, "hello")
        assert (await expect(other, "response.done"))["response"]["status"] == "completed"
