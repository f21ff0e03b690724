"""Who gets in: keys, client secrets, web pages, TLS. Over real sockets, the model side faked."""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.client.connection import ClientError, open_session
from realtime.config import Settings, add_arguments
from realtime.errors import ConfigError
from realtime.keys import build_access
from realtime.metrics import ReplyTrace
from realtime.transports.http.access import Access, ApiKeys, Origins
from realtime.transports.http.client_secrets import ClientSecrets
from realtime.transports.http.host import Health
from realtime.transports.http.http import build_app
from realtime.transports.http.metrics_page import ServerMetrics
from realtime.transports.http.process_metrics import LoopLag
from realtime.transports.http.refusal import Refused
from realtime.transports.http.self_signed import names_of, write_self_signed
from realtime.transports.http.server import TlsFiles, listen, web_server
from realtime.transports.websocket import rate_limit
from tests.fakes import FakeEngine, reply
from tests.transports.test_server import FakeHost, Server, ask, expect, serving

KEY = "rt-5f1c"
BEARER = {"Authorization": f"Bearer {KEY}"}


def guarded(origins: Origins | None = None, secrets: ClientSecrets | None = None) -> Access:
    return Access(ApiKeys.read([KEY], "test"), origins, secrets)


async def post(server: Server, path: str, body: Any = None, headers: Mapping[str, str] = BEARER) -> tuple[int, Any]:
    """``body``: JSON, or bytes as they are."""

    def fetch() -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = urllib.request.Request(server.http + path, data, dict(headers), method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    return await asyncio.to_thread(fetch)


async def refused(server: Server, **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(server.url, **options)
    return refusal.value.response.status_code, json.loads(refusal.value.response.body or b"")["error"]


async def session_of(ws: ClientConnection) -> dict[str, Any]:
    session: dict[str, Any] = (await expect(ws, "session.created"))["session"]
    return session


# Keys


@pytest.mark.parametrize("headers", [BEARER, {"Authorization": f"bearer {KEY}"}, {"api-key": KEY}])
async def test_a_key_in_a_header_opens(headers: dict[str, str]) -> None:
    async with serving(access=guarded()) as server, connect(server.url, additional_headers=headers) as ws:
        await session_of(ws)


async def test_subprotocol_keys_open_and_are_not_repeated() -> None:
    offered: Any = ["realtime", f"openai-insecure-api-key.{KEY}"]
    async with serving(access=guarded()) as server, connect(server.url, subprotocols=offered) as ws:
        assert ws.subprotocol == "realtime"
        await session_of(ws)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}, {"api-key": ""}, {"api-key": KEY[:-1]}],
)
async def test_header_clients_without_a_good_key_get_401(headers: dict[str, str]) -> None:
    async with serving(access=guarded()) as server:
        status, error = await refused(server, additional_headers=headers)
        assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "invalid_request_error")
        assert KEY not in error["message"] and not server.host.sessions.sessions


@pytest.mark.parametrize(
    "options",
    [
        {"subprotocols": ["realtime", "openai-insecure-api-key.wrong"]},
        {"subprotocols": ["realtime"]},
        {"origin": "http://localhost:3000"},
    ],
)
async def test_browsers_without_a_good_key_get_an_event(options: Any) -> None:
    async with serving(access=guarded()) as server, connect(server.url, **options) as ws:
        event = json.loads(await ws.recv())
        assert (event["type"], event["error"]["code"]) == ("error", "invalid_api_key")
        assert event["event_id"]
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3000, "invalid_request_error.invalid_api_key")


async def test_a_wrong_key_learns_nothing_of_the_server() -> None:
    async with serving(access=guarded(), max_sessions=0) as server:
        server.host.health = Health("loading", "weights of secret-model")
        assert (await refused(server))[0] == 401


async def test_an_open_server_takes_any_key() -> None:
    async with serving() as server, connect(server.url, additional_headers={"api-key": "whatever"}) as ws:
        await session_of(ws)


async def test_health_needs_no_key_and_all_else_does() -> None:
    async with serving(access=guarded()) as server:
        assert [(await server.get(path))[0] for path in ("/healthz", "/readyz")] == [200, 200]
        for path in ("/metrics", "/v1/models", "/v1/realtime/turns"):
            status, body = await server.get(path)
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        for path in ("/v1/realtime/client_secrets", "/v1/realtime/sessions"):
            assert (await post(server, path, headers={}))[0] == 401
        openai = AsyncOpenAI(api_key=KEY, base_url=f"{server.http}/v1")
        assert [model.id async for model in openai.models.list()] == ["fake"]
        await openai.close()


