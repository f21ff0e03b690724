"""A phone call as a session's `PlaybackChannel`: there is no client behind it, so events go nowhere but speech."""

from __future__ import annotations

from typing import Literal

from realtime.ports.channel import Inbound
from realtime.protocol import events as wire
from realtime.transports.phone.link import CallLink
from realtime.transports.speech_feed import SpeechFeed
from realtime.transports.websocket.channel import ChannelMetrics


class PhoneChannel:
    """`realtime.ports.channel.PlaybackChannel` over a line."""

    plays_audio: Literal[True] = True

    def __init__(self, link: CallLink, *, greets: bool = False, metrics: ChannelMetrics | None = None) -> None:
        """``greets``: ask for a response at once, so that the caller hears somebody. ``metrics``: where to count;
        None: nowhere."""
        self._link = link
        self._feed = SpeechFeed(link)
        self._greets = greets
        self._metrics = metrics

    async def receive(self) -> Inbound:
        if self._greets:
            self._greets = False
            return wire.ResponseCreate()
        return await self._link.receive()

    async def send(self, event: wire.ServerEvent) -> None:
        self._link.check()
        self._feed.take(event)
        if self._metrics is not None and isinstance(event, wire.ResponseDone):
            self._metrics.response_done(event.response.status)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._link.close(code, reason)
