"""The items of a conversation, in order, and what clients may do to them.

1. Items are added after a named item, at the front (``root``) or at the end; ids are unique.
2. Any item may be retrieved or deleted. The model forgets a deleted item.
3. Only speech of the assistant can be truncated, within its audio. It then keeps the audio up to that point and shows
   no transcript any more. `END_TOLERANCE_MS` behind its end is its end.
4. There are at most `MAX_ITEMS`. A client's further item is refused; speech replaces the oldest item.

Each item has a payload for the model's side (samples, token ids, how much was heard). This module does not look into
it. It is removed with its item.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.items import (
    AssistantMessage,
    InputAudio,
    Item,
    OutputAudio,
    UserMessage,
    without_audio,
)

Payload = TypeVar("Payload")

FRONT = "root"
"""The ``previous_item_id`` that puts an item first."""

MAX_ITEMS = 4096
"""The most items: far more than fit any model's context, and a bound for memory."""


@dataclass(slots=True)
class Entry(Generic[Payload]):
    """One item as clients see it (without audio), and its payload.

    ``audio_ms``: length of its speech so far; the owner updates it, `Conversation.truncate` reads it. ``answer``: a
    second payload directly after the first, such as a tool's result where call and result are one item.
    """

    item: Item
    payload: Payload
    audio_ms: int = 0
    truncated: bool = False
    answer: Payload | None = None


END_TOLERANCE_MS = 10
"""How far beyond the audio a truncation may end: clients count samples at their own rate and round up."""


@dataclass(frozen=True, slots=True)
class Truncation(Generic[Payload]):
    """The result of a truncation. ``audio_end_ms``: the end in force, never beyond the item's audio."""

    entry: Entry[Payload]
    audio_end_ms: int


