"""What waits to be sent to one peer: in order, bounded, and with audio that can be taken back.

`put` never blocks and never fails, so that state machines can call it anywhere. Who makes audio waits for
`room` first. A peer that does not read ends the session with `SlowReader` out of `run`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from realtime.errors import SlowReader
from realtime.ports.channel import Channel
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.protocol.events import ConversationItemRetrieved, ResponseOutputAudioDelta, ServerEvent
from realtime.protocol.items import AssistantMessage, UserMessage
from realtime.session.config import SessionLimits

_EVENT_BYTES = 512  # an event without audio, roughly: ids, names, some text

Sent = Callable[[float], None]
"""Called with the time at which the transport took an event over."""


@dataclass(frozen=True, slots=True)
class _Entry:
    event: ServerEvent
    size: int
    samples: int = 0
    retractable: bool = False
    sent: Sent | None = None


class Outbox:
    """One peer's queue. `run` is the only one that sends. Audio is counted in samples at 24 kHz."""

    def __init__(self, channel: Channel, limits: SessionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._limits = limits
        self._clock = clock
        self._most_samples = limits.outbox_audio_ms * OUTPUT_SAMPLE_RATE // 1000
        self._queue: deque[_Entry] = deque()
        self._size = 0
        self._samples = 0
        self._overflowed = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def audio_samples(self) -> int:
        """Audio that the transport has not taken over yet."""
        return self._samples

    @property
    def size(self) -> int:
        """All that waits, in bytes (estimated)."""
        return self._size

    def put(self, event: ServerEvent) -> None:
        """Queue an event."""
        self._append(_Entry(event, _size(event)))

    def put_before_audio(self, event: ServerEvent) -> None:
        """Queue an event that cannot wait until the audio before it was sent."""
        first = next((index for index, entry in enumerate(self._queue) if entry.samples), len(self._queue))
        self._append(_Entry(event, _size(event)), at=first)

    def put_audio(self, event: ServerEvent, samples: int, *, retractable: bool, sent: Sent | None = None) -> None:
        """Queue an event with audio. ``retractable``: `retract_audio` may take it back."""
        self._append(_Entry(event, _size(event), samples, retractable, sent))

    def retract_audio(self) -> None:
        """Take back the retractable audio that still waits; all else keeps its order."""
        for entry in self._queue:
            if entry.retractable:
                self._leave(entry)
        self._queue = deque(entry for entry in self._queue if not entry.retractable)

    async def room(self) -> None:
        """Returns when there is room for more audio."""
        while self._samples >= self._most_samples:
            await self._until_less()

    async def audio_taken(self) -> None:
        """Returns when the transport has taken all audio over."""
        while self._samples:
            await self._until_less()

    async def all_taken(self) -> None:
        """Returns when the transport has taken everything over."""
        while self._size:
            await self._until_less()

    async def run(self) -> None:
        """Send until cancelled. Raises `SlowReader` and `ChannelClosed`."""
        while True:
            while self._queue:
                await self._send(self._queue.popleft())
            self._filled.clear()
            await self._filled.wait()

    async def _send(self, entry: _Entry) -> None:
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._channel.send(entry.event)
        except TimeoutError:
            raise SlowReader(f"Nothing was read for {self._limits.send_timeout_s:g} s.") from None
        if self._overflowed:
            raise SlowReader(f"More than {self._limits.outbox_bytes} bytes wait to be read.")
        self._leave(entry)
        if entry.sent is not None:
            entry.sent(self._clock())

    async def _until_less(self) -> None:
        self._emptied.clear()
        await self._emptied.wait()

    def _append(self, entry: _Entry, at: int | None = None) -> None:
        if self._size + entry.size > self._limits.outbox_bytes:
            self._overflowed = True  # `_send` says so: whoever put this can do nothing about it
            return
        self._queue.insert(len(self._queue) if at is None else at, entry)
        self._size += entry.size
        self._samples += entry.samples
        self._filled.set()

    def _leave(self, entry: _Entry) -> None:
        self._size -= entry.size
        self._samples -= entry.samples
        self._emptied.set()


def _size(event: ServerEvent) -> int:
    if isinstance(event, ResponseOutputAudioDelta):
        return _EVENT_BYTES + len(event.delta)
    if isinstance(event, ConversationItemRetrieved) and isinstance(event.item, UserMessage | AssistantMessage):
        return _EVENT_BYTES + sum(len(getattr(part, "audio", None) or b"") for part in event.item.content)
    return _EVENT_BYTES
