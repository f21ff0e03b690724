"""What a transport has received and its session has not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from realtime.audio.streams import Samples
from realtime.ports.channel import AudioHeard
from realtime.ports.messages import MODEL_SAMPLE_RATE

_MERGED_SAMPLES = MODEL_SAMPLE_RATE // 10
"""Audio that waits is joined up to this length: a session that is late takes it in fewer steps."""

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Items in order; the caller's audio among them, from transports that decode it. ``unheard``: samples of audio that
    wait."""

    def __init__(self) -> None:
        self.unheard = 0
        self._items: deque[Item | AudioHeard] = deque()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        self._items.append(item)
        self._arrived.set()

    def hear(self, samples: Samples) -> None:
        """Put audio, float32 at 16 kHz. Nothing is put where there is none."""
        if not len(samples):
            return
        self.unheard += len(samples)
        last = self._items[-1] if self._items else None
        if isinstance(last, AudioHeard) and len(last.samples) < _MERGED_SAMPLES:
            self._items[-1] = AudioHeard(np.concatenate((last.samples, samples), dtype=np.float32))
        else:
            self._items.append(AudioHeard(samples))
        self._arrived.set()

    def wake(self) -> None:
        """Let `take` look whether it is over."""
        self._arrived.set()

    async def take(self, check: Callable[[], None]) -> Item | AudioHeard:
        """The next item, when there is one. ``check``: raises when it is over and none will come."""
        while not self._items:
            check()
            self._arrived.clear()
            await self._arrived.wait()
        item = self._items.popleft()
        if isinstance(item, AudioHeard):
            self.unheard -= len(item.samples)
        return item
