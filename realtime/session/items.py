"""Handlers of `conversation.item.*`: create, retrieve, delete, truncate."""

from __future__ import annotations

from collections.abc import Callable

from realtime.audio.streams import AudioFormat, AudioWriter
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.ids import Ids
from realtime.protocol.items import AssistantMessage, Item, UserMessage, with_audio
from realtime.session.context.decoding import AudioDecoder
from realtime.session.context.history import History, message_of, set_heard, with_item_id
from realtime.session.outbox import Outbox
from realtime.session.playout import PlayoutLedger
from realtime.session.tools.call_ids import check_item, with_call_id

MAX_RETRIEVED_BYTES = 700_000
"""More audio than this is left out of `retrieved`: as base64 it would approach clients' message limit of 1 MiB."""


class ItemHandler:
    """Handles one session's `conversation.item.*`. Raises `ProtocolError` and then changes nothing."""

    def __init__(
        self,
        ids: Ids,
        history: History,
        outbox: Outbox,
        playout: PlayoutLedger,
        decoder: AudioDecoder,
    ) -> None:
        self._history = history
        self._outbox = outbox
        self._playout = playout
        self._ids = ids
        self._decoder = decoder
        self.promised: Callable[[str], bool] = lambda item_id: False
        """Whether the server is about to add an item with this id."""
        self.user_turns = 0
        """How many of the user's messages, spoken and typed, were added."""

    def create(self, event: wire.ConversationItemCreate) -> None:
        """Add the client's item at its place."""
        if self._ids.is_future_item(event.item.id) or self.promised(event.item.id):
            raise ProtocolError(
                "invalid_value",
                f"Error adding item: the id {quote(event.item.id)} is of the form of the server's own and will name "
                "another item. Choose another, or leave 'item.id' out to get a new one.",
                param="item.id",
            )
        check_item(event.item, self._history, self._ids, event.previous_item_id)
        item = with_call_id(with_item_id(event.item, self._ids), self._ids)
        message = message_of(item, self._decoder.decode, self._decoder.next_id)
        self._history.add(item, message, previous_item_id=event.previous_item_id, event_id=event.event_id)
        self.announce(item.id)

    def announce(self, item_id: str) -> None:
        """Send the events of an item that was added complete."""
        entry = self._history.get(item_id)
        assert entry is not None
        self.user_turns += isinstance(entry.item, UserMessage)
        previous = self._history.predecessor(item_id)
        self._outbox.put(wire.ConversationItemAdded(previous_item_id=previous, item=entry.item))
        self._outbox.put(wire.ConversationItemDone(previous_item_id=previous, item=entry.item))

    def retrieve(self, event: wire.ConversationItemRetrieve, format: AudioFormat) -> None:
        """Send an item, with the user's audio in ``format`` if it is still kept and not too long."""
        entry = self._history.retrieve(event.item_id, event_id=event.event_id)
        message = entry.payload
        item: Item = entry.item
        for index, part in enumerate(message.content if message and isinstance(message.content, tuple) else ()):
            if isinstance(part, Audio):
                writer = AudioWriter(format, MODEL_SAMPLE_RATE)
                data = writer.push(part.samples) + writer.flush()
                if len(data) <= MAX_RETRIEVED_BYTES:
                    item = with_audio(item, index, data)
        self._outbox.put(wire.ConversationItemRetrieved(item=item))

    def delete(self, event: wire.ConversationItemDelete) -> None:
        """Remove an item from the conversation and from what the model knows."""
        self._history.delete(event.item_id, event_id=event.event_id)
        self._playout.forget(event.item_id)
        self._outbox.put(wire.ConversationItemDeleted(item_id=event.item_id))

    def is_in_progress(self, item_id: str) -> bool:
        """Whether this is a message that a reply, or the client, has begun and not finished."""
        entry = self._history.get(item_id)
        return entry is not None and isinstance(entry.item, AssistantMessage) and entry.item.status == "in_progress"

    def truncate(self, event: wire.ConversationItemTruncate) -> None:
        """Cut a reply where the client stopped its playback. This overrides the playout ledger."""
        truncation = self._history.truncate(
            event.item_id, event.content_index, event.audio_end_ms, event_id=event.event_id
        )
        set_heard(truncation.entry, truncation.audio_end_ms * OUTPUT_SAMPLE_RATE // 1000)
        self._playout.forget(event.item_id)
        self._outbox.put(
            wire.ConversationItemTruncated(
                item_id=event.item_id,
                content_index=event.content_index,
                audio_end_ms=truncation.audio_end_ms,
            )
        )