def test_key_files_may_hold_hashes_and_comments() -> None:
    lines = ["# ours", "", "  plain-key  ", "sha256:" + sha256(b"other-key").hexdigest()]
    keys = ApiKeys.read(lines, "keys")
    assert keys.know("plain-key") and keys.know("other-key")
    assert not keys.know("# ours") and not keys.know("") and not keys.know(lines[-1])


def test_64_hexadecimal_digits_are_a_key() -> None:
    key = sha256(b"x").hexdigest()
    assert ApiKeys.read([key], "keys").know(key) and not ApiKeys.read([key], "keys").know("x")


@pytest.mark.parametrize("line", ["sha256:12", "sha256:" + "z" * 64, "two words", "schlüssel"])
def test_bad_lines_are_named_by_number_only(line: str) -> None:
    with pytest.raises(ConfigError, match="keys.txt, line 2") as fault:
        ApiKeys.read(["good", line], "keys.txt")
    assert line not in str(fault.value)


# Settings


def access(*flags: str, **environ: str) -> Access:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return build_access(Settings.read(parser.parse_args(flags), environ))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "voice.example"])
def test_keyless_servers_bind_loopback_unless_told_otherwise(host: str) -> None:
    with pytest.raises(ConfigError, match="REALTIME_API_KEY.*--allow-anonymous"):
        access("--host", host)
    access("--host", host, "--allow-anonymous")
    access("--host", host, REALTIME_ALLOW_ANONYMOUS="true")
    access("--host", host, REALTIME_API_KEY=KEY)
    with pytest.raises(ConfigError):
        access("--host", host, "--no-allow-anonymous", REALTIME_ALLOW_ANONYMOUS="true")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_server_of_one_machine_needs_no_key(host: str) -> None:
    access("--host", host)


def test_files_without_keys_do_not_open_the_server(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with pytest.raises(ConfigError, match="keys"):
        access("--api-keys-file", str(file))
    file.write_text("# none yet\n")
    with pytest.raises(ConfigError, match="no key"):
        access("--api-keys-file", str(file))
    file.write_text(KEY)
    access("--api-keys-file", str(file), "--host", "0.0.0.0")


def test_settings_do_not_show_the_key() -> None:
    assert KEY not in repr(Settings(api_key=KEY))


# Web pages


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 101),
        ("https://127.0.0.1", 101),
        ("https://app.example", 101),
        ("https://app.example:8443", 403),
        ("http://app.example", 403),
        ("https://evil.example", 403),
        ("https://localhost.evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("null", 403),
        ("http://[::1", 403),
    ],
)
async def test_pages_of_others_may_not_connect(origin: Any, status: int) -> None:
    async with serving(access=Access(origins=Origins(["https://app.example"]))) as server:
        if status == 101:
            async with connect(server.url, origin=origin) as ws:
                await session_of(ws)
        else:
            answered, error = await refused(server, origin=origin)
            assert (answered, error["code"]) == (status, "origin_not_allowed")


async def test_a_page_of_another_site_cannot_make_secrets() -> None:
    async with serving() as server:
        headers = {"Origin": "https://evil.example"}
        status, body = await post(server, "/v1/realtime/client_secrets", {}, headers)
        assert (status, body["error"]["code"]) == (403, "origin_not_allowed")


def test_the_own_page_connects_under_any_name() -> None:
    assert Origins().admit("http://voice.lan:8765", "voice.lan:8765")
    assert Origins().admit("https://voice.example", "voice.example")
    assert not Origins().admit("http://voice.lan:8765", "voice.lan:9000")
    assert Origins(["*"]).admit("https://evil.example", "voice.lan")


@pytest.mark.parametrize("allowed", ["app.example", "https://app.example/page", "https://"])
def test_invalid_allowed_origins_are_refused_at_start(allowed: str) -> None:
    with pytest.raises(ConfigError, match="allowed origin"):
        access("--allowed-origins", allowed)


# Client secrets