class Conversation(Generic[Payload]):
    """Items in order. A method that serves a client's event may raise `ProtocolError`, and then changes nothing."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._order: list[str] = []
        self._entries: dict[str, Entry[Payload]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Entry[Payload]]:
        """Oldest first."""
        return (self._entries[item_id] for item_id in self._order)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._entries

    @property
    def last_item_id(self) -> str | None:
        return self._order[-1] if self._order else None

    def get(self, item_id: str) -> Entry[Payload] | None:
        return self._entries.get(item_id)

    def predecessor(self, item_id: str) -> str | None:
        """The id of the item before this one; None for the first item and for an unknown one."""
        if item_id not in self._entries:
            return None
        index = self._order.index(item_id)
        return self._order[index - 1] if index else None

    def add(
        self,
        item: Item,
        payload: Payload,
        *,
        previous_item_id: str | None = None,
        event_id: str | None = None,
    ) -> Entry[Payload]:
        """Add an item, which must have an id, and return its entry. Audio in the item is left out; the payload has
        it."""
        self._check_new(item.id, event_id)
        index = self._index_behind(previous_item_id, event_id)
        entry = Entry(without_audio(item), payload)
        self._order.insert(index, item.id)
        self._entries[item.id] = entry
        return entry

    def make_room(self) -> None:
        """Remove the oldest items until there is room for one more, for items that are not the client's."""
        while len(self._order) >= MAX_ITEMS:
            del self._entries[self._order.pop(0)]

    def update(self, item: Item) -> Item:
        """Store the finished item and return it as it is shown. An item that was truncated meanwhile stays without a
        transcript; one that was deleted stays deleted."""
        entry = self._entries.get(item.id)
        if entry is None:
            return item
        entry.item = without_audio(item)
        if entry.truncated:
            entry.item = _without_transcript(entry.item)
        return entry.item

    def set_transcript(self, item_id: str, content_index: int, transcript: str) -> None:
        """Store the transcript of the user's speech; does nothing when the item is gone."""
        entry = self._entries.get(item_id)
        if entry is None or not isinstance(entry.item, UserMessage):
            return
        content = list(entry.item.content)
        part = content[content_index] if content_index < len(content) else None
        if isinstance(part, InputAudio):
            content[content_index] = part.model_copy(update={"transcript": transcript})
            entry.item = entry.item.model_copy(update={"content": tuple(content)})

    def retrieve(self, item_id: str, *, event_id: str | None = None) -> Entry[Payload]:
        return self._existing(item_id, "item_retrieve_invalid_item_id", "retrieving", event_id)

    def delete(self, item_id: str, *, event_id: str | None = None) -> Entry[Payload]:
        entry = self._existing(item_id, "item_delete_invalid_item_id", "deleting", event_id)
        self._order.remove(item_id)
        del self._entries[item_id]
        return entry

    def truncate(
        self, item_id: str, content_index: int, audio_end_ms: int, *, event_id: str | None = None
    ) -> Truncation[Payload]:
        """Cut the speech of an assistant's item, finished or in progress."""
        entry = self._existing(item_id, "item_truncate_invalid_item_id", "truncating", event_id)
        _check_speech(entry.item, content_index, event_id)
        if audio_end_ms > entry.audio_ms + END_TOLERANCE_MS:
            raise ProtocolError(
                "invalid_value",
                f"The audio of item {quote(item_id)} has {entry.audio_ms} ms: it cannot end at {audio_end_ms} ms.",
                param="audio_end_ms",
                event_id=event_id,
            )
        entry.audio_ms = min(audio_end_ms, entry.audio_ms)
        entry.truncated = True
        entry.item = _without_transcript(entry.item)
        return Truncation(entry, entry.audio_ms)

    def _existing(self, item_id: str, code: str, doing: str, event_id: str | None) -> Entry[Payload]:
        entry = self._entries.get(item_id)
        if entry is None:
            raise ProtocolError(
                code,
                f"Error {doing} item: the item with id {quote(item_id)} does not exist.",
                param="item_id",
                event_id=event_id,
            )
        return entry

    def _check_new(self, item_id: str, event_id: str | None) -> None:
        if item_id in self._entries:
            raise ProtocolError(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id {quote(item_id)} already exists. "
                "Leave 'item.id' out to get a new one.",
                param="item.id",
                event_id=event_id,
            )
        if item_id == FRONT:
            raise ProtocolError(
                "invalid_value", f"An item cannot be called {FRONT!r}.", param="item.id", event_id=event_id
            )
        if len(self._order) >= MAX_ITEMS:
            raise ProtocolError(
                "conversation_full",
                f"The conversation has {MAX_ITEMS} items, the most there can be. Delete some first.",
                event_id=event_id,
            )

    def _index_behind(self, previous_item_id: str | None, event_id: str | None) -> int:
        if previous_item_id is None:
            return len(self._order)
        if previous_item_id == FRONT:
            return 0
        if previous_item_id not in self._entries:
            raise ProtocolError(
                "invalid_value",
                f"Error adding item: the previous item with id {quote(previous_item_id)} does not exist.",
                param="previous_item_id",
                event_id=event_id,
            )
        return self._order.index(previous_item_id) + 1


def _check_speech(item: Item, content_index: int, event_id: str | None) -> None:
    """Raises `ProtocolError` unless this is an assistant's speech. An item in progress shows no content yet."""
    if not isinstance(item, AssistantMessage):
        raise ProtocolError(
            "invalid_value",
            f"Only assistant messages with audio can be truncated, and {quote(item.id)} is none.",
            param="item_id",
            event_id=event_id,
        )
    if item.status == "in_progress" and content_index == 0:
        return
    if content_index >= len(item.content) or not isinstance(item.content[content_index], OutputAudio):
        raise ProtocolError(
            "invalid_value",
            f"Item {quote(item.id)} has no audio at content index {content_index}.",
            param="content_index",
            event_id=event_id,
        )


def _without_transcript(item: Item) -> Item:
    if not isinstance(item, AssistantMessage):
        return item
    content = tuple(
        part.model_copy(update={"transcript": None}) if isinstance(part, OutputAudio) else part for part in item.content
    )
    return item.model_copy(update={"content": content})
