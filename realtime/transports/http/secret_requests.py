"""`POST /v1/realtime/client_secrets` and, in the beta's shape, `POST /v1/realtime/sessions`: bodies and answers.

The settings are checked when the secret is made, by the rules of `session.update`, so its holder gets no errors from
them. The tools among them are checked by `Host.check_tools`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from pydantic import Field, ValidationError
from starlette.requests import Request

from realtime.admission.manager import first_settings
from realtime.protocol.beta import Beta, older_dialect, refuse_older_keys, shape
from realtime.protocol.codec import drop_unknown_settings
from realtime.protocol.errors import from_validation
from realtime.protocol.ids import Ids
from realtime.protocol.session_config import Session, TranscriptionSession
from realtime.protocol.unknown_keys import refuse_unknown
from realtime.protocol.wire import JsonObject, Lenient, Maybe
from realtime.session.config import SessionConfig
from realtime.transports.http.client_secrets import DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS, ClientSecret
from realtime.transports.http.request_body import as_object, read_json, wrong_type


class _ExpiresAfter(Lenient):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(strict=True, ge=LEAST_SECONDS, le=MOST_SECONDS)] = DEFAULT_SECONDS


class _SecretBody(Lenient):
    """The keys of the body. The contents of ``session`` are checked when they are merged."""

    expires_after: Maybe[_ExpiresAfter] = None
    session: Maybe[JsonObject] = None


@dataclass(frozen=True, slots=True)
class SessionBegins:
    """``settings``: a patch of the session object. ``first``: the whole object with which its sessions begin."""

    model: str | None
    settings: JsonObject
    first: Session | TranscriptionSession

    @property
    def session(self) -> JsonObject:
        """``first`` as it is shown."""
        return self.first.model_dump(mode="json")


@dataclass(frozen=True, slots=True)
class SecretRequest(SessionBegins):
    """A request for a secret with its lifetime."""

    seconds: int


async def read_request(request: Request, config: SessionConfig) -> SecretRequest:
    """Raises `ProtocolError` or `Refused`."""
    body = await read_json(request)
    refuse_unknown(body, _SecretBody)
    settings = as_object(body.get("session"), "session")
    refuse_older_keys({"type": "session.update", "session": settings})
    return _checked(settings, body.get("expires_after"), config)


async def read_older_request(request: Request, config: SessionConfig) -> SecretRequest:
    """The body is the session, usually in the beta's shape. Raises `ProtocolError` or `Refused`."""
    settings = await read_json(request)
    expires_after = as_object(settings.pop("client_secret", None), "client_secret").get("expires_after")
    message: JsonObject = {"type": "session.update", "session": settings}
    if shape(message) == "beta":
        message = _older_dialect(settings).translate_in(message)
        drop_unknown_settings(message)
    else:
        refuse_older_keys(message)
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
    begins = check_settings(settings, config)
    return SecretRequest(begins.model, begins.settings, begins.first, _seconds(expires_after))


def overlay(below: Mapping[str, object], above: Mapping[str, object]) -> JsonObject:
    """One patch with the effect of both, applied one after the other."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        both = isinstance(lower, dict) and isinstance(value, dict)
        merged[key] = overlay(lower, value) if both else value  # type: ignore[arg-type]
    return merged


def check_settings(settings: JsonObject, config: SessionConfig) -> SessionBegins:
    """Raises `ProtocolError` if a session cannot begin with these settings."""
    settings = {key: value for key, value in settings.items() if value is not None or key != "type"}
    model = settings.get("model")
    if model is not None and not isinstance(model, str):
        raise wrong_type("session.model", "a string", model)
    return SessionBegins(model, settings, first_settings(config, Ids(), model=model, patch=settings))


def _seconds(expires_after: object) -> int:
    document = as_object(expires_after, "expires_after")
    try:
        return _ExpiresAfter.model_validate(document).seconds
    except ValidationError as error:
        raise from_validation(error, document, root="expires_after") from None
