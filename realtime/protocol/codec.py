"""Encodes and decodes events.

A text frame holds one event in JSON. A binary frame from a client is raw audio: ``input_audio_buffer.append`` without
base64. Limits are checked before the text is parsed, so a hostile message costs little.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from realtime.protocol.beta import OLDER_PLACES
from realtime.protocol.errors import ProtocolError, from_validation, json_type
from realtime.protocol.events import (
    CLIENT_EVENTS,
    SERVER_EVENTS,
    ClientEvent,
    ConversationItemCreate,
    Error,
    ErrorDetails,
    InputAudioBufferAppend,
    ResponseCreate,
    ServerEvent,
    SessionUpdate,
)
from realtime.protocol.long_audio import LONG_CHARACTERS, decode_pieces, lift, put_back
from realtime.protocol.session_config import AnySession
from realtime.protocol.unknown_keys import drop_unknown, refuse_unknown
from realtime.protocol.wire import MAX_AUDIO_BYTES, JsonObject, Wire

T = TypeVar("T")

MAX_MESSAGE_BYTES = MAX_AUDIO_BYTES * 4 // 3 + 64 * 1024
"""The longest text message: 15 MiB of audio as base64 plus 64 KiB. Transports derive their limit from it."""
MAX_SETTINGS_CHARACTERS = 256 * 1024
"""The longest message without audio or images: its echo stays below the 1 MiB limit of clients."""
_LONG = ("input_audio_buffer.append", "conversation.item.create", "response.create")
MAX_VALUES = 100_000
"""The most keys and array elements in one message: far above real messages, and cheap to hold."""
MAX_DEPTH = 64
"""The deepest nesting. JSON schemas of tools nest deepest."""
_CHECKED: Mapping[str, type[Wire]] = {
    "session.update": SessionUpdate,
    "response.create": ResponseCreate,
    "conversation.item.create": ConversationItemCreate,
}
"""Messages in which an unknown key is an error, so that no setting is dropped silently."""
MAX_EVENT_ID_CHARACTERS = 512
"""An ``error`` repeats this much of the client's ``event_id``."""


def decode(message: str | bytes) -> ClientEvent:
    """The event in a message: str is JSON, bytes (a binary frame) are audio. Raises `ProtocolError`."""
    if isinstance(message, bytes):
        return _decode_audio(message)
    return decode_object(at_once(parse_client_message(message)))


def decode_object(document: Mapping[str, Any]) -> ClientEvent:
    """The event in a JSON object that is already parsed."""
    event_id = _event_id(document)
    if document.get("type") is None:
        raise ProtocolError(
            "invalid_event",
            "The event has no 'type'. Every client event names its type, such as 'response.create'.",
            param="type",
            event_id=event_id,
        )
    refuse_unknown_settings(document, event_id)
    try:
        return CLIENT_EVENTS.validate_python(document)
    except ValidationError as error:
        raise from_validation(error, document, event_id=event_id) from None


def refuse_unknown_settings(document: Mapping[str, Any], event_id: str | None) -> None:
    """Raises `ProtocolError` (``unknown_parameter``) for an unknown key in a message that sets something.

    `session_config.merge` checks the contents of ``session``: they depend on the session in force.
    """
    form = _CHECKED.get(str(document.get("type")))
    if form is not None:
        refuse_unknown(document, form, older_names=OLDER_PLACES, event_id=event_id)


def drop_unknown_settings(document: JsonObject) -> None:
    """Remove, in place, what `refuse_unknown_settings` and `session_config.merge` would refuse."""
    form = _CHECKED.get(str(document.get("type")))
    if form is not None:
        drop_unknown(document, form)
    if document.get("type") == "session.update":
        drop_unknown(document.get("session"), AnySession)


def decode_server_event(message: str) -> ServerEvent:
    """The server's event in a message, for clients. Raises `ProtocolError` for an unknown event."""
    document = parse(message)
    try:
        return SERVER_EVENTS.validate_python(document)
    except ValidationError as error:
        raise from_validation(error, document) from None


