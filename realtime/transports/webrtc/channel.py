"""A call over WebRTC as a session's `PlaybackChannel`.

Events go over the data channel, speech over the audio track: 20 ms of Opus a packet, on an absolute clock. The server
plays the speech itself, so it clears, pauses and resumes without any help of the client. What was heard follows from
the times at which packets left.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Literal

import numpy as np

from realtime.audio.opus import RTP_RATE, OpusEncoder
from realtime.audio.streams import Samples
from realtime.errors import ChannelClosed, PeerError
from realtime.ports.channel import Inbound
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.protocol import events as wire
from realtime.protocol.dialect import Connection
from realtime.protocol.errors import ProtocolError
from realtime.transports.inbox import Inbox
from realtime.transports.playout import FRAME_SAMPLES, RATE, FrameClock, Playout
from realtime.transports.speech_feed import SpeechFeed
from realtime.transports.webrtc.caller_audio import CallerAudio
from realtime.transports.webrtc.peer import Peer
from realtime.transports.webrtc.rtp import REPORT_S, RtpSession
from realtime.transports.webrtc.sdp import DEFAULT_MAX_MESSAGE, Offer
from realtime.transports.webrtc.udp import UdpMux
from realtime.transports.websocket.channel import ChannelMetrics
from realtime.transports.websocket.rate_limit import RateLimiter

logger = logging.getLogger(__name__)

LISTENER_S = 0.06
"""From a packet's departure to the listener's ear on a fast network: its 20 ms, and the 33 to 60 ms that browsers hold
in their jitter buffers."""
TAIL_FRAMES = 5
"""Frames of silence that are coded behind speech, for the decoder to fade; then one packet of silence is sent again and
again."""
LEAST_LOSS = 5
"""Percent of packets that FEC reckons with: single losses come before a report of them."""
MAX_MESSAGES = 1000
MAX_MESSAGE_BYTES = 2**20
"""Events of the client that wait to be read."""
MAX_UNHEARD_S = 60.0
"""Audio that the session has not taken; it takes it at once unless the server hangs."""


class WebRtcChannel:
    """`realtime.ports.channel.PlaybackChannel` over a peer. `start` it; `close` frees everything. ``description_id``,
    ``descriptions``: name the answers, the newest of which is that many."""

    plays_audio: Literal[True] = True

    def __init__(
        self, offer: Offer, mux: UdpMux, connection: Connection, metrics: ChannelMetrics | None = None
    ) -> None:
        """``connection``: encodes and decodes the events. ``metrics``: where to count; None: nowhere."""
        self._loop = asyncio.get_running_loop()
        self.rtp = RtpSession(offer.opus.payload_type)
        self.peer = Peer(offer, mux, self._take_rtp, self.rtp.read_report, self._take_message)
        self.description_id = secrets.randbits(62)
        self.descriptions = 1
        self._offer = offer
        self._connection = connection
        self._metrics = metrics
        self._pace = RateLimiter()
        self._audio = CallerAudio(self._hear)
        self._speech = _Speech()
        self._playout = Playout()
        self._feed = SpeechFeed(self._playout)
        self._inbox: Inbox[Inbound | ProtocolError] = Inbox()
        self._messages: deque[str | bytes] = deque()
        self._message_bytes = 0
        self._message_arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None
        self._skipped = 0

    def start(self, on_over: Callable[[WebRtcChannel], object]) -> None:
        """Begin to connect. ``on_over``: called when the connection holds nothing any more."""
        work = {"peer": self.peer.run(), "frames": self._drive(), "events": self._read_messages()}
        self._tasks = [asyncio.create_task(one, name=f"webrtc {name}") for name, one in work.items()]
        self._tasks[0].add_done_callback(lambda _: self._connection_over(on_over))

    def _connection_over(self, on_over: Callable[[WebRtcChannel], object]) -> None:
        for task in self._tasks[1:]:
            task.cancel()
        self._audio.stop()
        self._inbox.wake()
        counters = self._audio.counters
        logger.info(
            "media ended: %s: received=%d lost=%d late=%d concealed_ms=%d silence_ms=%d sent=%d skipped=%d rtt_ms=%s",
            self.peer.reason,
            counters.received,
            counters.lost,
            counters.late,
            counters.concealed * 1000 // RTP_RATE,
            counters.silence * 1000 // RTP_RATE,
            self.rtp.sent,
            self._skipped,
            None if self.rtp.round_trip is None else round(self.rtp.round_trip * 1000, 1),
        )
        on_over(self)

    def renegotiate(self, offer: Offer) -> None:
        """The client sends another offer: it restarts ICE, or changes the direction of its audio. Raises `PeerError`
        for one that does not continue this call."""
        if self.peer.is_over:
            raise PeerError("invalid_value", "The call is over.", param="call_id")
        for what, before, after in (
            ("the certificate's fingerprint", self._offer.fingerprints, offer.fingerprints),
            ("the number or order of the media sections", self._offer.layout, offer.layout),
            ("the payload type of Opus", self._offer.opus.payload_type, offer.opus.payload_type),
        ):
            if before != after:
                message = f"The offer does not continue this call: {what} has changed. Open another call."
                raise PeerError("invalid_value", message, param="sdp")
        if offer.ice != self._offer.ice:
            self.peer.restart(offer.ice)
        self._offer = offer
        self.descriptions += 1

    # Channel

    async def receive(self) -> Inbound:
        item = await self._inbox.take(self._check)
        if isinstance(item, ProtocolError):
            raise item
        return item

    def _check(self) -> None:
        if self.peer.is_over:
            raise ChannelClosed(f"the call is over: {self.peer.reason}")

    async def send(self, event: wire.ServerEvent) -> None:
        self._check()
        if self._feed.take(event):
            return
        self._count(event)
        if self._offer.data is not None:
            await self._send_event(event)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="webrtc close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self.peer.drain()
        if self._offer.sends and self.peer.connected.is_set():
            await self.peer.send_rtp(self.rtp.goodbye())
        self.peer.end("the session ended")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send_event(self, event: wire.ServerEvent) -> None:
        try:
            for message in self._connection.encode(event):
                assert isinstance(message, str)
                if not await self.peer.send_event(message):
                    await self._say_too_long(event, message)
        except ConnectionError as error:
            raise ChannelClosed(f"the call is over: {error}") from None

    async def _say_too_long(self, event: wire.ServerEvent, message: str) -> None:
        logger.warning("an event %s of %d characters is too long for the data channel", event.type, len(message))
        details = wire.ErrorDetails(
            type="server_error",
            code="event_too_long",
            message=f"The event {event.type!r} has {len(message)} characters, more than this data channel takes. "
            "Read it over a second connection (?call_id=).",
        )
        for short in self._connection.encode(wire.Error(error=details)):
            await self.peer.send_event(str(short))

    def _count(self, event: wire.ServerEvent) -> None:
        if self._metrics is not None and isinstance(event, wire.ResponseDone):
            self._metrics.response_done(event.response.status)
        elif self._metrics is not None and isinstance(event, wire.Error):
            self._metrics.message_rejected(event.error.code or "")

    # The client's events

    def _take_message(self, message: str | bytes) -> None:
        self._messages.append(message)
        self._message_bytes += len(message) + 64  # a flood of empty messages is a flood, too
        if len(self._messages) > MAX_MESSAGES or self._message_bytes > MAX_MESSAGE_BYTES:
            self.peer.end("it sent events faster than they are read")
        self._message_arrived.set()

    async def _read_messages(self) -> None:
        while True:
            while not self._messages:
                self._message_arrived.clear()
                await self._message_arrived.wait()
            if await self._pace.ready() and self._metrics is not None:
                self._metrics.message_paced()
            message = self._messages.popleft()
            self._message_bytes -= len(message) + 64
            self._pace.took(len(message))
            try:
                self._inbox.put(self._decoded(message))
            except ProtocolError as error:
                self._pace.took_settings(len(message))
                self._inbox.put(error.with_traceback(None))  # the session clears its frames, and this one still runs

    def _decoded(self, message: str | bytes) -> wire.ClientEvent:
        if len(message) > DEFAULT_MAX_MESSAGE:
            raise ProtocolError(
                "invalid_value",
                f"The message has {len(message)} characters; a data channel takes {DEFAULT_MAX_MESSAGE}. "
                "Send long events over a second connection (?call_id=).",
            )
        event = self._connection.decode(message)
        if isinstance(event, wire.InputAudioBufferAppend):
            raise ProtocolError(
                "invalid_value",
                "Over WebRTC the caller's audio comes by the audio track, not by input_audio_buffer.append.",
                param="type",
                event_id=event.event_id,
            )
        if isinstance(event, wire.SessionUpdate | wire.ResponseCreate):
            self._pace.took_settings(len(message))
        return event

    # The caller's audio

    def _take_rtp(self, data: bytes) -> None:
        if (packet := self.rtp.read(data)) is not None and not self.peer.is_over:
            self._audio.push(packet)

    def _hear(self, samples: Samples) -> None:
        self._inbox.hear(samples)
        if self._inbox.unheard > MAX_UNHEARD_S * MODEL_SAMPLE_RATE:
            self.peer.end("the session did not take its audio")

    # The server's speech

    async def _drive(self) -> None:
        """Send a frame every 20 ms, and look at all that goes by the clock."""
        await self.peer.connected.wait()
        clock = FrameClock(self._loop.time())
        report_at = clock.due
        while True:
            await asyncio.sleep(max(0.0, clock.due - self._loop.time()))
            now = self._loop.time()
            await self._send_frame(self._playout.next_frame(now))
            skipped = clock.sent(now)
            self.rtp.skip(skipped)
            self._skipped += skipped
            for report in self._playout.reports(now, self._listener_delay):
                self._inbox.put(report)
            if now >= report_at:
                report_at = now + REPORT_S
                await self.peer.send_rtp(self.rtp.report())
                self._speech.expect_loss(self.rtp.loss_percent)

    async def _send_frame(self, frame: Samples | None) -> None:
        payload = self._speech.encode(frame)
        if self._offer.sends:
            await self.peer.send_rtp(self.rtp.packet(payload, speech=frame is not None))

    @property
    def _listener_delay(self) -> float:
        round_trip = self.rtp.round_trip
        return LISTENER_S if round_trip is None else LISTENER_S + round_trip / 2


class _Speech:
    """Frames -> Opus. Silence costs nothing."""

    def __init__(self) -> None:
        self._encoder = OpusEncoder(RATE, loss_percent=LEAST_LOSS)
        for _ in range(TAIL_FRAMES):
            self._silence = self._encoder.encode(np.zeros(FRAME_SAMPLES, np.float32))
        self._silent_frames = TAIL_FRAMES

    def encode(self, frame: Samples | None) -> bytes:
        """20 ms at 24 kHz, or silence -> a payload."""
        if frame is not None:
            self._silent_frames = 0
            return self._encoder.encode(frame)
        if self._silent_frames >= TAIL_FRAMES:
            return self._silence
        self._silent_frames += 1
        return self._encoder.encode(np.zeros(FRAME_SAMPLES, np.float32))

    def expect_loss(self, percent: int) -> None:
        """What the client reports to have lost: the more, the more is sent twice (in-band FEC)."""
        self._encoder.set_loss(max(LEAST_LOSS, percent))
