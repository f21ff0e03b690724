"""Bodies of POST requests, limited in size and time."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request

from realtime.errors import PeerError
from realtime.protocol.codec import MAX_SETTINGS_CHARACTERS, parse
from realtime.protocol.errors import ProtocolError, json_type
from realtime.protocol.wire import JsonObject
from realtime.transports.http.refusal import Refused

BODY_SECONDS = 10.0
"""Limit for a body of some hundred KiB."""


async def read_body(request: Request, most: int) -> bytes:
    """Never holds more than ``most`` bytes. Raises `Refused` (413, 408)."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise Refused(413, PeerError("invalid_value", f"The body is longer than {most} bytes."))
    except TimeoutError:
        raise Refused(408, PeerError("invalid_value", f"The body did not come within {BODY_SECONDS:g} s.")) from None
    return bytes(body)


async def read_json(request: Request) -> JsonObject:
    """The JSON object in the body; an empty body is an empty object. Raises `Refused` and `ProtocolError`."""
    return parse_json(await read_body(request, MAX_SETTINGS_CHARACTERS), "The body")


def parse_json(body: bytes, what: str) -> JsonObject:
    """The JSON object in bytes; ``what`` names them in an error."""
    text = as_text(body, what)
    return parse(text) if text.strip() else {}


def as_text(body: bytes, what: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("invalid_json", f"{what} is not UTF-8: {error.reason}.") from None


def as_object(value: object, name: str) -> JsonObject:
    """A field that is a JSON object; an absent one is an empty object."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    return value


def wrong_type(param: str, expected: str, value: Any) -> ProtocolError:
    message = f"Invalid type for '{param}': expected {expected}, but got {json_type(value)} instead."
    return ProtocolError("invalid_type", message, param=param)
