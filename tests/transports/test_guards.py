"""Peers that mean harm before and beside the protocol: slow requests, silent connections, pings, fragments, floods.

The bounds are made small here; that they hold is tested, not how fast anything is (`realtime bench hostile` measures
that).
"""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime.transports.http import guards, pending, request_body
from realtime.transports.http import server as web
from realtime.transports.websocket import rate_limit as pace
from realtime.transports.websocket.rate_limit import RateLimiter
from tests.fakes import FakeClock, reply
from tests.transports.test_server import Server, ask, expect, say, serving

UPGRADE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


async def raw(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.http.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head + await reader.readexactly(int(length.split(b":")[1]))


async def talks(server: Server) -> None:
    """Another caller is served."""
    async with connect(server.url) as ws:
        await ask(ws, "hi")
        assert (await expect(ws, "response.done"))["response"]["status"] == "completed"


@pytest.mark.parametrize("sent", [b"", b"GET /v1/rea", HEAD + b"Upgrade: websocket\r\nConnection: Upgr"])
async def test_unfinished_requests_are_given_up(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "REQUEST_SECONDS", 0.1)
    async with serving() as server:
        reader, writer = await raw(server)
        writer.write(sent)
        assert await end_of(reader) == b""
        writer.close()
        await talks(server)


async def test_unfinished_second_requests_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "REQUEST_SECONDS", 0.2)
    async with serving() as server:
        reader, writer = await raw(server)
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await answer_of(reader)
        writer.write(HEAD)
        assert await end_of(reader) == b""
        writer.close()


async def test_requests_one_after_another_are_all_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "REQUEST_SECONDS", 0.5)
    async with serving() as server:
        reader, writer = await raw(server)
        writer.write((HEAD + b"\r\n") * 3)
        for _ in range(3):
            assert b"200 OK" in await answer_of(reader)
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await answer_of(reader)
        writer.close()


async def test_a_session_outlives_the_time_for_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "REQUEST_SECONDS", 0.1)
    async with serving() as server, connect(server.url) as ws:
        await expect(ws, "session.created")
        await asyncio.sleep(0.3)
        await say(ws, type="input_audio_buffer.clear")
        await expect(ws, "input_audio_buffer.cleared")
        assert not pending.PENDING.silent


async def test_a_body_that_dribbles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.1)
    async with serving() as server:
        reader, writer = await raw(server)
        writer.write(b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert b"408" in (await answer_of(reader)).split(b"\r\n")[0]
        writer.close()


async def test_pings_whose_pongs_nobody_reads_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "MAX_UNREAD_PONGS_BYTES", 4096)
    async with serving() as server:
        reader, writer = await raw(server)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(UPGRADE)
        ping = b"\x89\xfd" + bytes(4) + bytes(125)
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(20):
                while True:
                    writer.write(ping * 500)
                    await writer.drain()
        writer.close()
        await server.all_gone()
        await talks(server)


async def test_a_peer_that_answers_no_ping_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PING_SECONDS", 0.1)
    async with serving() as server:
        reader, writer = await raw(server)
        writer.write(UPGRADE)
        assert b"session.created" in await end_of(reader)
        writer.close()
        await server.all_gone()


async def test_a_message_of_endless_fragments_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "MAX_FRAGMENTS", 100)
    async with serving() as server:
        async with connect(server.url) as ws:
            with pytest.raises(ConnectionClosed) as closed:
                await ws.send("" for _ in range(1000))
                await expect(ws, "never")
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        await talks(server)


async def test_a_flood_is_read_slowly_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "EVENTS_AT_ONCE", 50.0)
    async with serving(reply("Hello.")) as server, connect(server.url) as ws:
        for number in range(150):
            await ws.send(json.dumps({"type": "nope", "event_id": f"c{number}"}))
        await talks(server)
        answered = [(await expect(ws, "error"))["error"]["event_id"] for _ in range(150)]
        assert answered == [f"c{number}" for number in range(150)]


async def test_message_bursts_are_not_read_in_one_go() -> None:
    paced, turns = RateLimiter(), []

    async def read(name: str) -> None:
        for _ in range(3):
            await paced.ready()
            turns.append(name)
            paced.took(10)

    await asyncio.gather(read("a"), read("b"))
    assert turns == ["a", "b"] * 3


def test_the_rate_limit_allows_bursts_then_a_rate() -> None:
    clock = FakeClock()
    paced = RateLimiter(clock)
    for _ in range(int(pace.EVENTS_AT_ONCE)):
        paced.took(10)
    assert paced.wait == 0
    for _ in range(100):
        paced.took(10)
    assert paced.wait == pytest.approx(100 / pace.EVENTS_PER_S)
    clock.now += 1
    assert paced.wait == 0


def test_large_messages_are_slowed_down_by_their_size() -> None:
    clock = FakeClock()
    paced = RateLimiter(clock)
    for _ in range(3):
        paced.took(20 * 2**20)
    assert paced.wait == pytest.approx(36 * 2**20 / pace.BYTES_PER_S)


def test_audio_in_small_pieces_never_waits() -> None:
    clock = FakeClock()
    paced = RateLimiter(clock)
    for _ in range(10_000):
        paced.took(640)
        clock.now += 0.01
        assert paced.wait == 0


def test_tools_and_instructions_count_as_what_they_cost() -> None:
    clock = FakeClock()
    paced = RateLimiter(clock)
    for _ in range(100):
        paced.took(64 * 1024)
    assert paced.wait == 0
    for _ in range(100):
        paced.took_settings(64 * 1024)
    assert paced.wait > 30


@pytest.mark.parametrize(
    ("message", "counted"),
    [
        ({"type": "session.update", "session": {"type": "realtime"}}, True),
        ({"type": "session.update", "session": {"type": 7}}, True),
        ({"type": "response.create", "response": {"instructions": "Be brief."}}, True),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, False),
        ({"type": "input_audio_buffer.clear"}, False),
    ],
)
async def test_settings_are_paced_whether_valid_or_not(
    monkeypatch: pytest.MonkeyPatch, message: dict[str, object], counted: bool
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(RateLimiter, "took_settings", lambda _, size: sizes.append(size))
    async with serving(reply("hi")) as server, connect(server.url) as ws:
        await ws.send(json.dumps(message))
        await ws.send(json.dumps({"type": "input_audio_buffer.clear"}))
        await expect(ws, "input_audio_buffer.cleared")
    assert sizes == ([len(json.dumps(message))] if counted else [])
