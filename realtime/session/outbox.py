"""What waits to be sent to one peer: in order, bounded, and with audio that can be taken back.

`put` never blocks and never fails, so that state machines can call it anywhere. Who makes audio asks `has_room` first
and is told by `on_room`. One event at a time is with the transport (`flush`); when it has taken it over, that is an
input of the session like any other (`sent`), and the next event goes out. A peer that does not read ends the session
with `SlowReader` out of `run`.
"""

from __future__ import annotations

import asyncio
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

Callback = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    event: ServerEvent
    size: int
    samples: int = 0
    retractable: bool = False
    given: Callback | None = None
    sent: Callback | None = None


class Outbox:
    """One peer's queue. `run` is the only one that sends. Audio is counted in samples at 24 kHz."""

    def __init__(self, channel: Channel, limits: SessionLimits, took: Callable[[int], None] | None = None) -> None:
        """``took``: told by `run` that the transport has taken over the event of this number; whoever it is calls
        `sent` then. None: `sent` is called at once."""
        self._channel = channel
        self._limits = limits
        self._took = took
        self._most_samples = limits.outbox_audio_ms * OUTPUT_SAMPLE_RATE // 1000
        self._queue: deque[_Entry] = deque()
        self._current: _Entry | None = None
        self._given: deque[_Entry] = deque()  # for `run`, which may be behind where a replay brings what was sent
        self._count = 0
        self._size = 0
        self._samples = 0
        self._overflowed = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._on_room: list[Callback] = []
        self._on_audio_taken: list[Callback] = []

    @property
    def audio_samples(self) -> int:
        """Audio that the transport has not taken over yet."""
        return self._samples

    @property
    def size(self) -> int:
        """All that waits, in bytes (estimated)."""
        return self._size

    @property
    def has_room(self) -> bool:
        """Whether more audio may be put."""
        return self._samples < self._most_samples

    def on_room(self, callback: Callback) -> None:
        """Call back once, when there is room for more audio."""
        self._on_room.append(callback)

    def on_audio_taken(self, callback: Callback) -> None:
        """Call back once, when the transport has taken all audio over; at once where it has."""
        if self._samples:
            self._on_audio_taken.append(callback)
        else:
            callback()

    def put(self, event: ServerEvent) -> None:
        """Queue an event."""
        self._append(_Entry(self._next(), event, _size(event)))

    def put_before_audio(self, event: ServerEvent) -> None:
        """Queue an event that cannot wait until the audio before it was sent."""
        first = next((index for index, entry in enumerate(self._queue) if entry.samples), len(self._queue))
        self._append(_Entry(self._next(), event, _size(event)), at=first)

    def put_audio(
        self,
        event: ServerEvent,
        samples: int,
        *,
        retractable: bool,
        given: Callback | None = None,
        sent: Callback | None = None,
    ) -> None:
        """Queue an event with audio. ``retractable``: `retract_audio` may take it back. ``given``: called when the
        transport gets it; ``sent``: when the transport has taken it over."""
        self._append(_Entry(self._next(), event, _size(event), samples, retractable, given, sent))

    def retract_audio(self) -> None:
        """Take back the retractable audio that still waits; all else keeps its order."""
        retracted = [entry for entry in self._queue if entry.retractable]
        self._queue = deque(entry for entry in self._queue if not entry.retractable)
        for entry in retracted:
            self._leave(entry)
        self._notify()

    def flush(self) -> None:
        """Hand the next event to `run`, if none is with it. From now on that one cannot be taken back."""
        if self._current is None and self._queue:
            self._current = self._queue.popleft()
            self._given.append(self._current)
            self._filled.set()
            if self._current.given is not None:
                self._current.given()

    def sent(self, number: int) -> None:
        """The transport took over the event of this number."""
        entry = self._current
        if entry is None or entry.number != number:
            return
        self._current = None
        self._leave(entry)
        if entry.sent is not None:
            entry.sent()
        self.flush()
        self._notify()

    def close(self) -> None:
        """The session has ended: forget what waits, and its callbacks."""
        self._queue.clear()
        self._given.clear()
        self._current = None
        self._on_room.clear()
        self._on_audio_taken.clear()

    async def all_taken(self) -> None:
        """Returns when the transport has taken everything over."""
        while self._size:
            self._emptied.clear()
            await self._emptied.wait()

    async def run(self) -> None:
        """Send until cancelled. Raises `SlowReader` and `ChannelClosed`."""
        self.flush()
        while True:
            while self._given:
                await self._send(self._given.popleft())
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
        (self._took or self.sent)(entry.number)

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _append(self, entry: _Entry, at: int | None = None) -> None:
        if self._size + entry.size > self._limits.outbox_bytes:
            self._overflowed = True  # `_send` says so: whoever put this can do nothing about it
            return
        self._queue.insert(len(self._queue) if at is None else at, entry)
        self._size += entry.size
        self._samples += entry.samples

    def _leave(self, entry: _Entry) -> None:
        self._size -= entry.size
        self._samples -= entry.samples
        self._emptied.set()

    def _notify(self) -> None:
        if self.has_room:
            for callback in _taken(self._on_room):
                callback()
        if not self._samples:
            for callback in _taken(self._on_audio_taken):
                callback()


def _taken(callbacks: list[Callback]) -> list[Callback]:
    """What is in the list, which is empty from now on."""
    taken = callbacks[:]
    callbacks.clear()
    return taken


def _size(event: ServerEvent) -> int:
    if isinstance(event, ResponseOutputAudioDelta):
        return _EVENT_BYTES + len(event.delta)
    if isinstance(event, ConversationItemRetrieved) and isinstance(event.item, UserMessage | AssistantMessage):
        return _EVENT_BYTES + sum(len(getattr(part, "audio", None) or b"") for part in event.item.content)
    return _EVENT_BYTES
