"""Clients that vanish, never come, attack, or come two hundred times: what a call held is free again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading

import pytest

pytest.importorskip("aiortc")

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcsctptransport import DataChunk

from realtime.client.webrtc import WebRtcConnection
from realtime.transports.webrtc import channel as channel_module
from realtime.transports.webrtc import ice as ice_module
from realtime.transports.webrtc import peer as peer_module
from tests.fakes import reply
from tests.transports.test_calls import RAW, post
from tests.transports.test_server import Server
from tests.transports.webrtc.calls import Caller, answerer, answering, calling, hang_up, nothing_left
from tests.transports.webrtc.offers import CHROMIUM


def cut_off(connection: WebRtcConnection) -> None:
    """The client's network is gone: no packet leaves it, not even a goodbye."""
    transport = connection.peer.getSenders()[0].transport.transport
    for protocol in transport._connection._protocols:
        protocol.transport.sendto = lambda data, address: None


async def test_a_client_that_vanished_is_gone_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ice_module.GONE_S + peer_module.TICK_S < 10
    monkeypatch.setattr(ice_module, "GONE_S", 2.0)
    monkeypatch.setattr(ice_module, "CONSENT_S", 0.3)
    async with answering() as server, calling(server) as caller:
        await caller.say(0.2)
        cut_off(caller.connection)
        await nothing_left(server)


async def test_consent_keeps_a_quiet_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_module, "GONE_S", 1.5)
    monkeypatch.setattr(ice_module, "CONSENT_S", 0.2)
    async with answering() as server, calling(server) as caller:
        caller.connection.peer.getSenders()[0].replaceTrack(None)
        await asyncio.sleep(3)
        assert len(answerer(server).channels) == 1
        await caller.connection.send("response.create")
        await caller.expect("output_audio_buffer.stopped")


async def test_answered_offers_that_never_connect_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "CONNECT_S", 0.5)
    async with answering() as server:
        assert (await post(server, "/v1/realtime/calls", CHROMIUM, RAW))[0] == 201
        assert answerer(server).channels
        await nothing_left(server)


async def test_a_wrong_certificate_gets_no_call() -> None:
    async with answering() as server:
        stranger = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        stranger.addTransceiver("audio")
        stranger.createDataChannel("oai-events")
        await stranger.setLocalDescription(await stranger.createOffer())
        sdp = stranger.localDescription.sdp
        first = sdp.index("a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
        forged = sdp.replace(sdp[first : first + 5], "00:00")
        status, _, answer = await post(server, "/v1/realtime/calls", forged, RAW)
        assert status == 201
        (call,) = answerer(server).channels
        await stranger.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await nothing_left(server)
        assert call.peer.reason == "the DTLS handshake failed"
        await stranger.close()


async def test_server_shutdown_frees_running_calls() -> None:
    async with answering() as server:
        async with calling(server):
            await answerer(server).close()
            await nothing_left(server)
        assert not answerer(server).mux._sockets


async def test_a_flood_of_events_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MAX_MESSAGES", 50)
    async with answering() as server, calling(server) as caller:
        (call,) = answerer(server).channels
        for _ in range(200):
            call._take_message("{}")  # as they come, many in one turn of the loop
        await nothing_left(server)
        assert "faster than they are read" in call.peer.reason
        assert caller.connection.call


@pytest.mark.parametrize("attack", ["opens", "fragments", "garbage"])
async def test_hostile_data_channels_end_the_call(attack: str, caplog: pytest.LogCaptureFixture) -> None:
    async with answering() as server, calling(server) as caller:
        (call,) = answerer(server).channels
        sctp = caller.connection._channel.transport
        with caplog.at_level(logging.ERROR):
            match attack:
                case "opens":
                    for number in range(peer_module.MAX_CHANNELS + 2):
                        caller.connection.peer.createDataChannel(f"more {number}")
                case "fragments":
                    with contextlib.suppress(ConnectionError):  # the call ended meanwhile
                        await send_fragments(sctp, 1500)
                case "garbage":
                    await sctp._send(40, 50, b"\2")  # the acknowledgement of a channel that was never opened
            await nothing_left(server)
        assert call.peer.reason and "vanished" not in call.peer.reason
        ours = [record for record in caplog.records if record.name.startswith(("realtime", "asyncio"))]
        assert not [record for record in ours if record.levelno >= logging.ERROR]


async def send_fragments(sctp: object, count: int) -> None:
    """Messages that begin and never end."""
    for number in range(count):
        chunk = DataChunk(flags=2)
        chunk.tsn = (sctp._local_tsn + number) % 2**32  # type: ignore[attr-defined]
        chunk.stream_id, chunk.stream_seq, chunk.protocol, chunk.user_data = number % 500, 0, 51, b"x"
        await sctp._send_chunk(chunk)  # type: ignore[attr-defined]
        if number % 50 == 0:
            await asyncio.sleep(0.02)


async def one_call(server: Server, number: int) -> None:
    """Every third hangs up by HTTP, every third by closing, every third just stops sending."""
    async with calling(server) as caller:
        match number % 3:
            case 0:
                await hang_up(server, caller)
            case 1:
                await talk(caller)
            case 2:
                cut_off(caller.connection)
        await asyncio.sleep(0)
    await nothing_left(server)


async def talk(caller: Caller) -> None:
    await caller.connection.send("response.create")
    await caller.expect("output_audio_buffer.started")


def held() -> tuple[int, int, int]:
    """Tasks, threads (those of the loop's executor come as they are needed) and open files."""
    gc.collect()
    threads = [one for one in threading.enumerate() if not one.name.startswith("asyncio_")]
    return len(asyncio.all_tasks()), len(threads), len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
async def test_many_calls_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_module, "GONE_S", 1.0)
    monkeypatch.setattr(ice_module, "CONSENT_S", 0.2)
    scripts = [reply("Hello.", tokens=10) for _ in range(20)]
    async with answering(*scripts) as server:
        for number in range(3):
            await one_call(server, number)  # caches fill
        await asyncio.sleep(0.2)
        before = held()
        for number in range(12):
            await one_call(server, number)
        async with asyncio.timeout(10):  # timers of the last calls still run
            while sum(type(one) is channel_module.WebRtcChannel for one in gc.get_objects()):
                await asyncio.sleep(0.2)
                gc.collect()
        after = held()
        assert after[0] <= before[0] and after[1] <= before[1] and after[2] <= before[2]
