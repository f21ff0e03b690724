"""The ``openai`` package as the judge of our messages: its types are generated from the API's contract."""

from __future__ import annotations

from typing import Any

from openai.types.beta.realtime import RealtimeClientEvent as BetaClientEvent
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

SERVER: TypeAdapter[RealtimeServerEvent] = TypeAdapter(RealtimeServerEvent)
CLIENT: TypeAdapter[RealtimeClientEvent] = TypeAdapter(RealtimeClientEvent)
BETA_SERVER: TypeAdapter[BetaServerEvent] = TypeAdapter(BetaServerEvent)
BETA_CLIENT: TypeAdapter[BetaClientEvent] = TypeAdapter(BetaClientEvent)

EXTENSIONS = {
    "output_audio_buffer.paused",
    "output_audio_buffer.resumed",
    "response.thinking.delta",
    "response.thinking.done",
    "session.queued",
    "session.timeline",
}
"""Server events of ours that the contract does not have. Clients get them only where they or the operator ask."""


def unknown_fields(value: Any, path: str = "") -> set[str]:
    """Paths of the fields that a parsed message has and the contract does not name."""
    if isinstance(value, list):
        return set().union(*(unknown_fields(element, path) for element in value))
    if not isinstance(value, BaseModel):
        return set()
    found = {f"{path}.{name}" for name in value.model_extra or {}}
    return found.union(*(unknown_fields(getattr(value, name), f"{path}.{name}") for name in type(value).model_fields))
