"""What the model is told of a long conversation: it fits the context, and what a turn costs does not grow.

When the conversation has filled its room (`ContextWindow.fit`), it is cut:

1. The speech of the oldest replies goes, their words stay: 31 ids a second become about 4. The last replies keep
   theirs, so that the model still sees itself speak.
2. If that is not enough, the oldest turns go, up to a user's turn. System items and the last turn stay.

A cut changes the prompt near its beginning, so nothing behind it can be taken from the KV cache and all that stays is
computed once more. Hence cuts are few and deep. One that leaves the share k of the room comes once in 1 - k of the
room, and costs k / (1 - k) ids for every id of conversation: one with the default of a half, four with 0.8. They are
made when a reply has ended or a turn begins, with some room to spare (``ahead``), so that the next answer need not
wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from realtime.ports.engine import TokenCounter, reply_room
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message, Text, Tokens
from realtime.protocol.conversation import Entry
from realtime.protocol.session_config import RetentionRatio
from realtime.session.context.history import History

Truncation = Literal["auto", "disabled"] | RetentionRatio

SPOKEN_REPLIES = 2
"""So many of the last replies keep their speech."""

_OPEN_TURNS = 16
"""Ids of the headers around a prompt that no message counts."""

_AHEAD = 0.85
"""Share of its room at which a conversation is cut while nobody waits. The rest is for the turn that is being
spoken: of 12 000 ids 1 800, which is 144 s of the user."""


class ApproximateTokenCounter:
    """`TokenCounter` where the model's own is not at hand: no limit, sizes within a factor of two."""

    context_tokens = 1 << 30

    def measure(self, message: Message) -> int:
        """About the ids of a turn: 12.5 a second of the user, the ids of a reply, three bytes of text an id."""
        content = message.content or ""
        if isinstance(content, str):
            return 4 + len(content.encode()) // 3
        return 4 + sum(_size(part) for part in content)


def _size(part: Text | Audio | Tokens) -> int:
    match part:
        case Text(text):
            return len(text.encode()) // 3
        case Audio():
            return 2 + len(part.samples) * 25 // (2 * MODEL_SAMPLE_RATE)
        case Tokens():
            return len(part.ids) if part.speech else len(part.ids) // 8


class ContextWindow:
    """Keeps one conversation's messages within the model's context. ``cut``: the share that goes at once."""

    def __init__(self, history: History, token_counter: TokenCounter, cut: float) -> None:
        self._history = history
        self._token_counter = token_counter
        self._cut = cut
        self._sizes: dict[str, tuple[Message, int]] = {}

    def fit(self, preamble: Sequence[Message], truncation: Truncation, max_tokens: int, *, ahead: bool = False) -> bool:
        """Cut the conversation if it has outgrown its room; whether it was.

        ``preamble``: what stands before it in every prompt. ``max_tokens``: the longest reply. ``ahead``: leave some
        room for the turn that comes.
        """
        context = self._token_counter.context_tokens
        room = context - reply_room(context, max_tokens) - sum(map(self._token_counter.measure, preamble)) - _OPEN_TURNS
        if isinstance(truncation, RetentionRatio) and truncation.token_limits is not None:
            limit = truncation.token_limits.post_instructions
            room = room if limit is None else min(room, limit)
        if truncation == "disabled" or self._total() <= (_AHEAD * room if ahead else room):
            return False
        return self._shorten(int(self._kept_share(truncation) * room))

    def shorten(self, truncation: Truncation) -> bool:
        """Cut it whatever its size: the engine has refused it. False when nothing can go."""
        if truncation == "disabled":
            return False
        return self._shorten(int(self._kept_share(truncation) * self._total()))

    def _kept_share(self, truncation: Truncation) -> float:
        return truncation.retention_ratio if isinstance(truncation, RetentionRatio) else 1.0 - self._cut

    def _shorten(self, goal: int) -> bool:
        speech = self._drop_speech(goal)
        turns = self._drop_turns(goal)
        return speech or turns

    def _drop_speech(self, goal: int) -> bool:
        spoken = [entry for entry in self._history if _is_spoken(entry.payload)]
        excess = self._total() - goal
        dropped = False
        for entry in spoken[:-SPOKEN_REPLIES]:
            if excess <= 0:
                break
            before = self._size(entry)
            entry.payload = _words_alone(entry.payload)
            excess -= before - self._size(entry)
            dropped = True
        return dropped

    def _drop_turns(self, goal: int) -> bool:
        excess = self._total() - goal
        if excess <= 0:
            return False
        entries = [entry for entry in self._history if entry.payload is not None and entry.payload.role != "system"]
        going = cut = 0
        for at, entry in enumerate(entries):
            if at > 0 and entry.payload is not None and entry.payload.role == "human":
                cut = at
                if going >= excess:
                    break
            going += self._size(entry)
        for entry in entries[:cut]:
            entry.payload = None
        return cut > 0

    def _total(self) -> int:
        total = sum(self._size(entry) for entry in self._history)
        if len(self._sizes) > 2 * len(self._history):  # deleted items
            self._sizes = {name: known for name, known in self._sizes.items() if name in self._history}
        return total

    def _size(self, entry: Entry[Message | None]) -> int:
        message = entry.payload
        if message is None:
            self._sizes.pop(entry.item.id, None)
            return 0
        known, size = self._sizes.get(entry.item.id, (None, 0))
        if known is not message:
            size = self._token_counter.measure(message)
            self._sizes[entry.item.id] = message, size
        return size if entry.answer is None else size + self._token_counter.measure(entry.answer)


def _is_spoken(message: Message | None) -> bool:
    return message is not None and message.content != _parts_without_speech(message)


def _words_alone(message: Message | None) -> Message | None:
    return None if message is None else replace(message, content=_parts_without_speech(message))


def _parts_without_speech(message: Message) -> str | tuple[Text | Audio | Tokens, ...] | None:
    if not isinstance(message.content, tuple):
        return message.content
    return tuple(replace(part, speech=False) if isinstance(part, Tokens) else part for part in message.content)