async def test_openai_package_secrets_open_their_bound_session() -> None:
    async with serving(access=guarded()) as server:
        openai = AsyncOpenAI(api_key=KEY, base_url=f"{server.http}/v1")
        secret = await openai.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={"type": "realtime", "model": "bound", "instructions": "Be brief.", "output_modalities": ["text"]},
        )
        await openai.close()
        assert secret.value.startswith("ek_") and secret.session.id and secret.session.type == "realtime"
        offered: Any = ["realtime", f"openai-insecure-api-key.{secret.value}"]
        for _ in range(2):  # as often as wanted until it expires
            async with connect(server.url + "?model=other", subprotocols=offered) as ws:
                session = await session_of(ws)
                assert session["instructions"] == "Be brief." and session["output_modalities"] == ["text"]
                assert session["model"] == "bound"


async def test_a_secret_needs_no_body() -> None:
    async with serving(reply("Hi."), access=guarded()) as server:
        status, body = await post(server, "/v1/realtime/client_secrets")
        assert status == 200 and body["session"]["object"] == "realtime.session"
        async with connect(server.url, additional_headers={"Authorization": f"Bearer {body['value']}"}) as ws:
            await ask(ws, "hello")
            assert (await expect(ws, "response.done"))["response"]["status"] == "completed"


async def test_a_secret_may_be_for_transcripts() -> None:
    async with serving(access=guarded()) as server:
        _, body = await post(server, "/v1/realtime/client_secrets", {"session": {"type": "transcription"}})
        async with connect(server.url, additional_headers={"Authorization": f"Bearer {body['value']}"}) as ws:
            assert (await session_of(ws))["type"] == "transcription"


async def test_a_secret_opens_sessions_and_nothing_else() -> None:
    async with serving(access=guarded()) as server:
        _, body = await post(server, "/v1/realtime/client_secrets")
        headers = {"Authorization": f"Bearer {body['value']}"}
        assert (await post(server, "/v1/realtime/client_secrets", headers=headers))[0] == 401


@pytest.mark.parametrize("is_open", [True, False])
async def test_expired_secrets_are_refused_and_sessions_outlive_them(is_open: bool) -> None:
    now = 1000.0
    secrets = ClientSecrets(clock=lambda: now)
    async with serving(reply("Hi."), access=Access(secrets=secrets) if is_open else guarded(None, secrets)) as server:
        _, body = await post(server, "/v1/realtime/client_secrets", {"expires_after": {"seconds": 10}})
        assert body["expires_at"] == 1010
        headers = {"Authorization": f"Bearer {body['value']}"}
        async with connect(server.url, additional_headers=headers) as ws:
            now = 1010.0
            assert (await refused(server, additional_headers=headers))[0] == 401
            await ask(ws, "hello")
            assert (await expect(ws, "response.done"))["response"]["status"] == "completed"


def test_secrets_are_bounded_and_expired_ones_make_room() -> None:
    now = 0.0
    secrets = ClientSecrets(most=2, clock=lambda: now)
    for _ in range(2):
        secrets.create({}, seconds=10)
    with pytest.raises(Refused) as full:
        secrets.create({})
    assert full.value.status == 429
    now = 10.0
    value, _ = secrets.create({})
    assert secrets.find(value)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"expires_after": {"seconds": 9}}, 400, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, 400, "expires_after.seconds"),
        ({"expires_after": {"anchor": "never"}}, 400, "expires_after.anchor"),
        ({"expires_after": 60}, 400, "expires_after"),
        ({"session": []}, 400, "session"),
        ({"session": {"type": "nope"}}, 400, "session.type"),
        ({"session": {"model": 5}}, 400, "session.model"),
        ({"session": {"type": "realtime", "voice": "default"}}, 400, "session.voice"),
        ({"session": {"type": "realtime", "temperature": 0.8}}, 400, "session.temperature"),
        ({"session": {"type": "transcription", "instructions": "x"}}, 400, "session.instructions"),
        ({"sesion": {}}, 400, "sesion"),
        ({"expires_after": {"second": 10}}, 400, "expires_after.second"),
        ({"session": {"audio": {"output": {"speed": 9}}}}, 400, "session.audio.output.speed"),
        (b"not json", 400, None),
        (b"\xff", 400, None),
        (b"[1]", 400, None),
        (b"[" * 1000, 400, None),
        (b" " * 300_000, 413, None),
    ],
)
async def test_bad_secret_requests_name_their_fault(body: Any, status: int, param: str | None) -> None:
    async with serving(access=guarded()) as server:
        answered, said = await post(server, "/v1/realtime/client_secrets", body)
        assert (answered, said["error"]["param"]) == (status, param)
        assert said["error"]["type"] == "invalid_request_error" and said["error"]["message"]


