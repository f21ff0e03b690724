"""The inputs of a session as plain data: kept in memory for a look back, or written as lines of JSON with the audio.

A line is an input (``at``, ``input``) or a value that was read from outside while the last input was handled
(``read``, ``value``). Arrays stand as ``[offset, count]`` of float32 in a second, binary stream, bytes of audio as
``[offset, length]``. Only the classes of `CLASSES` are ever built from a journal, so one from a stranger runs no code.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from realtime.errors import SESSION_ENDS, SessionEnd
from realtime.ports.channel import AudioHeard, AudioPlayed, PlaybackChanged
from realtime.ports.engine import (
    GenerationDone,
    GenerationTimings,
    SamplingParams,
    TokenDelta,
    TokenLogProb,
    TokenUsage,
)
from realtime.ports.tools import SchemaVerdict, ServerLost, ServerTool, ToolFault, ToolResult
from realtime.ports.vocoder import AudioChunk
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import CLIENT_EVENTS, RateLimit, RateLimitsUpdated
from realtime.protocol.wire import Wire
from realtime.session.config import SessionConfig, SessionLimits
from realtime.session.inputs import (
    AudioReceived,
    ClientEventReceived,
    Ending,
    EventSent,
    Input,
    MessageRefused,
    TimerExpired,
    WorkEnded,
    WorkProgress,
)

CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        AudioChunk,
        AudioHeard,
        AudioPlayed,
        AudioReceived,
        ClientEventReceived,
        Ending,
        EventSent,
        GenerationDone,
        GenerationTimings,
        MessageRefused,
        PlaybackChanged,
        RateLimit,
        RateLimitsUpdated,
        SamplingParams,
        SchemaVerdict,
        ServerLost,
        ServerTool,
        SessionConfig,
        SessionLimits,
        TimerExpired,
        TokenDelta,
        TokenLogProb,
        TokenUsage,
        ToolFault,
        ToolResult,
        WorkEnded,
        WorkProgress,
    )
}
"""What a journal may hold, by name."""

MEMORY_INPUTS = 100
"""Inputs that a session remembers: more than a look back after a fault shows."""

T = TypeVar("T")


class Memory:
    """A recorder that keeps the kinds of the last inputs, to show what led to a fault. It holds none of the inputs: one
    may have megabytes of audio."""

    def __init__(self, most: int = MEMORY_INPUTS) -> None:
        self._kinds: deque[tuple[float, str]] = deque(maxlen=most)

    def record(self, at: float, input: Input) -> None:
        """Note an input."""
        self._kinds.append((at, _kind(input)))

    def read(self, name: str, source: Callable[[], T]) -> T:
        """The value as it is."""
        return source()

    async def read_later(self, name: str, source: Callable[[], Awaitable[T]]) -> T:
        """The value as it is."""
        return await source()

    def last(self, count: int) -> Iterator[str]:
        """The last inputs, a line each: how long before the very last one, and of what kind; no words of the talk."""
        kinds = list(self._kinds)[-count:]
        return (f"{at - kinds[-1][0]:+9.3f} s {kind}" for at, kind in kinds)


class Encoder:
    """Values -> JSON, with audio in a binary stream."""

    def __init__(self, blobs: BinaryIO) -> None:
        self._blobs = blobs
        self._offset = 0

    def encode(self, value: Any) -> Any:
        """JSON for a value. Raises `TypeError` for one that a journal cannot hold."""
        if value is None or isinstance(value, str | int | float | bool):
            return value
        match value:
            case AudioReceived(data):
                return {"_": "AudioReceived", "data": self._blob(data)}
            case ClientEventReceived(event, source):
                return {"_": "ClientEventReceived", "event": event.model_dump(mode="json"), "source": source}
            case MessageRefused(error, source):
                arguments = [error.code, error.message, error.param, error.event_id, error.type]
                return {"_": "MessageRefused", "error": arguments, "source": source}
            case Ending(reason):
                return {"_": "Ending", "kind": type(reason).__name__, "text": str(reason)}
            case Wire():
                return {"_": type(value).__name__, "wire": value.model_dump(mode="json")}
            case bytes():
                return {"b": base64.b64encode(value).decode()}
            case np.ndarray():
                return {"a": self._blob(np.ascontiguousarray(value, np.float32).tobytes())}
            case np.floating() | np.integer():
                return value.item()
            case tuple() | list():
                return {"t": [self.encode(one) for one in value]}
            case dict():
                return {"m": {str(key): self.encode(one) for key, one in value.items()}}
        name = type(value).__name__
        if name not in CLASSES or not is_dataclass(value):
            raise TypeError(f"a journal holds no {name}")
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"_": name} | {key: self.encode(one) for key, one in parts.items() if not callable(one)}

    def _blob(self, data: bytes) -> list[int]:
        self._blobs.write(data)
        self._offset += len(data)
        return [self._offset - len(data), len(data)]


class Decoder:
    """JSON of an `Encoder` -> values."""

    def __init__(self, blobs: bytes) -> None:
        self._blobs = blobs

    def decode(self, data: Any) -> Any:
        """The value. Raises `ValueError` or `KeyError` for JSON that no encoder wrote."""
        if not isinstance(data, dict):
            return data
        if "_" not in data:
            return self._decode_plain(data)
        rest = {key: value for key, value in data.items() if key != "_"}
        match data["_"]:
            case "AudioReceived":
                return AudioReceived(self._blob(rest["data"]))
            case "ClientEventReceived":
                return ClientEventReceived(CLIENT_EVENTS.validate_python(rest["event"]), rest["source"])
            case "MessageRefused":
                code, message, param, event_id, type_ = rest["error"]
                error = ProtocolError(code, message, param=param, event_id=event_id, type=type_)
                return MessageRefused(error, rest["source"])
            case "Ending":
                return Ending(_session_end(rest["kind"], rest["text"]))
            case name if "wire" in rest:
                return CLASSES[name].model_validate(rest["wire"])  # type: ignore[attr-defined]
            case name:
                return CLASSES[name](**{key: self.decode(value) for key, value in rest.items()})

    def _decode_plain(self, data: dict[str, Any]) -> Any:
        match data:
            case {"b": text}:
                return base64.b64decode(text)
            case {"a": place}:
                samples: NDArray[np.float32] = np.frombuffer(self._blob(place), np.float32)
                return samples
            case {"t": values}:
                return tuple(map(self.decode, values))
            case {"m": values}:
                return {key: self.decode(value) for key, value in values.items()}
        raise ValueError(f"a journal has no value of the form {str(data)[:80]}")

    def _blob(self, place: Iterable[int]) -> bytes:
        offset, length = place
        if not 0 <= offset <= offset + length <= len(self._blobs):
            raise ValueError(f"the audio of the journal ends at {len(self._blobs)} bytes, before {offset + length}")
        return self._blobs[offset : offset + length]


def _session_end(kind: str, text: str) -> SessionEnd:
    if kind not in SESSION_ENDS:
        raise ValueError(f"a session does not end by {kind[:80]!r}")
    return SESSION_ENDS[kind](text)


def _kind(input: Input) -> str:
    """What kind of input, and of what: nothing that was said."""
    match input:
        case ClientEventReceived(event, source):
            return f"{event.type} from connection {source}"
        case WorkProgress(work, value):
            return f"WorkProgress {work}: {type(value).__name__}"
        case WorkEnded(work, fault):
            return f"WorkEnded {work}{': failed' if fault else ''}"
        case MessageRefused(error):
            return f"MessageRefused {error.code}"
        case TimerExpired(timer):
            return f"TimerExpired {timer}"
        case EventSent(number):
            return f"EventSent {number}"
    return type(input).__name__
