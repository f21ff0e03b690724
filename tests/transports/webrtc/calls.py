"""Calls over WebRTC on loopback: aiortc's client against the real transport, with a scripted model behind it."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

import numpy as np

from realtime.addresses import TurnServer
from realtime.audio.streams import float_to_pcm16
from realtime.client.connection import WIRE_RATE, Received
from realtime.client.webrtc import WebRtcConnection, open_call
from realtime.ports.vocoder import AudioChunk
from realtime.transports.webrtc.answerer import WebRtcAnswerer
from realtime.transports.webrtc.udp import UdpConfig
from tests.fakes import SAMPLES_PER_TOKEN, FakeVocoderStream, Step
from tests.transports.test_server import Server, serving

LOOPBACK = UdpConfig(addresses=("127.0.0.1",))
TONE_HZ = 440.0


@contextmanager
def only_loopback() -> Iterator[None]:
    """aiortc's client offers all addresses but loopback; a test machine may have no other."""
    with mock.patch("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"]):
        yield


def _push_tone(self: FakeVocoderStream, tokens: Sequence[int]) -> None:
    """A tone, because Opus has no constants."""
    start = round(self.made_seconds * 24_000)
    self.made_seconds += len(tokens) * SAMPLES_PER_TOKEN / 24_000
    times = np.arange(start, start + len(tokens) * SAMPLES_PER_TOKEN) / 24_000
    self._chunks.put_nowait(AudioChunk((0.3 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.float32), 0.001))


@asynccontextmanager
async def answering(
    *scripts: Sequence[Step], config: UdpConfig = LOOPBACK, turn: TurnServer | None = None, **options: Any
) -> AsyncIterator[Server]:
    """A server that answers offers; `answerer` gives what it holds."""
    with only_loopback(), mock.patch.object(FakeVocoderStream, "push", _push_tone):
        async with serving(*scripts, **options) as server:
            answerer = WebRtcAnswerer(config, server.host.metrics, turn)
            await answerer.open()
            server.host.offers = answerer
            try:
                yield server
            finally:
                await answerer.close()


def answerer(server: Server) -> WebRtcAnswerer:
    assert isinstance(server.host.offers, WebRtcAnswerer)
    return server.host.offers


class Caller:
    """A client in a call. ``events``: all that came, without audio."""

    def __init__(self, connection: WebRtcConnection) -> None:
        self.connection = connection
        self.events: list[Received] = []
        self.audio = b""

    async def expect(self, kind: str) -> Received:
        """The next event of this type, errors included."""
        async with asyncio.timeout(20):
            while True:
                event = await self.connection._received.get()
                assert event is not None, f"the call ended before {kind}"
                if event.type == "response.output_audio.delta":
                    self.audio += event.audio()
                else:
                    self.events.append(event)
                if event.type == kind:
                    return event

    async def say(self, seconds: float, silence: float = 0.7) -> None:
        """A loud tone and silence behind it, in real time."""
        times = np.arange(int(seconds * WIRE_RATE)) / WIRE_RATE
        sound = 0.3 * np.sin(2 * np.pi * 300 * times)
        await self.connection.append(float_to_pcm16(sound.astype(np.float32)) + bytes(int(silence * WIRE_RATE) * 2))

    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def loudness(self, seconds: float) -> float:
        """Of the last so many seconds that the track played."""
        heard = np.concatenate(self.connection.heard[-int(seconds * 50) :])
        return float(np.sqrt(np.mean(heard**2)))

    async def spoken_s(self) -> float:
        """For how long the track was loud, until half a second from now: the client's jitter buffer holds 80 ms."""
        await asyncio.sleep(0.5)
        return sum(bool(np.abs(frame).max(initial=0) > 0.1) for frame in self.connection.heard) / 50

    async def hear(self, seconds: float) -> float:
        """Listen for so long; the loudness of that time."""
        await asyncio.sleep(seconds)
        return self.loudness(seconds)


@asynccontextmanager
async def calling(server: Server, **options: Any) -> AsyncIterator[Caller]:
    async with open_call(f"{server.http}/v1/realtime", **options) as connection:
        yield Caller(connection)


async def hang_up(server: Server, caller: Caller) -> None:
    def post() -> None:
        request = urllib.request.Request(server.http + caller.connection.call + "/hangup", b"", method="POST")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    await asyncio.to_thread(post)


async def nothing_left(server: Server) -> None:
    """Returns once no call holds anything."""
    async with asyncio.timeout(10):
        while answerer(server).channels or server.host.sessions.sessions:
            await asyncio.sleep(0.02)
    assert answerer(server).mux.load == (0, 0, 0)
