"""A client's session over WebRTC (extra `webrtc`): events by the data channel, speech by the audio track.

It is used like `realtime.client.connection.RealtimeConnection`. What the track plays between
`output_audio_buffer.started` and `.stopped` is given as `response.output_audio.delta` events at the time at which it
would be heard, so the same code measures both.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fractions
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from realtime.audio.streams import Resampler, float_to_pcm16, int16_to_float, pcm16_to_float
from realtime.client.connection import WIRE_RATE, ClientError, RealtimeConnection, Received, message_of
from realtime.client.http import fetch

TRACK_RATE = 48_000
FRAME_SAMPLES = TRACK_RATE // 50
CONNECT_S = 20.0
_AUDIBLE = 1e-3
_HANGOVER_FRAMES = 5
"""Silence within speech that is passed on: pauses between words are part of it."""


class Microphone(MediaStreamTrack):
    """Plays what is appended, 20 ms a frame, and silence where there is nothing."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._resampler = Resampler(WIRE_RATE, TRACK_RATE)
        self._rest = np.zeros(0, np.float32)
        self._frames = 0
        self._began: float | None = None

    def append(self, pcm: bytes) -> None:
        """PCM16 at `WIRE_RATE`."""
        self._rest = np.concatenate((self._rest, self._resampler.push(pcm16_to_float(pcm))), dtype=np.float32)

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        await asyncio.sleep(max(0.0, self._began + self._frames * 0.02 - loop.time()))
        samples, self._rest = self._rest[:FRAME_SAMPLES], self._rest[FRAME_SAMPLES:]
        samples = np.pad(samples, (0, FRAME_SAMPLES - len(samples)))
        frame = av.AudioFrame.from_ndarray(np.frombuffer(float_to_pcm16(samples), "<i2")[None, :], "s16", "mono")
        frame.sample_rate, frame.time_base = TRACK_RATE, fractions.Fraction(1, TRACK_RATE)
        frame.pts = self._frames * FRAME_SAMPLES
        self._frames += 1
        return frame


class WebRtcConnection(RealtimeConnection):
    """An open call. `receive` also gives the audio that was played, as `response.output_audio.delta`. ``call``: where
    the call is, for `hang_up` and side connections. ``heard``: all that the track has played, 20 ms each at 24 kHz."""

    server_plays = True

    def __init__(self, peer: RTCPeerConnection, channel: RTCDataChannel, microphone: Microphone) -> None:
        self.peer = peer
        self.call = ""
        self.heard: list[Any] = []
        self._channel = channel
        self._microphone = microphone
        self._received: asyncio.Queue[Received | None] = asyncio.Queue()
        self._playing: tuple[str, str] | None = None  # the response and its item
        self._items: dict[str, str] = {}
        self._silent = 0
        self._tasks: list[asyncio.Task[None]] = []
        channel.on("message", self._take)
        channel.on("close", lambda: self._received.put_nowait(None))
        peer.on("track", self._listen)

    async def send(self, type: str, **fields: object) -> None:
        if self._channel.readyState != "open":
            raise ClientError("the data channel is closed")
        self._channel.send(json.dumps({"type": type, **fields}))

    async def append(self, pcm: bytes) -> None:
        self._microphone.append(pcm)

    async def truncate(self, item_id: str, played_ms: int) -> None:
        """Nothing: the server plays the speech and knows how much was heard."""

    async def receive(self) -> Received:
        event = await self._received.get()
        if event is None:
            raise ClientError("the server ended the call")
        return self._checked(event)

    def _take(self, message: str) -> None:
        body = json.loads(message)
        event = Received(body["type"], body, time.perf_counter())
        match event.type:
            case "response.output_item.added":
                self._items[event["response_id"]] = event["item.id"]
            case "output_audio_buffer.started":
                self._playing = event["response_id"], self._items.get(event["response_id"], "")
            case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
                self._playing = None
        self._received.put_nowait(event)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.ensure_future(self._hear(track)))

    async def _hear(self, track: MediaStreamTrack) -> None:
        resampler = Resampler(TRACK_RATE, WIRE_RATE)
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                pcm = frame.to_ndarray()[0, :: len(frame.layout.channels)].astype(np.int16)
                samples = resampler.push(int16_to_float(pcm))
                self.heard.append(samples)
                self._pass_on(samples)

    def _pass_on(self, samples: Any) -> None:
        self._silent = 0 if len(samples) and np.abs(samples).max() > _AUDIBLE else self._silent + 1
        if self._playing is not None and self._silent <= _HANGOVER_FRAMES:
            response_id, item_id = self._playing
            delta = base64.b64encode(float_to_pcm16(samples)).decode()
            body = {
                "type": "response.output_audio.delta",
                "response_id": response_id,
                "item_id": item_id,
                "delta": delta,
            }
            self._received.put_nowait(Received(body["type"], body, time.perf_counter()))

    async def close(self) -> None:
        """Hang up."""
        await self.peer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def open_call(
    url: str, *, api_key: str | None = None, any_certificate: bool = False
) -> AsyncIterator[WebRtcConnection]:
    """Call ``http(s)://HOST/v1/realtime/calls`` (or the WebSocket's URL) and wait for the session. Raises
    `ClientError`."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    microphone = Microphone()
    peer.addTrack(microphone)
    connection = WebRtcConnection(peer, peer.createDataChannel("oai-events"), microphone)
    try:
        await peer.setLocalDescription(await peer.createOffer())
        answer, connection.call = await asyncio.to_thread(
            _post_offer, calls_url(url), peer.localDescription.sdp, api_key, any_certificate
        )
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        try:
            async with asyncio.timeout(CONNECT_S):
                first = await connection.receive()
        except TimeoutError:
            raise ClientError(
                f"no connection within {CONNECT_S:g} s: does UDP reach the server's candidates?"
            ) from None
        if first.type != "session.created":
            raise ClientError(f"{url} sent {first.type} first, expected session.created: is it a realtime server?")
        yield connection
    finally:
        await connection.close()


def calls_url(url: str) -> str:
    """Where offers go, for the URL of a WebSocket or of the calls themselves."""
    place, _, query = url.partition("?")
    place = "http" + place.removeprefix("http").removeprefix("ws")
    place = place.rstrip("/").removesuffix("/calls") + "/calls"
    return f"{place}?{query}" if query else place


def _post_offer(url: str, sdp: str, api_key: str | None, any_certificate: bool) -> tuple[str, str]:
    """The answer's SDP, and where the call is."""
    answer = fetch(
        url,
        sdp.encode(),
        "application/sdp",
        api_key=api_key,
        any_certificate=any_certificate,
        timeout_s=CONNECT_S,
    )
    if answer.status >= 400:
        raise ClientError(f"{url} answered HTTP {answer.status}: {message_of(answer.body)}")
    return answer.body.decode(), answer.location
