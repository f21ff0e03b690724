"""One conversation's place on the model, and one reply being generated from it. No tensors, no threads.

A position of the KV cache is known by its *key*: the token id, or for audio (id of the recording, sample at which the
segment ends that was encoded as one, index of the feature). Two prompts share as much of the cache as their keys agree
from the start.

A reply that is made ahead is a branch of its conversation's cache, and needs no copy: it is written behind the prefix
that all later prompts share, and forgotten by `Slot.reuse_prefix`, as any history that was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from realtime.ports.engine import GenerationDone, GenerationRequest, TokenDelta
from realtime.ports.vocoder import HELD_SECONDS

SPEECH_IDS_PER_SECOND = 25
IDS_PER_SECOND = 31.25
"""Of a spoken reply: four ids of speech and one of text in turn."""

Key = int | tuple[str, int, int]
Deliver = Callable[[TokenDelta | GenerationDone], None]


class Cache(Protocol):
    """The part of a KV cache that bookkeeping needs: how many positions it holds, and dropping the last ones."""

    @property
    def length(self) -> int: ...

    def truncate(self, length: int) -> None: ...


@dataclass(slots=True)
class Slot:
    """The KV cache of one conversation. ``keys[i]`` says what position i holds; never longer than the cache."""

    cache_key: str
    cache: Cache
    keys: list[Key] = field(default_factory=list)
    last_used: int = 0
    busy: bool = False

    def reuse_prefix(self, keys: Sequence[Key]) -> int:
        """Keep what the cache shares with ``keys``, drop the rest; gives the number of positions kept.

        At least the last key is left to be computed: its logits choose the first new token.
        """
        kept = 0
        for mine, wanted in zip(self.keys, keys[: len(keys) - 1], strict=False):
            if mine != wanted:
                break
            kept += 1
        self.cache.truncate(kept)
        del self.keys[kept:]
        return kept


class Purpose(Enum):
    """What a job is good for."""

    REPLY = "reply"
    """Somebody waits for it."""
    AHEAD = "ahead"
    """A reply that may never be wanted, until it is confirmed."""
    PREFETCH = "prefetch"
    """Encoded and prefilled, never decoded."""


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way through the engine. Times are seconds of the engine's clock."""

    request: GenerationRequest
    deliver: Deliver
    arrived: float
    purpose: Purpose = Purpose.REPLY
    cancelled: bool = False
    ended: bool = False
    """Its `GenerationDone` has been delivered, or its caller is gone."""
    slot: Slot | None = None
    prompt: Any = None
    """The rendered prompt (`realtime.engine.runner.RenderedPrompt`); None until the job was started."""
    prefilled: int = 0
    state: Any = None
    """The decoding state (`realtime.engine.runner.DecodeState`); None until the prompt is in the cache."""
    cached: int = 0
    started: float = 0.0
    encoded: float = 0.0
    first_token: float = 0.0
    decode_seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Made ahead as far as it may be."""
        if self.purpose is not Purpose.AHEAD or self.state is None:
            return False
        made: int = self.state.text_count + self.state.audio_count
        return made >= HELD_SECONDS * IDS_PER_SECOND

    def lead(self, now: float) -> float:
        """Seconds of speech generated beyond what a listener has heard who got it at once."""
        if self.state is None:
            return 0.0
        seconds: float = self.state.audio_count / SPEECH_IDS_PER_SECOND
        return seconds - (now - self.first_token)


class SlotTable:
    """At most ``capacity`` slots; the longest unused one makes room. Not thread-safe: the engine's thread owns it."""

    def __init__(self, capacity: int, new_cache: Callable[[], Cache]) -> None:
        self._capacity = capacity
        self._new_cache = new_cache
        self._slots: dict[str, Slot] = {}
        self._tick = 0

    def __len__(self) -> int:
        return len(self._slots)

    def take(self, cache_key: str) -> Slot | None:
        """The slot of this conversation, marked busy; None when it is busy already or all slots are."""
        slot = self._slots.get(cache_key)
        if slot is None:
            slot = self._make(cache_key)
        if slot is None or slot.busy:
            return None
        self._tick += 1
        slot.last_used = self._tick
        slot.busy = True
        return slot

    def release(self, cache_key: str) -> None:
        """Forget a conversation. A busy slot goes when its job gives it back."""
        slot = self._slots.pop(cache_key, None)
        if slot is not None:
            slot.keys.clear()
            slot.cache.truncate(0)

    def discard(self, slot: Slot) -> None:
        """Give up a slot whose cache is in an unknown state."""
        if self._slots.get(slot.cache_key) is slot:
            del self._slots[slot.cache_key]

    def _make(self, cache_key: str) -> Slot | None:
        if len(self._slots) >= self._capacity:
            idle = [slot for slot in self._slots.values() if not slot.busy]
            if not idle:
                return None
            del self._slots[min(idle, key=lambda slot: slot.last_used).cache_key]
        slot = self._slots[cache_key] = Slot(cache_key, self._new_cache())
        return slot
