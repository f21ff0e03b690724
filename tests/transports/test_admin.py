"""The operators' routes: who may use them, what they show, the end of a session and its events."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.app import Application
from realtime.config import Settings
from realtime.errors import ConfigError
from realtime.keys import build_admin_access, reload_keys
from realtime.protocol.ids import shown_session_id
from realtime.session.config import SessionLimits
from realtime.transports.http.access import Access, ApiKeys
from realtime.transports.http.admin_access import AdminAccess
from tests.fakes import done, reply
from tests.transports.test_access import post
from tests.transports.test_hosts import upgrade
from tests.transports.test_key_reload import connection
from tests.transports.test_server import Server, ask, expect, loud, say, serving
from tests.transports.test_websocket_endpoint import _until as until

ADMIN_KEY, API_KEY = "adm-77aa", "rt-5f1c"
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}


def keyed() -> AdminAccess:
    return AdminAccess(ApiKeys.read([ADMIN_KEY], "test"))


def on_loopback() -> AdminAccess:
    return AdminAccess(open_on_loopback=True)


def settings(**values: Any) -> Settings:
    return Settings.read(argparse.Namespace(**values), {})


async def refusal_of(server: Server, **headers: str) -> tuple[int, str]:
    """How all three routes refuse: status and code."""
    status, body = await server.get("/admin/state", **headers)
    ended = await post(server, "/admin/sessions/sess_x/end", headers=headers)
    with pytest.raises(InvalidStatus) as handshake:
        await connect(socket_of(server, "sess_x"), additional_headers=headers)
    assert ended[0] == handshake.value.response.status_code == status
    assert ended[1]["error"]["code"] == body["error"]["code"]
    return status, body["error"]["code"]


def socket_of(server: Server, shown_id: str) -> str:
    return server.url.replace("/v1/realtime", f"/admin/sessions/{shown_id}/events")


# Who is the operator


@pytest.mark.parametrize("key", [API_KEY, "wrong", ""])
async def test_other_keys_do_not_open_the_routes(key: str) -> None:
    async with serving(access=Access(ApiKeys.read([API_KEY], "test")), admin=keyed()) as server:
        assert await refusal_of(server, Authorization=f"Bearer {key}") == (401, "invalid_api_key")


async def test_a_client_secret_does_not_open_the_routes() -> None:
    access = Access()
    secret, _ = access.secrets.create({"type": "realtime"})
    async with serving(access=access, admin=keyed()) as server:
        assert await refusal_of(server, Authorization=f"Bearer {secret}") == (401, "invalid_api_key")


async def test_without_a_key_the_routes_are_refused() -> None:
    async with serving(admin=keyed()) as server:
        assert await refusal_of(server) == (401, "invalid_api_key")


async def test_a_key_in_the_url_does_not_count() -> None:
    async with serving(admin=keyed()) as server:
        assert (await server.get(f"/admin/state?api-key={ADMIN_KEY}"))[0] == 401


async def test_servers_without_admin_keys_have_no_operator() -> None:
    async with serving(access=Access(ApiKeys.read([API_KEY], "test"))) as server:
        status, code = await refusal_of(server, Authorization=f"Bearer {API_KEY}")
        assert (status, code) == (403, "admin_not_enabled")


async def test_admin_keys_open_no_sessions() -> None:
    async with serving(access=Access(ApiKeys.read([API_KEY], "test")), admin=keyed()) as server:
        with pytest.raises(InvalidStatus):
            await connect(server.url, additional_headers=ADMIN)
        assert (await server.get("/v1/models", **ADMIN))[0] == 401
        assert (await server.get("/metrics", **ADMIN))[0] == 200


async def test_a_keyless_loopback_server_opens_to_loopback() -> None:
    async with serving(admin=on_loopback()) as server:
        assert (await server.get("/admin/state"))[0] == 200
        assert (await server.get("/admin/state", Host="localhost:8765"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [{"Host": "192.168.1.5:8765"}, {"Host": "voice.lan"}, {"X-Forwarded-For": "203.0.113.9"}, {"Via": "1.1 proxy"}],
)
async def test_loopback_without_a_key_means_this_machine(headers: dict[str, str]) -> None:
    async with serving(admin=on_loopback()) as server:
        status, body = await server.get("/admin/state", **headers)
        assert (status, body["error"]["code"]) == (403, "admin_not_enabled")


async def test_rebound_names_are_refused() -> None:
    async with serving(admin=on_loopback()) as server:
        for path in ("/admin", "/admin/state"):
            status, body = await server.get(path, Host="evil.example:8765")
            assert (status, body["error"]["code"]) == (403, "host_not_allowed")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
async def test_pages_of_other_origins_are_refused(origin: str) -> None:
    async with serving(admin=on_loopback()) as server, connect(server.url) as ws:
        shown = shown_session_id((await expect(ws, "session.created"))["session"]["id"])
        assert (await server.get("/admin/state", Origin=origin))[0] == 403
        status, body = await post(server, f"/admin/sessions/{shown}/end", headers={"Origin": origin})
        assert (status, body["error"]["code"]) == (403, "origin_not_allowed")
        with pytest.raises(InvalidStatus):
            await connect(socket_of(server, shown), origin=origin)  # type: ignore[arg-type]
        await say(ws, type="input_audio_buffer.clear")
        await expect(ws, "input_audio_buffer.cleared")


async def test_the_servers_own_page_may_use_the_routes() -> None:
    async with serving(admin=on_loopback()) as server:
        assert (await server.get("/admin/state", Origin=server.http))[0] == 200


# Settings


def test_an_admin_key_must_not_be_an_api_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\n")
    with pytest.raises(ConfigError, match="--admin-key: .*API key"):
        build_admin_access(settings(admin_key="two", api_keys_file=str(keys)))


@pytest.mark.parametrize(
    ("values", "enabled"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"api_key": "k"}, False),
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "allow_anonymous": True}, False),
        ({"allow_anonymous": True}, False),
        ({"trusted_proxies": "10.0.0.0/8"}, False),
        ({"api_key": "k", "admin_key": "a"}, True),
    ],
)
def test_only_keyless_loopback_servers_need_no_admin_key(values: dict[str, Any], enabled: bool) -> None:
    assert build_admin_access(settings(**values)).enabled is enabled


def test_admin_keys_are_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    chosen = settings(admin_keys_file=str(keys))
    access, admin = Access(), build_admin_access(chosen)
    keys.write_text("new\n")
    reload_keys(chosen, access, admin)
    assert admin.knows(connection("new")) and not admin.knows(connection("old"))
    keys.write_text("not a key\n")
    with caplog.at_level(logging.ERROR):
        reload_keys(chosen, access, admin)
    assert admin.knows(connection("new")) and "unchanged" in caplog.text


# What is shown


async def test_a_session_is_shown_with_its_figures() -> None:
    async with serving(reply("A velvet word.", tokens=10), admin=keyed()) as server, connect(server.url) as ws:
        session_id = (await expect(ws, "session.created"))["session"]["id"]
        await say(ws, type="session.update", session={"type": "realtime", "instructions": "Be as quiet as a mouse."})
        await say(ws, type="conversation.item.delete", item_id="nothing")
        await ask(ws, "a question")
        await expect(ws, "response.done")
        status, state = await server.get("/admin/state", **ADMIN)
        (shown,) = state["sessions"]["list"]
        assert status == 200 and state["sessions"]["running"] == 1
        assert (shown["transport"], shown["caller"], shown["kind"]) == ("websocket", "address:127.0.0.1", "realtime")
        assert (shown["turns"], shown["replies"], shown["errors"]) == (1, 1, 1)
        assert shown["last_error"] == "item_delete_invalid_item_id" and shown["last_error_s"] >= 0
        assert shown["items"] == 2 and shown["age_s"] >= 0 and len(shown["first_audio_ms"]) == 1
        text = json.dumps(state)
        assert session_id not in text and session_id.startswith(shown["id"])
        for words in ("velvet", "question", "mouse"):
            assert words not in text


async def test_audio_that_waits_is_shown() -> None:
    async with serving(admin=keyed()) as server, connect(server.url) as ws:
        await expect(ws, "session.created")
        turn_detection = {"input": {"turn_detection": None}}
        await say(ws, type="session.update", session={"type": "realtime", "audio": turn_detection})
        await ws.send(loud(1.0))
        await say(ws, type="conversation.item.retrieve", item_id="none")
        await expect(ws, "error")
        (shown,) = (await server.get("/admin/state", **ADMIN))[1]["sessions"]["list"]
        assert 900 <= shown["input_audio_ms"] <= 1000 and shown["busy"]


async def test_the_queue_is_shown() -> None:
    async with serving(admin=keyed(), max_sessions=1, max_waiting=3) as server:
        async with connect(server.url) as first, connect(f"{server.url}?wait=events") as second:
            await expect(first, "session.created")
            await expect(second, "session.queued")
            queue = (await server.get("/admin/state", **ADMIN))[1]["queue"]
            assert (queue["waiting"], queue["limit"]) == (1, 3)
            assert queue["list"][0]["caller"] == "address:127.0.0.1" and queue["list"][0]["seconds"] >= 0


async def test_what_the_process_holds_is_shown() -> None:
    async with serving(admin=keyed()) as server:
        state = (await server.get("/admin/state", **ADMIN))[1]
        assert state["process"]["memory_bytes"] > 2**20 and state["process"]["threads"] >= 1
        assert state["model"]["voices"] == ["default", "other"] and state["model"]["kv_caches"] == 2
        assert state["server"]["status"] == "ready" and state["server"]["model"] == "fake"


async def test_replies_and_refusals_enter_the_last_hour() -> None:
    async with serving(reply("Hello.", tokens=10), admin=keyed(), max_sessions=1) as server:
        async with connect(server.url) as ws:
            await ask(ws, "hi")
            await expect(ws, "response.done")
            with pytest.raises(InvalidStatus):
                await connect(server.url)
            hour = (await server.get("/admin/state", **ADMIN))[1]["hour"]
    assert hour["first_audio"]["count"] == sum(hour["first_audio"]["counts"]) == 1
    series = hour["series"]
    assert [sum(series[name]) for name in ("replies", "admitted", "refused", "failed")] == [1, 1, 1, 0]
    assert all(len(values) == 60 for values in series.values())


# The end of a session


async def test_an_ended_session_is_told_why() -> None:
    async with serving(admin=keyed()) as server, connect(server.url) as ws, connect(server.url) as other:
        shown = shown_session_id((await expect(ws, "session.created"))["session"]["id"])
        assert (await post_end(server, shown)) == 204
        error = (await expect(ws, "error"))["error"]
        assert error["code"] == "ended_by_operator" and "operator" in error["message"]
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "ended_by_operator")
        await say(other, type="input_audio_buffer.clear")
        await expect(other, "input_audio_buffer.cleared")
        await until(lambda: server.host.sessions.running == 1)
        status, body = await post(server, f"/admin/sessions/{shown}/end", headers=ADMIN)
        assert (status, body["error"]["code"]) == (404, "session_not_found")


async def post_end(server: Server, shown_id: str) -> int:
    """The answer has no body, which `post` would read as JSON."""
    try:
        return (await post(server, f"/admin/sessions/{shown_id}/end", headers=ADMIN))[0]
    except json.JSONDecodeError:
        return 204


# The events of a session


async def test_the_operator_reads_the_events() -> None:
    async with serving(reply("Hello."), admin=keyed()) as server, connect(server.url) as ws:
        session = (await expect(ws, "session.created"))["session"]
        url = socket_of(server, shown_session_id(session["id"]))
        async with connect(url, additional_headers=ADMIN) as watch:
            begin = (await expect(watch, "session.created"))["session"]
            assert begin == session | {"id": shown_session_id(session["id"])}
            await ask(ws, "hi")
            seen = [event async for event in events_until(watch, "response.done")]
        assert "response.output_audio_transcript.delta" in seen and "response.output_audio.delta" not in seen


async def events_until(ws: Any, type: str) -> Any:
    while True:
        event = json.loads(await ws.recv())
        yield event["type"]
        if event["type"] == type:
            return


async def test_the_operator_cannot_write() -> None:
    async with serving(reply("Hello."), admin=keyed()) as server, connect(server.url) as ws:
        shown = shown_session_id((await expect(ws, "session.created"))["session"]["id"])
        async with connect(socket_of(server, shown), additional_headers=ADMIN) as watch:
            for event in ({"type": "response.create"}, {"type": "input_audio_buffer.append", "audio": "AAAA"}):
                await say(watch, event_id="c1", **event)
                error = (await expect(watch, "error"))["error"]
                assert (error["code"], error["event_id"]) == ("invalid_value", "c1")
            await say(ws, type="input_audio_buffer.clear")
            types = [event async for event in events_until(ws, "input_audio_buffer.cleared")]
            assert types == ["input_audio_buffer.cleared"]


async def test_operators_take_no_place_of_side_connections() -> None:
    async with serving(admin=keyed()) as server, connect(server.url) as ws:
        session_id = (await expect(ws, "session.created"))["session"]["id"]
        url = socket_of(server, shown_session_id(session_id))
        watching = [await connect(url, additional_headers=ADMIN) for _ in range(4)]
        for watch in watching:
            await expect(watch, "session.created")
        fifth = await connect(url, additional_headers=ADMIN)
        with pytest.raises(ConnectionClosed):
            await fifth.recv()
        async with connect(f"{server.url}?call_id={session_id}") as side:
            await expect(side, "session.created")
        for watch in watching:
            await watch.close()


async def test_browsers_are_told_of_a_wrong_admin_key() -> None:
    offered: Any = ["realtime", "openai-insecure-api-key.wrong"]
    async with serving(admin=keyed()) as server, connect(socket_of(server, "x"), subprotocols=offered) as watch:
        assert (await expect(watch, "error"))["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed) as closed:
            await watch.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 3000


async def test_rebound_names_get_no_events() -> None:
    async with serving(admin=on_loopback()) as server, connect(server.url) as ws:
        shown = shown_session_id((await expect(ws, "session.created"))["session"]["id"])
        path = f"/admin/sessions/{shown}/events"
        assert b" 403 " in await upgrade(server, "evil.example", path=path)
        assert b" 101 " in await upgrade(server, "localhost", path=path)


async def test_watching_and_ending_are_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "realtime")
    async with serving(admin=keyed()) as server, connect(server.url) as ws:
        session_id = (await expect(ws, "session.created"))["session"]["id"]
        shown = shown_session_id(session_id)
        async with connect(socket_of(server, shown), additional_headers=ADMIN) as watch:
            await expect(watch, "session.created")
        await post_end(server, shown)
        await expect(ws, "error")
    of_operator = [record.getMessage() for record in caplog.records if "the operator at" in record.getMessage()]
    assert of_operator == [
        f"the operator at 127.0.0.1 opens the events of session {shown}",
        f"the operator at 127.0.0.1 ends session {shown}",
    ]


async def test_an_expired_session_is_no_longer_listed() -> None:
    async with serving(admin=keyed(), limits=SessionLimits(session_s=0.05)) as server, connect(server.url) as ws:
        await expect(ws, "error")
        await server.all_gone()
        assert (await server.get("/admin/state", **ADMIN))[1]["sessions"] == {"running": 0, "limit": 4, "list": []}


async def test_a_transcription_session_is_shown_as_one() -> None:
    async with serving(admin=keyed()) as server, connect(f"{server.url}?intent=transcription") as ws:
        await expect(ws, "session.created")
        (shown,) = (await server.get("/admin/state", **ADMIN))[1]["sessions"]["list"]
        assert (shown["kind"], shown["voice"], shown["model"]) == ("transcription", "", "")


async def test_a_failed_response_counts_as_an_error() -> None:
    async with serving([done("failed", "the model broke")], admin=keyed()) as server, connect(server.url) as ws:
        await ask(ws, "hi")
        response = (await expect(ws, "response.done"))["response"]
        (shown,) = (await server.get("/admin/state", **ADMIN))[1]["sessions"]["list"]
        assert (shown["errors"], shown["last_error"]) == (1, response["status_details"]["error"]["code"])


async def test_the_oldest_session_is_listed_first() -> None:
    async with serving(admin=keyed()) as server, connect(server.url) as first, connect(server.url) as second:
        ids = [(await expect(ws, "session.created"))["session"]["id"] for ws in (first, second)]
        listed = (await server.get("/admin/state", **ADMIN))[1]["sessions"]["list"]
        assert [one["id"] for one in listed] == [shown_session_id(session_id) for session_id in ids]
        assert server.host.sessions.oldest(1)[0].shown_id == listed[0]["id"]


async def test_the_process_is_sampled_while_it_loads() -> None:
    application = Application(settings(model=Path("/nowhere")))
    async with application.running(), asyncio.timeout(10):
        series = application.metrics.last_hour
        while (sample := series.minute.sample) is None:
            await asyncio.sleep(0.01)
        assert sample.memory_bytes > 2**20 and sample.sessions == 0
        assert application.holdings() == {}
