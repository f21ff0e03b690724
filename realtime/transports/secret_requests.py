"""`POST /v1/realtime/client_secrets` and, in the beta's shape, `POST /v1/realtime/sessions`: bodies and answers.

The settings are checked when the secret is made, by the rules of `session.update`, so that its holder cannot meet
their faults.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError
from starlette.requests import Request

from realtime.errors import PeerError
from realtime.protocol.beta import Beta, older_dialect, shape
from realtime.protocol.codec import MAX_SETTINGS_CHARACTERS, parse
from realtime.protocol.errors import ProtocolError, from_validation, json_type
from realtime.protocol.ids import Ids
from realtime.protocol.wire import JsonObject, Lenient
from realtime.session.config import SessionConfig
from realtime.session.manager import first_settings
from realtime.transports.client_secrets import DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS, ClientSecret
from realtime.transports.refusal import Refused

BODY_SECONDS = 10.0
"""For a body of at most 256 KiB."""


class _ExpiresAfter(Lenient):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(strict=True, ge=LEAST_SECONDS, le=MOST_SECONDS)] = DEFAULT_SECONDS


@dataclass(frozen=True, slots=True)
class SecretRequest:
    """``settings``: a patch of the session object. ``session``: the whole of it, as its sessions begin."""

    model: str | None
    settings: JsonObject
    session: JsonObject
    seconds: int


async def read_request(request: Request, config: SessionConfig) -> SecretRequest:
    """Raises `ProtocolError` or `Refused`."""
    body = await _json_body(request)
    settings = _object(body.get("session"), "session")
    return _checked(settings, body.get("expires_after"), config)


async def read_older_request(request: Request, config: SessionConfig) -> SecretRequest:
    """The body is the session, usually in the beta's shape. Raises `ProtocolError` or `Refused`."""
    settings = await _json_body(request)
    expires_after = _object(settings.pop("client_secret", None), "client_secret").get("expires_after")
    message: JsonObject = {"type": "session.update", "session": settings}
    if shape(message) == "beta":
        message = _older_dialect(settings).translate_in(message)
    return _checked(message["session"], expires_after, config)


def answer(value: str, secret: ClientSecret, session: JsonObject) -> JsonObject:
    return {"value": value, "expires_at": secret.expires_at, "session": session}


def older_answer(value: str, secret: ClientSecret, session: JsonObject) -> JsonObject:
    """The session in the beta's shape, with the secret inside."""
    shown = _older_dialect(session).translate_out({"type": "session.updated", "session": session})[0]["session"]
    return cast(JsonObject, shown) | {"client_secret": {"value": value, "expires_at": secret.expires_at}}


def _older_dialect(session: JsonObject) -> Beta:
    model = session.get("model")
    return older_dialect(model if isinstance(model, str) else None, conversation_id="")


def _checked(settings: JsonObject, expires_after: object, config: SessionConfig) -> SecretRequest:
    settings = {key: value for key, value in settings.items() if value is not None or key != "type"}
    model = settings.get("model")
    if model is not None and not isinstance(model, str):
        raise _wrong_type("session.model", "a string", model)
    session = first_settings(config, Ids(), model=model, patch=settings)
    return SecretRequest(model, settings, session.model_dump(mode="json"), _seconds(expires_after))


def _seconds(expires_after: object) -> int:
    document = _object(expires_after, "expires_after")
    try:
        return _ExpiresAfter.model_validate(document).seconds
    except ValidationError as error:
        raise from_validation(error, document, root="expires_after") from None


def _object(value: object, name: str) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong_type(name, "an object", value)
    return value


def _wrong_type(param: str, expected: str, value: Any) -> ProtocolError:
    message = f"Invalid type for '{param}': expected {expected}, but got {json_type(value)} instead."
    return ProtocolError("invalid_type", message, param=param)


async def _json_body(request: Request) -> JsonObject:
    """The JSON object in the body; none is an empty one. Never holds more than is allowed."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_SETTINGS_CHARACTERS:
                    message = f"The body is longer than {MAX_SETTINGS_CHARACTERS} bytes."
                    raise Refused(413, PeerError("invalid_value", message))
    except TimeoutError:
        raise Refused(408, PeerError("invalid_value", f"The body did not come within {BODY_SECONDS:g} s.")) from None
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("invalid_json", f"The body is not UTF-8: {error.reason}.") from None
    return parse(text) if text.strip() else {}
