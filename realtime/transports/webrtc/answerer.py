"""Answers WebRTC offers: `realtime.transports.webrtc.offers.OfferAnswerer`."""

from __future__ import annotations

import asyncio
import logging

from realtime.ports.channel import Channel
from realtime.protocol.dialect import Connection
from realtime.transports.webrtc.channel import WebRtcChannel
from realtime.transports.webrtc.offers import Answered
from realtime.transports.webrtc.sdp import Answerer, Offer, read_offer, write_answer
from realtime.transports.webrtc.udp import UdpConfig, UdpMux
from realtime.transports.websocket.channel import ChannelMetrics

logger = logging.getLogger(__name__)


class WebRtcAnswerer:
    """All calls of this server. `open` it before the first, `close` it after the last."""

    def __init__(self, config: UdpConfig, metrics: ChannelMetrics | None = None) -> None:
        self._config = config
        self._metrics = metrics
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
        await self._mux.close()

    async def answer(self, offer: str, connection: Connection) -> Answered:
        asked = read_offer(offer)
        channel = WebRtcChannel(asked, self._mux, connection, self._metrics)
        self._channels.add(channel)
        channel.start(self._channels.discard)
        return Answered(self._write(asked, channel), channel)

    def renegotiate(self, channel: Channel, offer: str) -> str:
        asked = read_offer(offer)
        assert isinstance(channel, WebRtcChannel)
        channel.renegotiate(asked)
        return self._write(asked, channel)

    def _write(self, offer: Offer, channel: WebRtcChannel) -> str:
        server = Answerer(
            ice=channel.peer.ice,
            fingerprint=channel.peer.fingerprint,
            candidates=self._mux.candidates,
            session=channel.description_id,
            version=channel.descriptions,
            ssrc=channel.rtp.ssrc,
        )
        return write_answer(offer, server)
