"""The seam between a phone call and the line that carries it.

A line is *buffered* or *paced*. A buffered line (a carrier's media stream) takes speech ahead of time and clocks it
itself: it is told to clear, and tells the played position by marks. A paced line (RTP, AudioSocket) is clocked here: a
frame every 20 ms out of a queue. A `CallLink` hides which; `PhoneChannel` makes of it what a session talks to.
"""

from __future__ import annotations

from typing import Protocol

from realtime.ports.channel import Report
from realtime.transports.speech_feed import Playback


class CallLink(Playback, Protocol):
    """One call's line."""

    async def receive(self) -> Report:
        """The caller's audio in order and without gaps, keys, and what was heard of the speech. Raises `ChannelClosed`
        when the call is over, from then on always."""

    def check(self) -> None:
        """Raises `ChannelClosed` when the call is over."""

    async def close(self, code: int, reason: str) -> None:
        """End the call. Never raises, may be called twice, bounded in time."""
