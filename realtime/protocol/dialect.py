"""The shapes of the protocol that clients speak, each as a translation of JSON to and from the one that we
know (GA).

The core never sees a dialect: a `Connection` translates at the edge. GA is the identity and costs nothing.
The others (the API's beta shape, StepFun's variant of it) are in `beta`. A client names its dialect when it
connects, or shows it by its first message that is written in one.
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
    """Translates single messages. Objects given may be changed in place; none is used again by the caller."""

    @property
    def name(self) -> str: ...

    @property
    def shows_thoughts(self) -> bool:
        """Whether its clients know the events of a thought. Others get them when they ask for them."""

    def translate_in(self, message: JsonObject) -> JsonObject:
        """A client's message in GA shape. What is unknown stays as it is: the codec says what is wrong with
        it. Raises `ProtocolError` for what this dialect does not have and another has."""

    def translate_out(self, message: JsonObject) -> Sequence[JsonObject]:
        """What this client gets for a GA message: one message, or none, or several."""


class GeneralAvailability:
    """The shape since August 2025: the one we speak."""

    name = "ga"
    shows_thoughts = False

    def translate_in(self, message: JsonObject) -> JsonObject:
        refuse_older_keys(message)
        return message

    def translate_out(self, message: JsonObject) -> Sequence[JsonObject]:
        return (message,)


GA = GeneralAvailability()


class Connection:
    """The wire of one client: its dialect, and the ids of the events it gets."""

    def __init__(
        self, ids: Ids, dialect: Dialect = GA, *, suspected: Dialect | None = None, binary_audio: bool = False
    ) -> None:
        """``suspected``: what a client that has not named its dialect speaks if it turns out not to be GA.
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
        """The same in steps: megabytes take tens of milliseconds, and others may run between two steps."""
        if isinstance(message, bytes):
            return decode(message)
        document = yield from parse_client_message(message)
        self._listen_for_dialect(document)
        translated = self.dialect.translate_in(document)
        if self.dialect is not GA:
            drop_unknown_settings(translated)  # the beta ignored what it did not know, and its clients rely on that
        return decode_object(translated)

    def encode(self, event: ServerEvent) -> list[str | bytes]:
        """The messages for an event, each with an ``event_id``; none for what this client does not know.

        Bytes are the audio of the delta before them, which has none itself then.
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
        """The first message that can only be one shape settles it for good."""
        if self._suspected is None or (heard := shape(document)) is None:
            return
        if heard == "beta":
            self.dialect = self._suspected
        self._suspected = None
