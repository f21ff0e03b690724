"""Calls over WebRTC as far as HTTP goes, over real sockets; what answers the offers is a fake."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect

from realtime.errors import ChannelClosed, PeerError
from realtime.ports.channel import Channel, Inbound
from realtime.protocol import events as wire
from realtime.protocol.dialect import Connection
from realtime.transports.http.access import Access, ApiKeys, Origins
from realtime.transports.webrtc.offers import Answered
from tests.transports.test_server import Server, expect, serving

OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
ANSWER = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\n"
KEY, OTHER_KEY = "rt-5f1c", "rt-other"
RAW = {"Content-Type": "application/sdp"}


class FakeCall:
    """`Channel`: says nothing, keeps the events as they would go over the data channel."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.told: list[dict[str, Any]] = []
        self.closed: int | None = None
        self._over = asyncio.Event()

    async def receive(self) -> Inbound:
        await self._over.wait()
        raise ChannelClosed("the peer is gone")

    async def send(self, event: wire.ServerEvent) -> None:
        self.told += [json.loads(message) for message in self.connection.encode(event)]

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = code
        self._over.set()


class FakeAnswerer:
    """`OfferAnswerer`."""

    def __init__(self) -> None:
        self.offers: list[str] = []
        self.calls: list[FakeCall] = []

    async def answer(self, offer: str, connection: Connection) -> Answered:
        if "m=audio" not in offer:
            raise PeerError("invalid_value", "The offer has no audio.", param="sdp")
        self.offers.append(offer)
        self.calls.append(FakeCall(connection))
        return Answered(ANSWER, self.calls[-1])

    def renegotiate(self, channel: Channel, offer: str) -> str:
        assert channel in self.calls
        self.offers.append(offer)
        return ANSWER

    async def session(self) -> dict[str, Any]:
        """As the last call was told it."""
        async with asyncio.timeout(10):
            while not self.calls[-1].told:
                await asyncio.sleep(0.005)
        first = self.calls[-1].told[0]
        assert first["type"] == "session.created"
        session: dict[str, Any] = first["session"]
        return session


def answering(server: Server) -> FakeAnswerer:
    server.host.offers = answerer = FakeAnswerer()
    return answerer


async def post(
    server: Server, path: str, body: str | bytes = "", headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], str]:
    """Status, headers, body."""
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(server.http + path, data, dict(headers or {}), method="POST")

    def fetch() -> tuple[int, Mapping[str, str], str]:
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    return await asyncio.to_thread(fetch)


def form(*parts: tuple[str, str, str]) -> tuple[bytes, dict[str, str]]:
    """Of (name, content type, content), as browsers send it."""
    lines = "".join(
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n'
        + (f"Content-Type: {kind}\r\n" if kind else "")
        + f"\r\n{content}\r\n"
        for name, kind, content in parts
    )
    return f"{lines}--edge--\r\n".encode(), {"Content-Type": "multipart/form-data; boundary=edge"}


