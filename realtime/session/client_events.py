"""Handlers of the client events other than audio. A handler that raises `ProtocolError` has changed nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.protocol.items import McpApprovalResponse
from realtime.protocol.responses import configure_response
from realtime.protocol.session_config import Session
from realtime.session.context.history import input_messages
from realtime.session.floor import FloorControl, nothing_to_cancel
from realtime.session.output.responses import ResponseRequest
from realtime.session.parts import Parts
from realtime.turns.events import Configured, ManualClear, ManualCommit, ResponseCancel, ResponseCreate

MIN_COMMIT_MS = 100
"""The least audio that can be committed by hand (the API's limit)."""


class ClientEvents:
    """One session's client events."""

    def __init__(self, parts: Parts, floor: FloorControl) -> None:
        self._parts = parts
        self._floor = floor

    async def handle(self, event: wire.ClientEvent) -> None:
        """Carry out an event."""
        await self._parts.decoder.prepare(event)
        handled = _HANDLERS[type(event)](self, event)
        if handled is not None:
            await handled

    @property
    def _received(self) -> int:
        return self._parts.audio_input.received

    async def _update(self, event: wire.SessionUpdate) -> None:
        parts, settings = self._parts, self._parts.settings
        before = settings.current
        merged = settings.merged(event, response_active=parts.replies.active is not None)
        if isinstance(merged, Session):
            await parts.tools.check(merged)
        settings.current = merged
        settings.apply(parts.audio_input, before)
        if merged.turn_detection != before.turn_detection:
            self._floor.step(Configured(self._received, settings.turns, settings.detects_turns))
        parts.outbox.put(wire.SessionUpdated(session=merged))
        if isinstance(merged, Session):
            parts.tools.configure(merged)

    def _commit(self, event: wire.InputAudioBufferCommit) -> None:
        audio_input = self._parts.audio_input
        audio_input.settle()
        length = audio_input.uncommitted_ms
        if length < MIN_COMMIT_MS:
            raise ProtocolError(
                "input_audio_buffer_commit_empty",
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of "
                f"audio, but buffer only has {length}ms of audio.",
            )
        self._floor.step(ManualCommit(self._received))

    def _clear(self, event: wire.InputAudioBufferClear) -> None:
        self._floor.step(ManualClear(self._received))
        self._parts.outbox.put(wire.InputAudioBufferCleared())

    def _clear_output(self, event: wire.OutputAudioBufferClear) -> None:
        if self._parts.plays_audio:
            self._floor.clear_playback()
            return
        raise ProtocolError(
            "invalid_value",
            "output_audio_buffer.clear is for WebRTC and SIP: over a WebSocket the client owns the playback. "
            "Send response.cancel and conversation.item.truncate instead.",
            param="type",
        )

    def _create_item(self, event: wire.ConversationItemCreate) -> None:
        parts = self._parts
        if not isinstance(event.item, McpApprovalResponse):
            parts.items.create(event)
            return
        request_id = event.item.approval_request_id
        parts.tools.check_question(request_id)
        parts.items.create(event)
        parts.tools.decide(request_id, event.item.approve)
        parts.replies.answer_later(ResponseRequest(configure_response(parts.settings.answering())))

    def _retrieve(self, event: wire.ConversationItemRetrieve) -> None:
        self._parts.items.retrieve(event, self._parts.audio_input.format)

    def _delete(self, event: wire.ConversationItemDelete) -> None:
        parts = self._parts
        in_progress = parts.items.is_in_progress(event.item_id)
        parts.items.delete(event)
        if in_progress and parts.replies.promises(event.item_id):  # nobody wants to hear the rest of it
            self._floor.step(ResponseCancel(self._received))

    def _truncate(self, event: wire.ConversationItemTruncate) -> None:
        self._parts.items.truncate(event)
        self._floor.await_playback_anew()

    async def _create_response(self, event: wire.ResponseCreate) -> None:
        parts = self._parts
        config = configure_response(
            parts.settings.answering(),
            event.response,
            audio_produced=any(entry.audio_ms for entry in parts.history),
            conversation_id=parts.history.id,
            event_id=event.event_id,
        )
        if config.out_of_band:
            parts.replies.check_room_beside()
        await parts.tools.check_response(config)
        context = None
        if config.input is not None:
            context = input_messages(config.input, parts.history, parts.decoder.decode, parts.decoder.next_id)
        request = ResponseRequest(config, context)
        parts.prompts.begin_turn()
        if config.out_of_band:
            parts.replies.check_room_beside()
            self._floor.start_reply(request)
        else:
            self._floor.step(ResponseCreate(self._received), request)

    def _cancel_response(self, event: wire.ResponseCancel) -> None:
        replies = self._parts.replies
        active = replies.active
        if event.response_id is None or (active is not None and event.response_id == active.id):
            replies.forget_results()
            self._floor.step(ResponseCancel(self._received))
        elif not replies.cancel_beside(event.response_id):
            raise nothing_to_cancel()


_HANDLERS: dict[type, Callable[[ClientEvents, Any], Awaitable[None] | None]] = {
    wire.SessionUpdate: ClientEvents._update,
    wire.InputAudioBufferCommit: ClientEvents._commit,
    wire.InputAudioBufferClear: ClientEvents._clear,
    wire.OutputAudioBufferClear: ClientEvents._clear_output,
    wire.ConversationItemCreate: ClientEvents._create_item,
    wire.ConversationItemRetrieve: ClientEvents._retrieve,
    wire.ConversationItemDelete: ClientEvents._delete,
    wire.ConversationItemTruncate: ClientEvents._truncate,
    wire.ResponseCreate: ClientEvents._create_response,
    wire.ResponseCancel: ClientEvents._cancel_response,
}
