"""Answers WebRTC offers: `realtime.transports.webrtc.offers.OfferAnswerer`."""

from __future__ import annotations

import asyncio
import logging

from realtime.addresses import TurnServer
from realtime.ports.channel import Channel
from realtime.protocol.dialect import Connection
from realtime.transports.webrtc.channel import WebRtcChannel
from realtime.transports.webrtc.offers import Answered
from realtime.transports.webrtc.relay import Relay, open_relay
from realtime.transports.webrtc.sdp import Answerer, Offer, read_offer, write_answer
from realtime.transports.webrtc.udp import UdpConfig, UdpMux
from realtime.transports.websocket.channel import ChannelMetrics

logger = logging.getLogger(__name__)


class WebRtcAnswerer:
    """All calls of this server. `open` it before the first, `close` it after the last."""

    def __init__(
        self, config: UdpConfig, metrics: ChannelMetrics | None = None, turn: TurnServer | None = None
    ) -> None:
        """``turn``: where each call gets an address more; None: nowhere."""
        self._config = config
        self._metrics = metrics
        self._turn = turn
        self._relays: dict[WebRtcChannel, Relay] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._mux = UdpMux(config)
        self._channels: set[WebRtcChannel] = set()

    @property
    def mux(self) -> UdpMux:
        """The sockets of all calls."""
        return self._mux

    @property
    def channels(self) -> frozenset[WebRtcChannel]:
        """The calls that hold anything."""
        return frozenset(self._channels)

    async def open(self) -> None:
        """Open the UDP sockets. Raises `ConfigError`."""
        await self._mux.open()
        places = ", ".join(f"{one.address}:{one.port} ({one.kind})" for one in self._mux.candidates)
        logger.info("WebRTC by UDP: %s", places)

    async def close(self) -> None:
        """End all calls and close the sockets."""
        await asyncio.gather(*(channel.close() for channel in self._channels))
        await asyncio.gather(*self._closing)
        await self._mux.close()

    async def answer(self, offer: str, connection: Connection) -> Answered:
        asked = read_offer(offer)
        relay = None if self._turn is None else await open_relay(self._turn, self._mux, asked.addresses)
        channel = WebRtcChannel(asked, self._mux, connection, self._metrics)
        self._channels.add(channel)
        if relay is not None:
            self._relays[channel] = relay
        channel.start(self._over)
        return Answered(self._write(asked, channel), channel)

    def _over(self, channel: WebRtcChannel) -> None:
        self._channels.discard(channel)
        if (relay := self._relays.pop(channel, None)) is not None:
            task = asyncio.create_task(relay.close(), name="close a TURN address")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def renegotiate(self, channel: Channel, offer: str) -> str:
        asked = read_offer(offer)
        assert isinstance(channel, WebRtcChannel)
        channel.renegotiate(asked)
        return self._write(asked, channel)

    def _write(self, offer: Offer, channel: WebRtcChannel) -> str:
        relay = self._relays.get(channel)
        server = Answerer(
            ice=channel.peer.ice,
            fingerprint=channel.peer.fingerprint,
            candidates=(*self._mux.candidates, *([relay.candidate] if relay is not None else [])),
            session=channel.description_id,
            version=channel.descriptions,
            ssrc=channel.rtp.ssrc,
        )
        return write_answer(offer, server)
