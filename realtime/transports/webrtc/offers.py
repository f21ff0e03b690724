"""The seam between the HTTP routes of calls and what speaks WebRTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from realtime.ports.channel import Channel
from realtime.protocol.dialect import Connection


@dataclass(frozen=True, slots=True)
class Answered:
    """``sdp``: the answer, all candidates inside. ``channel``: the call; it waits for its data channel by itself."""

    sdp: str
    channel: Channel


class OfferAnswerer(Protocol):
    """What speaks WebRTC."""

    async def answer(self, offer: str, connection: Connection) -> Answered:
        """``offer``: SDP that the peer has sent, not looked at so far. ``connection``: encodes and decodes the events
        on its data channel. Raises `PeerError` (``invalid_value``, param ``sdp``) for an offer that cannot be answered.
        The channel is closed by who gets it."""