async def test_the_older_route_speaks_beta() -> None:
    async with serving(access=guarded()) as server:
        asked = {"model": "gpt-4o-realtime-preview", "modalities": ["text"], "instructions": "Be brief."}
        asked |= {"temperature": 0.8, "nope": 1}
        status, body = await post(server, "/v1/realtime/sessions", asked)
        assert status == 200 and body["object"] == "realtime.session" and body["modalities"] == ["text"]
        secret = body["client_secret"]
        assert secret["value"].startswith("ek_") and secret["expires_at"]
        offered: Any = ["realtime", f"openai-insecure-api-key.{secret['value']}", "openai-beta.realtime-v1"]
        async with connect(server.url, subprotocols=offered) as ws:
            session = await session_of(ws)
            assert session["modalities"] == ["text"] and session["instructions"] == "Be brief."


@pytest.mark.parametrize("body", [{"model": 5, "modalities": ["text"]}, {"modalities": "x"}, {"client_secret": 1}])
async def test_a_bad_older_request_says_what_is_wrong(body: Any) -> None:
    async with serving(access=guarded()) as server:
        assert (await post(server, "/v1/realtime/sessions", body))[0] == 400


async def test_no_secrets_before_the_model_is_ready() -> None:
    async with serving() as server:
        server.host.session_config = None
        server.host.health = Health("loading", "reading weights")
        status, body = await post(server, "/v1/realtime/client_secrets")
        assert (status, body["error"]["code"]) == (503, "server_not_ready")


# Watching


async def test_readiness_is_a_free_place() -> None:
    async with serving(max_sessions=1) as server:
        assert (await server.get("/readyz"))[0] == 200
        async with connect(server.url) as ws:
            await session_of(ws)
            status, body = await server.get("/readyz")
            assert (status, body["status"]) == (503, "full")
            assert (await server.get("/healthz"))[0] == 200
        await server.all_gone()
        assert (await server.get("/readyz"))[0] == 200
        server.host.health = Health("loading", "reading weights")
        assert await server.get("/readyz") == (503, {"status": "loading", "reason": "reading weights"})


async def test_metrics_count_sessions_refusals_and_responses() -> None:
    async with serving(reply("Hi."), access=guarded()) as server:
        await refused(server)
        async with connect(server.url, additional_headers=BEARER) as ws:
            await ask(ws, "hello")
            await expect(ws, "response.done")
            during = await metrics_of(server)
        await server.all_gone()
        after = await metrics_of(server)
    assert during["realtime_sessions"] == 1 and after["realtime_sessions"] == 0
    assert after["realtime_sessions_admitted_total"] == 1
    assert after['realtime_sessions_refused_total{code="invalid_api_key"}'] == 1
    assert after['realtime_responses_total{status="completed"}'] == 1
    assert not any(name.startswith("realtime_vocoder_faults_total") for name in after)
    assert after["realtime_first_audio_seconds_count"] == after['realtime_first_audio_seconds_bucket{le="+Inf"}'] == 1


def test_metrics_count_faults_of_the_vocoder() -> None:
    metrics = ServerMetrics()
    for _ in range(2):
        metrics.reply_measured({"total_ms": 300.0, "audio_ms": 1000.0, "vocoder_fault_silent_tokens": 4})
    assert 'realtime_vocoder_faults_total{fault="silent_tokens"} 8.0' in metrics.page().splitlines()


def test_metrics_count_late_chunks_and_margins() -> None:
    trace = ReplyTrace(requested=0.0)
    for at in (0.1, 0.2, 1.5):  # the third is needed at 0.1 + 2 * 0.5 s
        trace.chunk_sent(at, 0.5)
    metrics = ServerMetrics()
    metrics.reply_measured(trace.summary())
    lines = metrics.page().splitlines()
    assert "realtime_chunks_total 3.0" in lines and "realtime_late_chunks_total 1.0" in lines
    assert 'realtime_least_margin_seconds_bucket{le="-0.5"} 0.0' in lines
    assert 'realtime_least_margin_seconds_bucket{le="-0.2"} 1.0' in lines


