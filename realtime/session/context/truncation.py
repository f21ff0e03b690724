"""How a long conversation is kept within the model's context, at a cost per turn that does not grow.

When the conversation has filled its room (`ContextWindow.fit`), it is cut:

1. The speech of the oldest replies goes, their words stay: 31 ids a second become about 4. The last replies keep
   their speech, so that the model still sees itself speak.
2. If that is not enough, the oldest turns go, up to a user's turn. System items and the last turn stay.

A cut changes the prompt near its beginning, so nothing behind it can be taken from the KV cache and all that stays is
computed once more. Hence cuts are few and deep. One that leaves the share k of the room comes once in 1 - k of the
room, and costs k / (1 - k) ids for every id of conversation: one with the default of a half, four with 0.8. They are
made early, when a reply has ended or a turn begins, so that no caller waits for one.

A message is counted once: sizes are kept by message, those of instructions and tools by their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from realtime.ports.engine import TokenCounter, reply_room
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message, Part, Text, Tokens
from realtime.protocol.conversation import Entry
from realtime.protocol.session_config import RetentionRatio
from realtime.session.context.history import History

Truncation = Literal["auto", "disabled"] | RetentionRatio

SPOKEN_REPLIES = 2
"""So many of the last replies keep their speech."""

_OPEN_TURNS = 16
"""Ids of the headers around a prompt that no message counts."""

_EARLY = 0.85
"""Share of its room at which a conversation is cut between turns. The rest is for the turn that is being spoken: of
12 000 ids 1 800, which is 144 s of the user."""

_REMEMBERED_PREAMBLES = 16
"""Instructions and tool declarations whose size is kept: the session's and those of responses with their own."""


class ApproximateTokenCounter:
    """`TokenCounter` where the model's own is not at hand: no limit, sizes within a factor of two."""

    context_tokens = 1 << 30

    def measure(self, message: Message) -> int:
        """About the ids of a turn: 12.5 a second of the user, the ids of a reply, three bytes of text an id."""
        content = message.content or ""
        if isinstance(content, str):
            return 4 + len(content.encode()) // 3
        return 4 + sum(_size(part) for part in content)


def _size(part: Part) -> int:
    match part:
        case Text(text):
            return len(text.encode()) // 3
        case Audio():
            return 2 + part.length * 25 // (2 * MODEL_SAMPLE_RATE)
        case Tokens():
            return len(part.ids) if part.speech else len(part.ids) // 8
    raise TypeError(f"{type(part).__name__} has no size here")


class ContextWindow:
    """Keeps one conversation's messages within the model's context. ``cut``: the share that goes at once."""

    def __init__(self, history: History, token_counter: TokenCounter, cut: float) -> None:
        self._history = history
        self._token_counter = token_counter
        self._cut = cut
        self._sizes: dict[int, tuple[Message, int]] = {}
        """By the identity of the message, which is kept so that no other gets it."""
        self._preambles: dict[Message, int] = {}

    def fit(self, preamble: Sequence[Message], truncation: Truncation, max_tokens: int, *, early: bool = False) -> bool:
        """Cut the conversation if it has outgrown its room; whether it was.

        ``preamble``: what stands before it in every prompt. ``max_tokens``: the longest reply. ``early``: leave some
        room for the turn that comes.
        """
        context = self._token_counter.context_tokens
        room = context - reply_room(context, max_tokens) - sum(map(self._preamble_size, preamble)) - _OPEN_TURNS
        if isinstance(truncation, RetentionRatio) and truncation.token_limits is not None:
            limit = truncation.token_limits.post_instructions
            room = room if limit is None else min(room, limit)
        if truncation == "disabled" or self._total() <= (_EARLY * room if early else room):
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
        if len(self._sizes) > 4 * len(self._history) + 16:  # of messages that were replaced or deleted
            kept = {id(message) for entry in self._history for message in (entry.payload, entry.answer)}
            self._sizes = {key: known for key, known in self._sizes.items() if key in kept}
        return total

    def _size(self, entry: Entry[Message | None]) -> int:
        """Of what the model is given of this item."""
        if entry.payload is None:
            return 0
        return self._message_size(entry.payload) + self._message_size(entry.answer)

    def _message_size(self, message: Message | None) -> int:
        if message is None:
            return 0
        known = self._sizes.get(id(message))
        if known is None:
            known = self._sizes[id(message)] = message, self._token_counter.measure(message)
        return known[1]

    def _preamble_size(self, message: Message) -> int:
        if message not in self._preambles:
            if len(self._preambles) >= _REMEMBERED_PREAMBLES:
                self._preambles.pop(next(iter(self._preambles)))
            self._preambles[message] = self._token_counter.measure(message)
        return self._preambles[message]


def _is_spoken(message: Message | None) -> bool:
    return message is not None and message.content != _parts_without_speech(message)


def _words_alone(message: Message | None) -> Message | None:
    return None if message is None else replace(message, content=_parts_without_speech(message))


def _parts_without_speech(message: Message) -> str | tuple[Part, ...] | None:
    if not isinstance(message.content, tuple):
        return message.content
    return tuple(replace(part, speech=False) if isinstance(part, Tokens) else part for part in message.content)