def encode(event: ServerEvent | ClientEvent, event_id: str = "") -> str:
    """One line of JSON. ``event_id`` is added to an event that has none; it must need no escaping in JSON."""
    text = event.model_dump_json()
    if event_id and not event.event_id:
        return f'{{"event_id":"{event_id}",{text[1:]}'
    return text


def error_event(error: ProtocolError, event_id: str | None = None) -> Error:
    """The ``error`` event for an exception. ``event_id``: the client's, used where the exception has none."""
    named = error.event_id if error.event_id is not None else event_id
    details = ErrorDetails(
        type=error.type,
        code=error.code,
        message=error.message,
        param=error.param,
        event_id=None if named is None else named[:MAX_EVENT_ID_CHARACTERS],
    )
    return Error(error=details)


def parse_client_message(message: str) -> Generator[None, None, JsonObject]:
    """As `parse`, in steps, with long audio decoded to bytes. Only messages that carry audio or images may be long: the
    others are kept and echoed."""
    if len(message) <= LONG_CHARACTERS:
        return parse(message)
    _check_length(message)
    short, strings = lift(message)
    document = parse(short)
    if len(message) > MAX_SETTINGS_CHARACTERS and document.get("type") not in _LONG:
        raise ProtocolError(
            "invalid_value",
            f"The message has {len(message)} characters; at most {MAX_SETTINGS_CHARACTERS} are read of its type.",
            event_id=_event_id(document),
        )
    audio: list[bytes | str] = []
    for string in strings:
        audio.append((yield from decode_pieces(string)))
    whole: JsonObject = put_back(document, audio) if audio else document
    return whole


def at_once(work: Generator[None, None, T]) -> T:
    """The result of such a generator, without pauses."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return cast(T, stop.value)


def parse(message: str) -> dict[str, Any]:
    """The JSON object in a text message, within the limits. Raises `ProtocolError` (``invalid_json``)."""
    _check_size(message)
    try:
        document = from_json(message, allow_inf_nan=False)
    except ValueError as error:
        raise ProtocolError("invalid_json", f"The message is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise ProtocolError(
            "invalid_event",
            f"Expected a JSON object with a 'type', but got {json_type(document)}. Send one event a message.",
        )
    if _is_deeper(document, MAX_DEPTH):
        raise ProtocolError("invalid_value", f"The message is nested deeper than {MAX_DEPTH} levels.")
    return document


def dump(document: Mapping[str, Any]) -> str:
    """One line of JSON from a JSON object."""
    return to_json(document).decode()


def _decode_audio(data: bytes) -> InputAudioBufferAppend:
    if len(data) > MAX_AUDIO_BYTES:
        raise ProtocolError(
            "invalid_value",
            f"The binary message has {len(data)} bytes of audio; at most {MAX_AUDIO_BYTES} fit in one.",
            param="audio",
        )
    return InputAudioBufferAppend(audio=data)


def _check_length(message: str) -> None:
    if len(message) > MAX_MESSAGE_BYTES:
        raise ProtocolError(
            "invalid_value",
            f"The message has {len(message)} characters; at most {MAX_MESSAGE_BYTES} are read. "
            "Send audio in smaller pieces.",
        )


def _check_size(message: str) -> None:
    """Count characters first: that is fast, and parsing ``[[[[…`` or a million empty objects is not."""
    _check_length(message)
    if message.count("{") + message.count("[") + message.count(",") > MAX_VALUES:
        raise ProtocolError(
            "invalid_value", f"The message has more than {MAX_VALUES} values. Split it into several events."
        )


def _is_deeper(value: object, levels: int) -> bool:
    """Whether arrays and objects nest deeper than ``levels``."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(element, levels - 1) for element in inner)


def _event_id(document: Mapping[str, Any]) -> str | None:
    """The client's ``event_id``; None if it is missing or no string."""
    event_id = document.get("event_id")
    return event_id if isinstance(event_id, str) else None