async def test_metrics_count_rejected_and_paced_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "EVENTS_AT_ONCE", 4.0)
    monkeypatch.setattr(rate_limit, "EVENTS_PER_S", 40.0)
    async with serving(access=guarded()) as server, connect(server.url, additional_headers=BEARER) as ws:
        await ws.send('{"type": "response.cancel"}')
        await expect(ws, "error")
        for _ in range(8):
            await ws.send('{"type": "input_audio_buffer.clear"}')
        for _ in range(8):
            await expect(ws, "input_audio_buffer.cleared")
        metrics = await metrics_of(server)
    assert metrics['realtime_messages_rejected_total{code="response_cancel_not_active"}'] == 1
    assert metrics["realtime_messages_paced_total"] >= 1


def test_metrics_show_the_process_and_gauges() -> None:
    metrics = ServerMetrics()
    depth = 3
    metrics.gauge("realtime_input_queue_depth", "Inputs that wait.", lambda: depth)
    metrics.loop_lag.note(at=100.0, lag_s=0.25)
    values = dict(line.rsplit(" ", 1) for line in metrics.page().splitlines() if line[:1] != "#")
    assert values["realtime_input_queue_depth"] == "3.0"
    assert values["realtime_event_loop_lag_seconds"] == "0.25"
    assert float(values["process_resident_memory_bytes"]) > 10_000_000
    assert float(values["process_threads"]) >= 1 and float(values["process_open_fds"]) >= 3


def test_the_loop_lag_forgets_what_is_old() -> None:
    lag = LoopLag()
    for at, late in ((0.0, 2.0), (10.0, 0.5), (16.0, 0.1)):
        lag.note(at, late)
    assert lag.worst_s == 0.5


async def test_a_blocked_event_loop_shows_as_lag() -> None:
    lag = LoopLag()
    measuring = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 — the fault that is measured
    while not lag.worst_s:
        await asyncio.sleep(0.01)
    measuring.cancel()
    assert lag.worst_s >= 0.09


async def metrics_of(server: Server) -> dict[str, float]:
    def fetch() -> str:
        with urllib.request.urlopen(urllib.request.Request(server.http + "/metrics", headers=BEARER)) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return str(answer.read().decode())

    lines = (await asyncio.to_thread(fetch)).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}


# TLS


async def test_self_signed_servers_answer_to_their_names(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    files = write_self_signed(tmp_path, names_of("127.0.0.1"))
    assert files.key.stat().st_mode & 0o077 == 0
    trust = ssl.create_default_context(cafile=str(files.cert))
    server = web_server(build_app(FakeHost(FakeEngine()), None), files)
    files.key.unlink()  # it has been read
    with listen("127.0.0.1", 0) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        for host in ("127.0.0.1", "localhost"):
            url = f"wss://{host}:{listener.getsockname()[1]}/v1/realtime"
            async with connect(url, ssl=trust, origin=f"https://{host}") as ws:  # type: ignore[arg-type]
                await session_of(ws)
        with pytest.raises(ClientError, match="certificate is not trusted .* --insecure"):
            async with open_session(url):
                pass
        async with open_session(url, any_certificate=True):
            pass
        server.should_exit = True
        await task


def test_a_missing_package_for_certificates_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.transports.http.self_signed.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install cryptography"):
        write_self_signed(tmp_path, ("localhost",))


def test_tls_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    app = build_app(FakeHost(FakeEngine()), None)
    with pytest.raises(ConfigError, match="cert.pem does not exist"):
        web_server(app, files)
    files.cert.write_text("nonsense")
    files.key.write_text("nonsense")
    with pytest.raises(ConfigError, match="expected a certificate"):
        web_server(app, files)


async def asked_by_page(
    server: Server, origin: str, method: str, path: str = "/v1/models"
) -> tuple[int, dict[str, str]]:
    def fetch() -> tuple[int, dict[str, str]]:
        headers = {"Origin": origin}
        if method == "OPTIONS":
            asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
            headers |= asked
        request = urllib.request.Request(server.http + path, None, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers)

    return await asyncio.to_thread(fetch)


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_allowed_pages_may_read_the_routes(method: str) -> None:
    async with serving(access=Access(origins=Origins(["https://shop.example"]))) as server:
        for origin in ("https://shop.example", "http://localhost:3000"):
            status, headers = await asked_by_page(server, origin, method)
            assert (status, headers["access-control-allow-origin"]) == (200, origin)
        _, headers = await asked_by_page(server, "https://shop.example", "GET")
        assert headers["access-control-expose-headers"] == "Location"
        _, headers = await asked_by_page(server, "https://evil.example", method)
        assert "access-control-allow-origin" not in headers
