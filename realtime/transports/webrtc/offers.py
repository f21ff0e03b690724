"""The interface between the HTTP routes of calls and an implementation of WebRTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from realtime.ports.channel import Channel
from realtime.protocol.dialect import Connection


@dataclass(frozen=True, slots=True)
class Answered:
    """An answered offer. ``sdp``: the answer with all candidates. ``channel``: the call; it waits for its data channel
    itself."""

    sdp: str
    channel: Channel


class OfferAnswerer(Protocol):
    """An implementation of WebRTC."""

    async def answer(self, offer: str, connection: Connection) -> Answered:
        """``offer``: the peer's SDP, not checked. ``connection``: encodes and decodes the events of the data channel.
        Raises `PeerError` (``invalid_value``, param ``sdp``) for an offer that cannot be answered. The caller closes
        the channel.
        """

    def renegotiate(self, channel: Channel, offer: str) -> str:
        """Answer another offer of a call that runs: its client restarts ICE or changes the direction of its audio.
        Raises `PeerError` for an offer that does not continue the call."""