def error(body: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(body)["error"]
    assert set(told) == {"type", "code", "message", "param"}
    return told


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def guarded() -> Access:
    return Access(ApiKeys.read([KEY, OTHER_KEY], "test"), Origins(["https://app.example.org"]))


async def test_calls_run_from_their_answer_until_hangup() -> None:
    async with serving() as server:
        answerer = answering(server)
        status, headers, body = await post(server, "/v1/realtime/calls?model=gpt-realtime", OFFER, RAW)
        assert (status, body, answerer.offers) == (201, ANSWER, [OFFER])
        assert headers["Content-Type"].startswith("application/sdp")
        place, _, call_id = headers["Location"].rpartition("/")
        assert place == "/v1/realtime/calls" and call_id.startswith("rtc_")
        assert (await answerer.session())["model"] == "gpt-realtime"
        assert (await post(server, f"/v1/realtime/calls/{call_id}/hangup"))[0] == 200
        await server.all_gone()
        assert answerer.calls[0].closed == 1000
        status, _, body = await post(server, f"/v1/realtime/calls/{call_id}/hangup")
        assert (status, error(body)["code"]) == (404, "call_not_found")


@pytest.mark.parametrize("kinds", [("", ""), ("application/sdp", "application/json")])
async def test_a_form_says_how_the_session_begins(kinds: tuple[str, str]) -> None:
    session = {"type": "realtime", "model": "m", "instructions": "Be brief.", "audio": {"output": {"voice": "nova"}}}
    async with serving() as server:
        answerer = answering(server)
        body, headers = form(("sdp", kinds[0], OFFER), ("session", kinds[1], json.dumps(session)))
        assert (await post(server, "/v1/realtime/calls", body, headers))[0] == 201
        began = await answerer.session()
        assert (began["model"], began["instructions"]) == ("m", "Be brief.")
        assert began["audio"]["output"]["voice"] == "nova"
        assert answerer.offers == [OFFER]


async def test_the_openai_package_opens_and_ends_a_call() -> None:
    async with serving() as server:
        answerer = answering(server)
        async with AsyncOpenAI(api_key="any", base_url=f"{server.http}/v1") as client:
            for session in ({"type": "realtime", "instructions": "Be brief."}, None):
                more: dict[str, Any] = {"session": session} if session else {}
                created = await client.realtime.calls.create(sdp=OFFER, **more)
                assert created.response.status_code == 201
                assert created.text == ANSWER
                assert answerer.offers[-1].strip() == OFFER.strip()
                call_id = created.response.headers["Location"].rpartition("/")[2]
                if session:
                    assert (await answerer.session())["instructions"] == "Be brief."
                await client.realtime.calls.hangup(call_id)
                await server.all_gone()


async def test_secrets_open_calls_and_forms_override_their_settings() -> None:
    access = guarded()
    settings = {"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "nova", "speed": 1.2}}}
    value, _ = access.secrets.create(settings, model="bound", owner="key:1")
    async with serving(access=access) as server:
        answerer = answering(server)
        assert (await post(server, "/v1/realtime/calls", OFFER, RAW | bearer(value)))[0] == 201
        began = await answerer.session()
        assert (began["model"], began["instructions"]) == ("bound", "Be brief.")
        body, headers = form(("sdp", "", OFFER), ("session", "", '{"audio": {"output": {"speed": 0.9}}}'))
        assert (await post(server, "/v1/realtime/calls", body, headers | bearer(value)))[0] == 201
        output = (await answerer.session())["audio"]["output"]
        assert (output["voice"], output["speed"]) == ("nova", 0.9)


async def test_only_the_opening_key_ends_or_watches_calls() -> None:
    async with serving(access=guarded()) as server:
        answerer = answering(server)
        status, _, body = await post(server, "/v1/realtime/calls", OFFER, RAW)
        assert (status, error(body)["code"]) == (401, "invalid_api_key")
        _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW | bearer(KEY))
        await answerer.session()
        assert (await post(server, headers["Location"] + "/hangup", headers=bearer(OTHER_KEY)))[0] == 404
        call_id = headers["Location"].rpartition("/")[2]
        async with connect(f"{server.url}?call_id={call_id}", additional_headers=bearer(KEY)) as side:
            await expect(side, "session.created")
        assert (await post(server, headers["Location"] + "/hangup", headers=bearer(KEY)))[0] == 200


async def test_a_page_reads_where_its_call_is() -> None:
    async with serving(access=guarded()) as server:
        answering(server)
        page = {"Origin": "https://app.example.org"}
        _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW | bearer(KEY) | page)
        assert headers["Access-Control-Expose-Headers"] == "Location"
        status, _, body = await post(
            server, "/v1/realtime/calls", OFFER, RAW | bearer(KEY) | {"Origin": "https://evil.example"}
        )
        assert (status, error(body)["code"]) == (403, "origin_not_allowed")


async def test_running_calls_take_another_offer_of_their_caller() -> None:
    async with serving(access=guarded()) as server:
        answerer = answering(server)
        _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW | bearer(KEY))
        await answerer.session()
        place = headers["Location"]
        assert (await post(server, place, OFFER, RAW | bearer(KEY)))[::2] == (200, ANSWER)
        assert (await post(server, place, OFFER, RAW | bearer(OTHER_KEY)))[0] == 404
        assert (await post(server, place, OFFER, {"Content-Type": "text/plain"} | bearer(KEY)))[0] == 415
        assert (await post(server, place, "hello", RAW | bearer(KEY)))[0] == 400
        assert len(answerer.offers) == 2
        await post(server, place + "/hangup", headers=bearer(KEY))
        await server.all_gone()
        assert (await post(server, place, OFFER, RAW | bearer(KEY)))[0] == 404


