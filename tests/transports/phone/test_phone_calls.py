"""Phone calls over real sockets, the model side faked: a carrier streams, hears, interrupts and misbehaves."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.audio.g711 import pcm16_to_mulaw
from realtime.audio.streams import AudioReader
from realtime.session.quota import QuotaLimits
from realtime.transports.http.access import Access, ApiKeys
from realtime.transports.phone import media_stream
from realtime.transports.phone.access import PhoneConfig, twilio_signature
from realtime.transports.phone.dialects import DIALECTS, MULAW_8K
from tests.fakes import Gate, Step, delta, reply
from tests.transports.phone.carrier import Carrier, attached, calling
from tests.transports.phone.recorded import RECORDED, text, twilio_start
from tests.transports.test_server import Server, expect, say, serving

SECRET = "s3cret-of-the-phone"
KEY = "rt-5f1c"
SILENT = PhoneConfig(greets=False)
LOUD = pcm16_to_mulaw(np.full(160, 8000, np.int16))
"""20 ms."""


def phone(server: Server, rest: str = "twilio") -> str:
    return server.url.replace("/v1/realtime", f"/v1/phone/{rest}")


def long() -> list[Step]:
    """A reply of eight seconds that does not end."""
    return [delta("Long", 200), Gate()]


async def ask(carrier: Carrier) -> None:
    await carrier.be_silent(0.5, real_time=False)
    await carrier.say(LOUD * 50, real_time=False)
    await carrier.be_silent(0.8, real_time=False)


async def watched(server: Server, **headers: str) -> ClientConnection:
    return await attached(server.url, **headers)


async def refused(url: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(url, **options)
    response = refusal.value.response
    return response.status_code, json.loads(response.body or b"")["error"]["code"]


async def closed(url: str, *messages: str | bytes) -> tuple[int, str]:
    """Code and reason with which the server closes after these messages."""
    async with connect(url) as ws:
        for message in messages:
            await ws.send(message)
        with pytest.raises(ConnectionClosed) as end:
            async with asyncio.timeout(10):
                while True:
                    await ws.recv()
        assert end.value.rcvd is not None
        return end.value.rcvd.code, end.value.rcvd.reason


# A call


async def test_a_caller_is_greeted_and_answered() -> None:
    async with serving(reply("Hi.", tokens=10), reply("Yes.", tokens=10)) as server:
        async with calling(phone(server)) as carrier:
            await carrier.until(lambda: len(carrier.received) >= 8000 * 0.4)
            await carrier.until(lambda: carrier.queued == 0)
            await ask(carrier)
            await carrier.until(lambda: len(carrier.received) >= 8000 * 0.8)
            heard = AudioReader(MULAW_8K, 8000).push(bytes(carrier.received))
            assert np.median(heard) == pytest.approx(0.25, abs=0.01) and carrier.marks
        await server.all_gone()


async def test_a_silent_operator_does_not_greet() -> None:
    async with serving(phone=SILENT) as server:
        async with calling(phone(server)) as carrier:
            await ask(carrier)
            await carrier.until(lambda: bool(carrier.received))
        assert [len(request.messages) for request in server.host.engine.requests] == [1]


@pytest.mark.parametrize("name", DIALECTS)
async def test_every_dialect_holds_a_call(name: str) -> None:
    recorded = RECORDED[name]
    async with serving(reply("Hi.", tokens=20)) as server:
        async with connect(phone(server, name)) as ws:
            for message in recorded.start:
                await ws.send(message)
            await ws.send(recorded.media)
            async with asyncio.timeout(10):
                sent = 0
                while sent < 400:
                    sent += len(await ws.recv())
            if recorded.stop:
                await ws.send(recorded.stop)
                with pytest.raises(ConnectionClosed):
                    async with asyncio.timeout(10):
                        while True:
                            await ws.recv()
        await server.all_gone()


async def test_barge_in_clears_and_truncates_to_what_was_heard() -> None:
    async with serving(long(), phone=SILENT) as server:
        async with calling(phone(server)) as carrier:
            side = await watched(server)
            await ask(carrier)
            await carrier.until(lambda: len(carrier.received) > 8000 * 1.2)
            assert carrier.queued <= 1.1
            await carrier.say(LOUD * 40)
            await carrier.until(lambda: carrier.clears == 1)
            received = len(carrier.received)
            truncated = await expect(side, "conversation.item.truncated")
            assert truncated["audio_end_ms"] / 1000 == pytest.approx(carrier.played_at_clear[0], abs=0.4)
            await asyncio.sleep(0.3)
            assert len(carrier.received) == received
            await side.close()


async def test_a_paused_reply_goes_on_where_it_was_heard() -> None:
    async with serving(reply("Long.", tokens=75), phone=SILENT) as server:
        async with calling(phone(server)) as carrier:
            side = await watched(server)
            detection = {"type": "server_vad", "interruption": "pause"}
            await say(side, type="session.update",
                      session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})  # fmt: skip
            await expect(side, "session.updated")
            await ask(carrier)
            await carrier.until(lambda: len(carrier.received) > 8000)
            await carrier.say(LOUD * 8)
            await carrier.be_silent(1.5)
            await expect(side, "output_audio_buffer.resumed")
            await expect(side, "output_audio_buffer.stopped")
            assert carrier.clears == 1
            repeated = len(carrier.received) / 8000 - 3.0
            assert 0 < repeated <= 1.5
            await side.close()


async def test_keys_are_told_to_second_connections() -> None:
    async with serving(phone=SILENT) as server:
        async with calling(phone(server)) as carrier:
            side = await watched(server)
            await carrier.send(event="dtmf", streamSid="MZ1", dtmf={"track": "inbound_track", "digit": "#"})
            pressed = await expect(side, "input_audio_buffer.dtmf_event_received")
            assert pressed["event"] == "#" and pressed["received_at"] > 1.7e9
            await side.close()


async def test_hanging_up_over_http_ends_the_call() -> None:
    async with serving(phone=SILENT) as server, connect(phone(server, "jambonz")) as ws:
        await ws.send(*RECORDED["jambonz"].start)
        side = await watched(server)
        await side.close()
        request = urllib.request.Request(f"{server.http}/v1/realtime/calls/CA1/hangup", method="POST")
        with await asyncio.to_thread(urllib.request.urlopen, request) as answer:
            assert answer.status == 200
        async with asyncio.timeout(10):
            assert json.loads(await ws.recv()) == {"type": "disconnect"}
            with pytest.raises(ConnectionClosed):
                await ws.recv()
        await server.all_gone()


async def test_allowed_parameters_set_the_session() -> None:
    parameters = {"voice": "other", "instructions": "Be brief.", "speed": "1.2", "language": "en", "temperature": "2"}
    config = PhoneConfig(parameters=("voice", "speed", "language"), greets=False)
    async with serving(phone=config) as server:
        async with calling(phone(server), parameters):
            side = await watched(server)
            session = (await expect(side, "session.created"))["session"]
            await side.close()
    output, transcription = session["audio"]["output"], session["audio"]["input"]["transcription"]
    assert (output["voice"], output["speed"], transcription["language"]) == ("other", 1.2, "en")
    assert session["instructions"] == ""


async def test_parameters_set_nothing_by_default() -> None:
    async with serving(phone=SILENT) as server:
        async with calling(phone(server), {"voice": "other"}):
            side = await watched(server)
            assert (await expect(side, "session.created"))["session"]["audio"]["output"]["voice"] == "default"
            await side.close()


# Hostile and broken far ends


async def test_wrong_messages_end_only_their_call() -> None:
    start = [text(event="connected"), twilio_start()]
    wrong: list[tuple[list[str | bytes], str]] = [
        (["not JSON"], "invalid_message"),
        ([b"\x00" * 320], "invalid_message"),
        ([twilio_start(encoding="opus")], "invalid_message"),
        ([*start, text(event="media", media={})], "invalid_message"),
        ([*start, "[" * 1000], "invalid_message"),
        ([*start, text(event="media", media={"payload": "A" * 300_000})], "message_too_long"),
    ]
    async with serving(phone=SILENT) as server:
        async with calling(phone(server)) as carrier:
            for messages, code in wrong:
                assert (await closed(phone(server), *messages))[0] == 1008, code
                status, reason = await closed(phone(server), *messages)
                assert (status, reason.partition(":")[0]) == (1008, code)
            await ask(carrier)
            await carrier.until(lambda: bool(carrier.received))
        await server.all_gone()


async def test_audio_before_the_start_is_ignored() -> None:
    media = RECORDED["twilio"].media
    async with serving(reply("Hi.", tokens=5)) as server, connect(phone(server)) as ws:
        for message in (media, text(event="mark", mark={"name": "0-5"}), *RECORDED["twilio"].start, media):
            await ws.send(message)
        async with asyncio.timeout(10):
            assert json.loads(await ws.recv())["event"] == "media"
        await ws.send(twilio_start())  # once more
        await ws.send(RECORDED["twilio"].mark)  # of nothing
        await ws.send(RECORDED["twilio"].stop)
        await server.all_gone()


async def test_a_stream_that_does_not_start_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_stream, "START_SECONDS", 0.1)
    async with serving() as server:
        code, reason = await closed(phone(server), text(event="connected"))
        assert code == 1008 and "started" in reason
        await server.all_gone()


async def test_wrong_parameters_end_the_call() -> None:
    config = PhoneConfig(parameters=("speed", "voice"))
    async with serving(phone=config) as server:
        for parameters in ({"speed": "fast"}, {"speed": "99"}):
            async with calling(phone(server), parameters) as carrier:
                await asyncio.wait_for(carrier.ws.wait_closed(), 10)
                assert carrier.ws.close_code == 1008
        await server.all_gone()


async def test_freeswitch_may_start_with_audio_at_any_rate() -> None:
    async with serving(reply("Hi.", tokens=10)) as server:
        async with connect(phone(server, "freeswitch?rate=16000")) as ws:
            await ws.send(bytes(640))
            async with asyncio.timeout(10):
                assert json.loads(await ws.recv())["data"]["sampleRate"] == 16_000
        assert await refused(phone(server, "freeswitch?rate=44100")) == (400, "invalid_message")
        assert await refused(phone(server, "freeswitch?rate=x")) == (400, "invalid_value")


async def test_jambonz_gets_its_subprotocol() -> None:
    async with serving() as server:
        async with connect(phone(server, "jambonz"), subprotocols=["audio.jambonz.org"]) as ws:  # type: ignore[list-item]
            assert ws.subprotocol == "audio.jambonz.org"


async def test_full_servers_refuse_calls() -> None:
    async with serving(max_sessions=1, max_waiting=4, phone=SILENT) as server:
        async with calling(phone(server)):
            await (await watched(server)).close()
            assert await refused(phone(server)) == (503, "server_full")


# Access


def guarded() -> Access:
    return Access(ApiKeys.read([KEY, "rt-other"], "test"))


async def test_secrets_in_the_path_open_calls(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "realtime")
    config = PhoneConfig(secrets=("another-secret-of-it", SECRET), greets=False)
    async with serving(access=guarded(), phone=config) as server:
        async with calling(phone(server, f"twilio/{SECRET}")):
            side = await watched(server, Authorization=f"Bearer {KEY}")  # of the first key: the operator's
            await side.close()
            assert (await refused(f"{server.url}?call_id=CA1", additional_headers={"api-key": "rt-other"}))[0] == 404
        for rest in ("twilio", "twilio/wrong-secret-of-it", f"twilio/{SECRET}x"):
            assert (await refused(phone(server, rest)))[0] == 401
        async with connect(phone(server), additional_headers={"api-key": KEY}):
            pass
    assert SECRET not in caplog.text and "/v1/phone/twilio/*" in caplog.text


async def test_keyless_servers_with_secrets_need_them() -> None:
    async with serving(phone=PhoneConfig(secrets=(SECRET,))) as server:
        assert await refused(phone(server)) == (401, "invalid_phone_secret")
        async with connect(server.url):
            pass


async def test_unknown_secrets_are_refused_without_any() -> None:
    async with serving() as server:
        assert await refused(phone(server, "twilio/anything-at-all-xx")) == (401, "invalid_phone_secret")


async def test_twilio_may_sign_instead() -> None:
    config = PhoneConfig(twilio_token="token", public_url="wss://voice.example.com/", greets=False)
    signature = twilio_signature("wss://voice.example.com/v1/phone/twilio", "token")
    async with serving(access=guarded(), phone=config) as server:
        async with calling(phone(server), additional_headers={"X-Twilio-Signature": signature}):
            await (await watched(server, Authorization=f"Bearer {KEY}")).close()
        for headers in ({"X-Twilio-Signature": signature[::-1]}, {"X-Twilio-Signature": ""}, {}):
            assert (await refused(phone(server), additional_headers=headers))[0] == 401


async def test_signatures_count_for_the_requests_host() -> None:
    async with serving(phone=PhoneConfig(twilio_token="token", greets=False)) as server:
        url = phone(server).replace("ws://", "wss://")
        for signed in (url, url + "/"):
            headers = {"X-Twilio-Signature": twilio_signature(signed, "token")}
            async with connect(phone(server), additional_headers=headers):
                pass


def test_the_signature_is_that_of_twilios_documentation() -> None:
    """Their example is a form, whose fields follow the URL in what is signed."""
    form = "CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212"
    signed = "https://mycompany.com/myapp.php?foo=1&bar=2" + form
    assert twilio_signature(signed, "12345") == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


async def test_unknown_dialects_are_404() -> None:
    async with serving() as server:
        assert await refused(phone(server, "carrier-pigeon")) == (404, "not_found")


async def test_quotas_count_calls_by_their_secret() -> None:
    config = PhoneConfig(secrets=(SECRET,), greets=False)
    async with serving(phone=config, quota=QuotaLimits(sessions=1)) as server:
        async with calling(phone(server, f"twilio/{SECRET}")):
            await (await watched(server)).close()
            assert (await refused(phone(server, f"twilio/{SECRET}")))[0] == 429
