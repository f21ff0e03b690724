"""Requests to the routes of calls: `POST /v1/realtime/calls`, and actions on a running call.

An offer is the body itself (``application/sdp``), or the part ``sdp`` of a form. The part ``session`` of that form has
settings of the session, which override those of a client secret.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from realtime.errors import PeerError
from realtime.protocol.beta import refuse_older_keys
from realtime.protocol.codec import MAX_SETTINGS_CHARACTERS
from realtime.protocol.errors import ProtocolError, from_validation
from realtime.protocol.session_config import Session, TranscriptionSession
from realtime.protocol.wire import JsonObject, Lenient
from realtime.session.config import SessionConfig
from realtime.transports.http.client_secrets import ClientSecret
from realtime.transports.http.refusal import Refused
from realtime.transports.http.request_body import as_text, parse_json, read_body, read_json
from realtime.transports.http.secret_requests import check_settings, overlay

SDP = "application/sdp"
FORM = "multipart/form-data"
MAX_SDP_BYTES = 64 * 1024
"""Browsers' offers have 2 to 8 KiB, with many candidates."""
MAX_FORM_PARTS = 8


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A request for a call. ``sdp``: the offer. ``settings``: a checked patch of the session object. ``first``: the
    object with which the session begins."""

    sdp: str
    model: str | None
    settings: JsonObject
    first: Session | TranscriptionSession


async def read_offer(request: Request, config: SessionConfig, secret: ClientSecret | None) -> CallRequest:
    """Raises `ProtocolError` or `Refused`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == SDP:
        sdp = await read_body(request, MAX_SDP_BYTES)
        session: JsonObject = {}
    elif kind == FORM:
        sdp, session = await _read_form(request)
    else:
        message = f"Unsupported content type {kind[:80]!r}. Send an offer as '{SDP}', or '{FORM}' with a part 'sdp'."
        raise Refused(415, PeerError("unsupported_content_type", message))
    refuse_older_keys({"type": "session.update", "session": session})
    bound = secret.settings if secret is not None else {}
    begins = check_settings(overlay(bound, session), config)
    asked = request.query_params.get("model") or request.query_params.get("deployment")
    model = begins.model or (secret.model if secret is not None else None) or asked
    return CallRequest(_checked_sdp(sdp), model, begins.settings, begins.first)


async def read_new_offer(request: Request) -> str:
    """Another offer of a call that runs. Raises `ProtocolError` or `Refused`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != SDP:
        message = f"Unsupported content type {kind[:80]!r}. Send another offer of a call as '{SDP}'."
        raise Refused(415, PeerError("unsupported_content_type", message))
    return _checked_sdp(await read_body(request, MAX_SDP_BYTES))


def _checked_sdp(body: bytes) -> str:
    sdp = as_text(body, "The offer")
    if not sdp.strip():
        raise ProtocolError("missing_required_parameter", "There is no offer. Send the SDP as 'sdp'.", param="sdp")
    if not sdp.startswith("v=0"):
        raise ProtocolError("invalid_value", "The offer is no SDP: it does not begin with 'v=0'.", param="sdp")
    return sdp


async def _read_form(request: Request) -> tuple[bytes, JsonObject]:
    body = await read_body(request, MAX_SDP_BYTES + MAX_SETTINGS_CHARACTERS)
    parser = MultiPartParser(
        request.headers, _at_once(body), max_files=MAX_FORM_PARTS, max_fields=MAX_FORM_PARTS, max_part_size=len(body)
    )
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeDecodeError, KeyError) as error:
        why = getattr(error, "message", None) or "it cannot be read"
        raise ProtocolError("invalid_value", f"The form is wrong: {why}. Send '{FORM}' with a boundary.") from None
    try:
        session = parse_json(await _part(form.get("session")), "The part 'session'")
        return await _part(form.get("sdp")), session
    finally:
        await form.close()


async def _part(part: UploadFile | str | None) -> bytes:
    """The content of a form's part, with a file name or without."""
    if isinstance(part, UploadFile):
        return await part.read()
    return (part or "").encode()


async def _at_once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
    yield b""


# About a call that runs


class _Accept(Lenient):
    type: Literal["realtime"]


class _Reject(Lenient):
    status_code: Annotated[int, Field(strict=True, ge=300, le=699)] = 603


class _Refer(Lenient):
    target_uri: Annotated[str, Field(strict=True, pattern="^(tel|sip|sips):.")]


_BODIES: Mapping[str, type[Lenient]] = {"accept": _Accept, "reject": _Reject, "refer": _Refer}
PHONE_ACTIONS = tuple(_BODIES)
"""Actions on phone calls only."""


async def refuse_phone_action(action: str, request: Request) -> Refused:
    """The refusal of such an action while the server takes no phone calls. Raises `ProtocolError` for an invalid
    body."""
    body = await read_json(request)
    try:
        _BODIES[action].model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    message = f"Only a phone call that rings or runs (SIP) can be told to {action}; this call came over WebRTC."
    return Refused(400, PeerError("invalid_value", message, param="call_id"))