@pytest.mark.parametrize("path", ["/v1/realtime?model=gpt-4o-realtime-preview", "/v1/realtime/calls"])
async def test_the_betas_route_speaks_beta(path: str) -> None:
    beta = {} if "?" in path else {"OpenAI-Beta": "realtime=v1"}
    async with serving() as server:
        answerer = answering(server)
        status, headers, _ = await post(server, path, OFFER, RAW | beta)
        assert status == 201 and headers["Location"].startswith("/v1/realtime/calls/rtc_")
        assert (await answerer.session())["modalities"] == ["text", "audio"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "param"),
    [
        ("", RAW, 400, "missing_required_parameter", "sdp"),
        ("hello", RAW, 400, "invalid_value", "sdp"),
        ("v=0\r\nm=video", RAW, 400, "invalid_value", "sdp"),
        (b"v=0\xff", RAW, 400, "invalid_json", None),
        ("v=0" + 70_000 * "a", RAW, 413, "invalid_value", None),
        (OFFER, {"Content-Type": "text/plain"}, 415, "unsupported_content_type", None),
        ("nonsense", {"Content-Type": "multipart/form-data"}, 400, "invalid_value", None),
        ("nonsense", {"Content-Type": "multipart/form-data; boundary=edge"}, 400, "invalid_value", None),
        (*form(("session", "", "{}")), 400, "missing_required_parameter", "sdp"),
        (*form(("sdp", "", OFFER), ("session", "", "{")), 400, "invalid_json", None),
        (*form(("sdp", "", OFFER), ("session", "", "[]")), 400, "invalid_event", None),
        (
            *form(("sdp", "", OFFER), ("session", "", '{"audio": {"output": {"speed": 9}}}')),
            400,
            "invalid_value",
            "session.audio.output.speed",
        ),
    ],
)
async def test_a_wrong_offer_is_refused_with_its_fault(
    body: str | bytes, headers: dict[str, str], status: int, code: str, param: str | None
) -> None:
    async with serving() as server:
        answering(server)
        answered, _, told = await post(server, "/v1/realtime/calls", body, headers)
        assert (answered, error(told)["code"], error(told)["param"]) == (status, code, param)
        assert not server.host.sessions.sessions


async def test_without_webrtc_offers_are_refused_with_reasons() -> None:
    async with serving() as server:
        status, _, body = await post(server, "/v1/realtime/calls", OFFER, RAW)
        assert (status, error(body)["code"]) == (501, "webrtc_not_available")
        assert "WebSocket" in error(body)["message"]


async def test_full_servers_refuse_offers_and_free_their_seats() -> None:
    async with serving(max_sessions=1) as server:
        answering(server)
        assert (await post(server, "/v1/realtime/calls", "v=0\r\n", RAW))[0] == 400  # its seat is free again
        _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW)
        status, _, body = await post(server, "/v1/realtime/calls", OFFER, RAW)
        assert (status, error(body)["code"]) == (503, "server_full")
        await post(server, headers["Location"] + "/hangup")
        await server.all_gone()
        assert (await post(server, "/v1/realtime/calls", OFFER, RAW))[0] == 201


@pytest.mark.parametrize(
    ("action", "body", "param"),
    [
        ("accept", {"type": "realtime"}, "call_id"),
        ("accept", {}, "type"),
        ("reject", {}, "call_id"),
        ("reject", {"status_code": 42}, "status_code"),
        ("refer", {"target_uri": "tel:+14155550123"}, "call_id"),
        ("refer", {"target_uri": "nobody"}, "target_uri"),
    ],
)
async def test_what_only_phone_calls_know_is_refused(action: str, body: dict[str, Any], param: str) -> None:
    async with serving() as server:
        answerer = answering(server)
        _, headers, _ = await post(server, "/v1/realtime/calls", OFFER, RAW)
        await answerer.session()
        status, _, told = await post(server, f"{headers['Location']}/{action}", json.dumps(body))
        assert (status, error(told)["param"]) == (400, param)
        assert (await post(server, f"/v1/realtime/calls/rtc_x/{action}", json.dumps(body)))[0] == 404
        assert (await post(server, f"{headers['Location']}/whistle"))[0] == 404
