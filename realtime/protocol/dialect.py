"""Dialects: translations between the JSON of clients and the GA shape.

Sessions see GA events only; a `Connection` translates at the transport. GA needs no translation. The API's beta shape
and StepFun's variant are in `beta`. A client names its dialect when it connects, or shows it by its first message that
can be one shape only.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from realtime.protocol.beta import refuse_older_keys, shape
from realtime.protocol.codec import (
    at_once,
    decode,
    decode_object,
    drop_unknown_settings,
    dump,
    encode,
    parse_client_message,
)
from realtime.protocol.events import (
    ClientEvent,
    ResponseOutputAudioDelta,
    ResponseThinkingDelta,
    ResponseThinkingDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
)
from realtime.protocol.ids import Ids
from realtime.protocol.wire import JsonObject

THOUGHTS = "response.thinking"
"""In a session's ``include``: asks for the events of a thought."""


class Dialect(Protocol):
    """Translates single messages. It may change its arguments in place."""

    @property
    def name(self) -> str: ...

    @property
    def shows_thoughts(self) -> bool:
        """Whether its clients get the events of a thought unasked."""

    def translate_in(self, message: JsonObject) -> JsonObject:
        """A client's message in GA shape. Unknown keys stay. Raises `ProtocolError` for keys of another dialect that
        the core would ignore."""

    def translate_out(self, message: JsonObject) -> Sequence[JsonObject]:
        """The messages that this client gets for a GA message: one, none or several."""


class GeneralAvailability:
    """The API's shape since August 2025, which sessions use."""

    name = "ga"
    shows_thoughts = False

    def translate_in(self, message: JsonObject) -> JsonObject:
        refuse_older_keys(message)
        return message

    def translate_out(self, message: JsonObject) -> Sequence[JsonObject]:
        return (message,)


GA = GeneralAvailability()


class Connection:
    """Encodes and decodes for one client: its dialect, and the ids of its events."""

    def __init__(
        self, ids: Ids, dialect: Dialect = GA, *, suspected: Dialect | None = None, binary_audio: bool = False
    ) -> None:
        """``suspected``: the dialect that a client may turn out to speak; None: it has named its dialect.
        ``binary_audio``: it gets the replies' audio as bytes."""
        self._ids = ids
        self.dialect = dialect
        self._suspected = suspected
        self._binary_audio = binary_audio
        self._asked_for_thoughts = False

    def decode(self, message: str | bytes) -> ClientEvent:
        """As `codec.decode`, from the client's dialect."""
        return at_once(self.decode_slowly(message))

    def decode_slowly(self, message: str | bytes) -> Generator[None, None, ClientEvent]:
        """`decode` in steps: megabytes take tens of milliseconds, and other tasks may run between two steps."""
        if isinstance(message, bytes):
            return decode(message)
        document = yield from parse_client_message(message)
        self._listen_for_dialect(document)
        translated = self.dialect.translate_in(document)
        if self.dialect is not GA:
            drop_unknown_settings(translated)  # the beta ignored what it did not know, and its clients rely on that
        return decode_object(translated)

    def encode(self, event: ServerEvent) -> list[str | bytes]:
        """The messages for an event, each with an ``event_id``; none for an event that this client does not know.

        With binary audio, a delta is sent empty, and the bytes after it are its audio.
        """
        if self._binary_audio and isinstance(event, ResponseOutputAudioDelta):
            return [*self._encode(event.model_copy(update={"delta": b""})), event.delta]
        return self._encode(event)

    def _encode(self, event: ServerEvent) -> list[str | bytes]:
        if isinstance(event, SessionCreated | SessionUpdated):
            self._asked_for_thoughts = THOUGHTS in (event.session.include or ())
        if isinstance(event, ResponseThinkingDelta | ResponseThinkingDone) and not self._shows_thoughts:
            return []
        if self.dialect is GA:
            return [encode(event, self._ids.event())]
        messages = self.dialect.translate_out(event.model_dump(mode="json"))
        return [dump({"event_id": self._ids.event()} | message) for message in messages]

    @property
    def _shows_thoughts(self) -> bool:
        return self._asked_for_thoughts or self.dialect.shows_thoughts

    def _listen_for_dialect(self, document: JsonObject) -> None:
        """The first message that can be one shape only decides the dialect."""
        if self._suspected is None or (heard := shape(document)) is None:
            return
        if heard == "beta":
            self.dialect = self._suspected
        self._suspected = None
