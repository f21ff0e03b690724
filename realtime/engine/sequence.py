"""One conversation's KV cache on the model, and one reply being generated from it. No tensors, no threads.

A speculative reply is a branch of its conversation's cache and needs no copy: it is written behind the prefix that all
later prompts share, and dropped by `Slot.reuse_prefix`, as any history that was changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, Protocol

from realtime.engine.conversation import PromptRequest
from realtime.engine.preparation import Pending
from realtime.engine.rendered_prompt import Key, RenderedMessage, RenderedPrompt
from realtime.ports.engine import IDS_PER_SECOND, SPECULATIVE_SECONDS, GenerationDone, TokenDelta
from realtime.ports.payer import Payer

SPEECH_IDS_PER_SECOND = 25

MAX_PLAYBACK_LEAD_SECONDS = 12.0
"""Speech of a reply that may be made beyond what its listener can have heard. A reply that is interrupted wastes no
more, and meanwhile the machine is others'. Far more than a slow step or a network delay takes."""
RESUMED_LEAD_SECONDS = 10.0
"""Where a reply goes on that had reached the limit: two seconds of speech at a time, not one step."""

URGENT_SECONDS = 1.5
"""Speech in hand below which a reply of a conversation goes before everything else: more than the vocoder's longest
chunk and a slow step take together."""

Deliver = Callable[[TokenDelta | GenerationDone], None]


def deliver_nothing(_: object) -> None:
    """For what nobody listens to, from the start or any more."""


class Cache(Protocol):
    """The part of a KV cache that bookkeeping needs: how many positions it holds, and dropping the last ones."""

    @property
    def length(self) -> int: ...

    def truncate(self, length: int) -> None: ...


@dataclass(slots=True)
class Slot:
    """The KV cache of one conversation. ``keys[i]`` says what position i holds; never longer than the cache."""

    name: str
    """Of the conversation."""
    cache: Cache
    keys: list[Key] = field(default_factory=list)
    messages: tuple[RenderedMessage, ...] = ()
    """The last prompt's, whose keys are the first of ``keys`` as far as these go."""
    last_used: int = 0
    busy: bool = False
    aside: bool = False
    """Of a reply out of band."""

    def reuse_prefix(self, prompt: RenderedPrompt) -> int:
        """Keep what the cache shares with the prompt, drop the rest; gives the number of positions kept.

        At least the last position is left to be computed: its logits choose the first new token. Messages that the last
        prompt had as well are not looked into.
        """
        most = min(len(self.keys), prompt.length - 1)
        kept = min(self._same_messages(prompt), most)
        for mine, wanted in zip(self.keys[kept:most], prompt.keys(kept, most), strict=True):
            if mine != wanted:
                break
            kept += 1
        self.cache.truncate(kept)
        del self.keys[kept:]
        self.messages = prompt.messages
        return kept

    def _same_messages(self, prompt: RenderedPrompt) -> int:
        """Positions of the messages that both prompts begin with."""
        same = 0
        for mine, wanted, end in zip(self.messages, prompt.messages, prompt.ends, strict=False):
            if mine is not wanted:
                break
            same = end
        return same


class Purpose(Enum):
    """What a job is for."""

    REPLY = "reply"
    """A reply that is wanted."""
    SPECULATIVE = "speculative"
    """A reply that may not be wanted, until it is confirmed."""
    PREFETCH = "prefetch"
    """Encoded and prefilled, never decoded."""


