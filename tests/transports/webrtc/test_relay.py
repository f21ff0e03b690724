"""A call through coturn: the client reaches nothing but the relay."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import mock

import pytest

pytest.importorskip("aiortc")

from realtime.addresses import TurnServer
from realtime.client import webrtc as client_module
from tests.fakes import reply
from tests.serving import free_port
from tests.transports.webrtc.calls import answerer, answering, calling, nothing_left

TURNSERVER = shutil.which("turnserver")


@asynccontextmanager
async def coturn() -> AsyncIterator[TurnServer]:
    port = free_port()
    assert TURNSERVER is not None
    flags = "-n --lt-cred-mech --no-tls --no-dtls --no-cli --allow-loopback-peers -u us:er -r realm".split()
    at = ["-L", "127.0.0.1", "-E", "127.0.0.1", "-p", str(port), "--pidfile", "/dev/null", "--log-file", "stdout"]
    output = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(TURNSERVER, *flags, *at, stdout=output, stderr=output)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 0.2).close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield TurnServer("127.0.0.1", port, username="us", password="er")
    finally:
        process.terminate()
        await process.wait()


def only_relayed(url: str, sdp: str, *more: object) -> tuple[str, str]:
    answer, place = post_offer(url, sdp, *more)  # type: ignore[arg-type]
    assert " typ relay" in answer
    return re.sub(r"a=candidate:.* typ host.*\r\n", "", answer), place


post_offer = client_module._post_offer


@pytest.mark.skipif(TURNSERVER is None, reason="coturn is not installed")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_calls_go_through_a_turn_server(transport: str) -> None:
    async with coturn() as turn:
        through = TurnServer(turn.host, turn.port, transport, username="us", password="er")  # type: ignore[arg-type]
        async with answering(reply("Hello.", tokens=20), turn=through) as server:
            with mock.patch.object(client_module, "_post_offer", only_relayed):
                async with calling(server) as caller:
                    await caller.connection.send("response.create")
                    await caller.expect("output_audio_buffer.stopped")
                    assert await caller.spoken_s() > 0.7
            await nothing_left(server)
            await asyncio.gather(*answerer(server)._closing)
            assert not answerer(server)._relays


async def test_calls_are_answered_without_their_turn_server() -> None:
    nobody = TurnServer("127.0.0.1", free_port(), "tcp")
    async with answering(turn=nobody) as server, calling(server):
        assert not answerer(server)._relays
