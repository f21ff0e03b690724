"""Conversations over WebRTC: events, speech both ways, interruptions, side connections, the end."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiortc")

from websockets.asyncio.client import connect

from realtime.client.connection import ClientError
from tests.fakes import Gate, Step, delta, reply
from tests.transports.test_calls import OFFER, RAW, error, post
from tests.transports.test_server import expect
from tests.transports.webrtc.calls import TONE_HZ, answerer, answering, calling, hang_up, nothing_left
from tests.transports.webrtc.offers import CHROMIUM


def long() -> list[Step]:
    """Eight seconds of speech; the response does not end."""
    return [delta("Long", 200), Gate()]


async def test_a_spoken_turn_is_answered_aloud() -> None:
    async with answering(reply("Good", " day.", tokens=15)) as server, calling(server) as caller:
        await caller.say(1.0)
        await caller.expect("input_audio_buffer.speech_started")
        stopped = await caller.expect("output_audio_buffer.stopped")
        order = ["response.content_part.added", "output_audio_buffer.started", "response.done"]
        places = [caller.types().index(kind) for kind in order]
        assert places[0] < places[1] < len(caller.events) - 1 and places[2] < len(caller.events) - 1
        assert stopped["response_id"] == caller.events[places[1]]["response_id"]
        assert 1.1 <= await caller.spoken_s() <= 1.35  # 1.2 s were made
        heard = np.concatenate(caller.connection.heard)
        loud = heard[np.abs(heard).argmax() :][:12_000]
        assert abs(np.abs(np.fft.rfft(loud)).argmax() * 24_000 / len(loud) - TONE_HZ) < 5


async def test_barge_in_silences_the_track() -> None:
    async with answering(long()) as server, calling(server) as caller:
        await caller.connection.send("response.create")
        await caller.expect("output_audio_buffer.started")
        assert await caller.hear(0.6) > 0.1
        await caller.say(1.0)
        await caller.expect("input_audio_buffer.speech_started")
        await caller.expect("output_audio_buffer.cleared")
        await caller.expect("conversation.item.truncated")
        await asyncio.sleep(0.5)  # the client's jitter buffer
        assert await caller.hear(0.2) < 0.01
        (truncated,) = (event for event in caller.events if event.type == "conversation.item.truncated")
        assert 300 < truncated["audio_end_ms"] < 6000


async def test_clients_may_clear_the_playback() -> None:
    async with answering(long()) as server, calling(server) as caller:
        await caller.connection.send("response.create")
        started = await caller.expect("output_audio_buffer.started")
        await caller.connection.send("output_audio_buffer.clear")
        cleared = await caller.expect("output_audio_buffer.cleared")
        assert cleared["response_id"] == started["response_id"]
        assert "output_audio_buffer.stopped" not in caller.types()


async def test_appended_audio_and_nonsense_are_refused() -> None:
    async with answering() as server, calling(server) as caller:
        await caller.connection.send("input_audio_buffer.append", audio="AAAA", event_id="e1")
        told = await caller.expect("error")
        assert (told["error.code"], told["error.event_id"]) == ("invalid_value", "e1")
        caller.connection._channel.send(b"\0\0")
        assert "audio track" in (await caller.expect("error"))["error.message"]
        caller.connection._channel.send("{")
        assert (await caller.expect("error"))["error.code"] == "invalid_json"


async def test_the_sessions_formats_do_not_matter() -> None:
    pcmu: dict[str, Any] = {"format": {"type": "audio/pcmu"}}
    session = {"type": "realtime", "audio": {"input": pcmu, "output": pcmu}}
    async with answering(reply("Hello.", tokens=25)) as server, calling(server) as caller:
        await caller.connection.send("session.update", session=session)
        await caller.expect("session.updated")
        await caller.say(1.0)
        await caller.expect("input_audio_buffer.speech_started")
        await caller.expect("output_audio_buffer.stopped")
        assert 0.9 <= await caller.spoken_s() <= 1.15


async def test_side_connections_see_the_playback() -> None:
    async with answering(reply("Hello.", tokens=10)) as server, calling(server) as caller:
        call_id = caller.connection.call.rpartition("/")[2]
        async with connect(f"{server.url}?call_id={call_id}") as side:
            await expect(side, "session.created")
            await side.send(json.dumps({"type": "response.create"}))
            await expect(side, "output_audio_buffer.started")
            await expect(side, "output_audio_buffer.stopped")
        await caller.expect("output_audio_buffer.stopped")


async def test_a_hangup_ends_the_call_for_both() -> None:
    async with answering() as server, calling(server) as caller:
        await hang_up(server, caller)
        with pytest.raises(ClientError):
            async with asyncio.timeout(5):
                while True:
                    await caller.connection.receive()
        await nothing_left(server)


async def test_the_last_event_arrives_before_the_end() -> None:
    async with answering() as server, calling(server) as caller:
        await server.host.drain(0.0)
        assert (await caller.expect("error"))["error.code"] == "server_draining"


async def test_an_event_that_is_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    instructions = "x" * 70_000
    monkeypatch.setattr("aiortc.rtcsctptransport.LOCAL_MAX_MESSAGE_SIZE", 65_536)  # what the client offers to take
    async with answering() as server, calling(server) as caller:
        call_id = caller.connection.call.rpartition("/")[2]
        async with connect(f"{server.url}?call_id={call_id}") as side:
            await expect(side, "session.created")
            update = {"type": "session.update", "session": {"type": "realtime", "instructions": instructions}}
            await side.send(json.dumps(update))
            assert len((await expect(side, "session.updated"))["session"]["instructions"]) == len(instructions)
        assert (await caller.expect("error"))["error.code"] == "event_too_long"


async def test_wrong_offers_get_their_reason_over_http() -> None:
    async with answering() as server:
        status, _, body = await post(server, "/v1/realtime/calls", OFFER, RAW)
        assert (status, error(body)["code"], error(body)["param"]) == (400, "invalid_value", "sdp")
        assert "a=rtcp-mux" in error(body)["message"]
        assert not answerer(server).channels and answerer(server).mux.load == (0, 0, 0)


async def test_another_offer_continues_the_call() -> None:
    async with answering() as server, calling(server) as caller:
        offer = caller.connection.peer.localDescription.sdp
        place = caller.connection.call
        (call,) = answerer(server).channels
        before = call.peer.ice
        status, _, same = await post(server, place, offer, RAW)
        assert status == 200 and f"a=ice-ufrag:{before.ufrag}" in same
        renewed = re.sub("a=ice-ufrag:.*", "a=ice-ufrag:renewed", offer)
        status, _, restarted = await post(server, place, renewed, RAW)
        assert status == 200 and f"a=ice-ufrag:{call.peer.ice.ufrag}" in restarted and call.peer.ice != before
        assert [line.split()[2] for line in (same, restarted) for line in [line.split("\r\n")[1]]] == ["2", "3"]
        await caller.connection.send("response.create")  # the old path is used until there is a new one
        await caller.expect("output_audio_buffer.stopped")
        wrong = re.sub("a=fingerprint:sha-256 .....", "a=fingerprint:sha-256 00:00", offer)
        status, _, body = await post(server, place, wrong, RAW)
        assert status == 400 and "fingerprint has changed" in error(body)["message"]


async def test_sessions_of_sockets_take_no_offers() -> None:
    async with answering() as server, connect(server.url) as socket:
        session_id = (await expect(socket, "session.created"))["session"]["id"]
        status, _, body = await post(server, f"/v1/realtime/calls/{session_id}", CHROMIUM, RAW)
        assert (status, error(body)["param"]) == (400, "call_id")


async def test_a_false_alarm_pauses_without_losing_a_sample() -> None:
    session = {"type": "realtime", "audio": {"input": {"turn_detection": {"interruption": "pause"}}}}
    async with answering(reply("Long.", tokens=75)) as server, calling(server) as caller:
        await caller.connection.send("session.update", session=session)
        await caller.connection.send("response.create")
        await caller.expect("output_audio_buffer.started")
        await caller.hear(0.5)
        await caller.say(0.12)
        await caller.expect("output_audio_buffer.paused")
        await caller.expect("output_audio_buffer.resumed")
        await caller.expect("output_audio_buffer.stopped")
        assert 2.9 <= await caller.spoken_s() <= 3.3  # 3.0 s were made; the fades at the pause may count twice
        heard = np.concatenate(caller.connection.heard)
        loud = np.abs(heard[: len(heard) // 240 * 240].reshape(-1, 240)).max(axis=1) > 0.1
        gap = np.flatnonzero(loud)
        assert np.diff(gap).max() > 10  # it was silent in between, for more than 100 ms
        assert not [event for event in caller.events if event.type == "input_audio_buffer.speech_started"]