class Tier(IntEnum):
    """What goes first."""

    CONVERSATION = 0
    """A reply in a conversation, that is wanted."""
    AHEAD = 1
    """A reply or a prompt in a conversation that may be wanted later."""
    BESIDE = 2
    """Replies out of band, transcripts."""


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way through the engine. Times are seconds of the engine's clock."""

    request: PromptRequest
    deliver: Deliver
    arrived: float
    purpose: Purpose = Purpose.REPLY
    cancelled: bool = False
    ended: bool = False
    """Its `GenerationDone` has been delivered, or its caller is gone."""
    waits_for: tuple[Pending, ...] | None = None
    """Preparations that it needs; None until they were begun."""
    slot: Slot | None = None
    prompt: RenderedPrompt | None = None
    """The `RenderedPrompt`; None until the job was started."""
    prefilled: int = 0
    state: Any = None
    """The `realtime.engine.reply_state.DecodeState`; None until the prompt is in the cache."""
    cached: int = 0
    started: float = 0.0
    encoded: float = 0.0
    first_token: float = 0.0
    confirmed: float = 0.0
    """When a speculative reply was; its playback cannot have begun before."""
    rests: bool = False
    """Its speech is as far ahead of playback as it may be."""
    decode_seconds: float = 0.0
    reported: float | None = None
    """When its caller was last told that the engine works; None: it has just got something of the reply."""

    @property
    def paused(self) -> bool:
        """Speculative, and made as far as it may be."""
        if self.purpose is not Purpose.SPECULATIVE or self.state is None:
            return False
        made: int = self.state.text_count + self.state.audio_count
        return made >= SPECULATIVE_SECONDS * IDS_PER_SECOND

    @property
    def payer(self) -> Payer:
        """Whose share of the machine it uses."""
        return self.request.options.payer

    @property
    def tier(self) -> Tier:
        """Where it stands among the others."""
        if self.request.options.background or self.request.options.aside:
            return Tier.BESIDE
        return Tier.CONVERSATION if self.purpose is Purpose.REPLY else Tier.AHEAD

    def urgent(self, now: float) -> bool:
        """Whether a caller will notice when it is not worked on."""
        return self.tier is Tier.CONVERSATION and self.playback_lead(now) < URGENT_SECONDS

    def playback_lead(self, now: float) -> float:
        """Seconds of the model's speech beyond what a listener has heard who got it at once. Written words count as if
        they were read as fast as they are spoken, with an id of speech for each."""
        if self.state is None:
            return 0.0
        if self.request.options.speech:
            seconds: float = self.state.audio_count / SPEECH_IDS_PER_SECOND
        else:
            seconds = self.state.text_count / IDS_PER_SECOND
        return seconds - (now - max(self.first_token, self.confirmed)) * self._speed

    def rest(self, now: float) -> bool:
        """Whether it is not worked on now: its speech is far enough ahead of playback."""
        played = self.request.options.playback_speed and self.purpose is Purpose.REPLY
        most = RESUMED_LEAD_SECONDS if self.rests else MAX_PLAYBACK_LEAD_SECONDS
        self.rests = bool(played) and self.playback_lead(now) >= most
        return self.rests

    def rest_seconds(self, now: float) -> float:
        """How long it rests from now on, at least a millisecond."""
        return max(0.001, (self.playback_lead(now) - RESUMED_LEAD_SECONDS) / self._speed)

    @property
    def _speed(self) -> float:
        return self.request.options.playback_speed or 1.0


class SlotTable:
    """At most ``capacity`` slots, of which ``asides`` may be of replies out of band. The longest unused one makes room;
    a reply out of band takes none from a conversation. Not thread-safe: the engine's thread owns it."""

    def __init__(self, capacity: int, new_cache: Callable[[], Cache], asides: int | None = None) -> None:
        """``asides`` None: as many as there are."""
        self._capacity = capacity
        self._asides = capacity if asides is None else asides
        self._new_cache = new_cache
        self._slots: dict[str, Slot] = {}
        self._tick = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: str) -> bool:
        """Whether this conversation has one."""
        return name in self._slots

    def take(self, name: str, *, aside: bool = False) -> Slot | None:
        """The slot of this conversation, marked busy; None when it is busy already or all slots are."""
        slot = self._slots.get(name)
        if slot is None:
            slot = self._make(name, aside)
        if slot is None or slot.busy:
            return None
        self._tick += 1
        slot.last_used = self._tick
        slot.busy = True
        return slot

    def release(self, name: str) -> None:
        """Forget a conversation. A busy slot goes when its job gives it back."""
        slot = self._slots.pop(name, None)
        if slot is not None:
            slot.keys.clear()
            slot.cache.truncate(0)

    def discard(self, slot: Slot) -> None:
        """Give up a slot whose cache is in an unknown state."""
        if self._slots.get(slot.name) is slot:
            del self._slots[slot.name]

    def _make(self, name: str, aside: bool) -> Slot | None:
        full = len(self._slots) >= self._capacity
        if aside:
            full = full or sum(slot.aside for slot in self._slots.values()) >= self._asides
        if full:
            idle = [slot for slot in self._slots.values() if not slot.busy and (slot.aside or not aside)]
            if not idle:
                return None
            del self._slots[min(idle, key=lambda slot: slot.last_used).name]
        slot = self._slots[name] = Slot(name, self._new_cache(), aside=aside)
        return slot
