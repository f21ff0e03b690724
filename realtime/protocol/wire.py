"""Base classes and types of all messages.

Reading: unknown keys are ignored (`unknown_keys` refuses them where they matter), ``null`` in an optional place means
"not given", and JSON types are not converted (``"1"`` is no number). Writing: an absent field is left out, never
``null``, because the JavaScript SDK's schemas silently drop events with a null in place of a string. Fields whose null
has a meaning are typed ``X | None``, the others ``Maybe[X]``.
"""

from __future__ import annotations

import binascii
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_AUDIO_BYTES = 15 * 1024 * 1024
"""The most audio in one event, decoded (OpenAI's limit of `input_audio_buffer.append`)."""

_MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that JSON readers agree on."""

JsonObject = dict[str, Any]
"""A JSON object as the parser gives it."""

T = TypeVar("T")


def _is_none(value: object) -> bool:
    return value is None


Maybe = Annotated[T | None, Field(exclude_if=_is_none)]
"""Optional; left out of the JSON when it is None."""


class Wire(BaseModel):
    """A JSON object of the protocol. Immutable."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    unused_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that clients send and that have no effect here. `unknown_keys` accepts them."""


class Lenient(Wire):
    """A JSON object that clients write: null in an optional place means "not given"."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def decode_base64(value: object) -> bytes:
    """Audio from its JSON string; bytes pass unchanged. Missing padding and line breaks are accepted."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "not base64", {"expected": "a base64 string"})
    if len(value) > MAX_AUDIO_BYTES * 4 // 3 + 4:
        raise PydanticCustomError("audio_too_long", "should hold at most 15 MiB of audio; send it in smaller events")
    try:
        try:
            return _strict_base64(value)
        except ValueError:
            if not (value.endswith("=") or any(space in value for space in " \t\r\n")):
                raise  # nothing to forgive, and a second look at megabytes costs others their time
        return _strict_base64("".join(value.split()).rstrip("="))
    except ValueError as error:
        raise PydanticCustomError(
            "base64", "should be base64 (A-Z a-z 0-9 + /, padded with =): {why}", {"why": str(error)}
        ) from error


def _strict_base64(text: str) -> bytes:
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


def encode_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _whole(value: object) -> object:
    """Accept ``1.0`` as an integer: JSON has one type of numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _floor(value: object) -> object:
    """Round down: clients compute times in floating point."""
    return int(value // 1) if isinstance(value, float) and abs(value) < _MAX_SAFE_INTEGER else value


Base64 = Annotated[
    bytes,
    BeforeValidator(decode_base64),
    PlainSerializer(encode_base64, return_type=str, when_used="json"),
]
"""Raw bytes here, base64 in JSON."""

Bool = StrictBool
Count = Annotated[int, Field(strict=True, ge=0, le=_MAX_SAFE_INTEGER), BeforeValidator(_whole)]
Milliseconds = Annotated[int, Field(strict=True, ge=0, le=_MAX_SAFE_INTEGER), BeforeValidator(_floor)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
"""A number from 0 to 1."""
