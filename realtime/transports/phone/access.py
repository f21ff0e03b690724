"""Who may open phone calls, and what a call may set.

Carriers send no API keys. A call is admitted by a secret in its path (``/v1/phone/twilio/SECRET``), by Twilio's
signature of the URL, or by an API key as elsewhere. With neither secrets nor a token, a server without keys admits
whom it admits elsewhere.
"""

from __future__ import annotations

import base64
import hmac
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from realtime.errors import ConfigError, PeerError
from realtime.protocol.wire import JsonObject
from realtime.transports.http.access import Access, Caller
from realtime.transports.http.refusal import Refused

LEAST_SECRET = 16
"""Characters: fewer can be guessed."""
SIGNATURE_HEADER = "x-twilio-signature"
PARAMETERS = ("instructions", "voice", "language", "speed")
"""Settings of the session that a call's custom parameters may be allowed to set."""

_SECRET = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class PhoneConfig:
    """``secrets``: in the path. ``twilio_token``: with which Twilio signs. ``public_url``: under which carriers reach
    this server; empty: as the request says. ``parameters``: what custom parameters may set. ``greets``: the
    conversation opens by itself. Raises `ConfigError`."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    twilio_token: str = field(default="", repr=False)
    public_url: str = ""
    parameters: tuple[str, ...] = ()
    greets: bool = True

    def __post_init__(self) -> None:
        for secret in self.secrets:
            if len(secret) < LEAST_SECRET or not _SECRET.fullmatch(secret):
                raise ConfigError(
                    f"a phone secret is {LEAST_SECRET} or more of A-Z a-z 0-9 . _ ~ -; this makes one: "
                    "python -c 'import secrets; print(secrets.token_urlsafe(24))'"
                )
        for name in self.parameters:
            if name not in PARAMETERS:
                raise ConfigError(f"{name[:60]!r} is not one of {', '.join(PARAMETERS)}")
        if self.public_url:
            check_public_url(self.public_url)


def check_public_url(url: str) -> str:
    """The URL without a slash at its end. Raises `ConfigError`."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("ws", "wss") and bool(parts.hostname) and not parts.query and not parts.fragment
        _ = parts.port
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"{url[:80]!r} is not wss://HOST[:PORT][/PATH]")
    return url.rstrip("/")


class PhoneAccess:
    """Checks who opens a call."""

    def __init__(self, config: PhoneConfig, access: Access) -> None:
        self._config = config
        self._access = access
        self._digests = tuple(sha256(secret.encode()).digest() for secret in config.secrets)

    def check(self, connection: HTTPConnection, secret: str) -> Caller:
        """``secret``: of the path; empty: none. Raises `Refused`."""
        self._access.check_origin(connection)
        signature = connection.headers.get(SIGNATURE_HEADER)
        signed = signature is not None and bool(self._config.twilio_token)
        if signature is not None and signed and not self._is_signed(connection, signature):
            raise _refused("The X-Twilio-Signature is wrong. Check --phone-twilio-token and --phone-public-url.")
        if secret:
            return self._known(secret)
        if signed:
            return Caller("phone:twilio")
        if (self._digests or self._config.twilio_token) and not self._access.has_keys:
            raise _refused("This server's phone lines need a secret: connect to /v1/phone/DIALECT/SECRET.")
        return self._access.check_caller(connection)

    def _known(self, secret: str) -> Caller:
        """Takes the same time for every secret, known or not."""
        digest = sha256(secret.encode()).digest()
        if sum(hmac.compare_digest(digest, known) for known in self._digests) == 0:
            raise _refused("The secret in the path is unknown. Use one of --phone-secrets.")
        return Caller(f"phone:{digest.hex()[:16]}")

    def _is_signed(self, connection: HTTPConnection, signature: str) -> bool:
        url = connection.url
        base = self._config.public_url.rstrip("/") or f"wss://{connection.headers.get('host', '')}"
        full = base + url.path + (f"?{url.query}" if url.query else "")
        given, token = signature.encode(), self._config.twilio_token
        spellings = (full, full + "/")  # Twilio may sign with a slash
        return sum(hmac.compare_digest(twilio_signature(one, token).encode(), given) for one in spellings) > 0


def twilio_signature(url: str, token: str) -> str:
    """Base64 of the HMAC-SHA1 of the URL."""
    return base64.b64encode(hmac.digest(token.encode(), url.encode(), "sha1")).decode()


def _refused(message: str) -> Refused:
    return Refused(401, PeerError("invalid_phone_secret", message))


def settings_of(parameters: Mapping[str, str], allowed: Iterable[str]) -> JsonObject:
    """A patch of the session object: what is allowed of a call's custom parameters; the others are ignored. Raises
    `PeerError` for a speed that is no number."""
    given = {name: parameters[name] for name in allowed if name in parameters}
    patch: dict[str, Any] = {}
    output: dict[str, Any] = {}
    if "instructions" in given:
        patch["instructions"] = given["instructions"]
    if "voice" in given:
        output["voice"] = given["voice"]
    if "speed" in given:
        output["speed"] = _speed(given["speed"])
    audio: dict[str, Any] = {"output": output} if output else {}
    if "language" in given:
        audio["input"] = {"transcription": {"language": given["language"]}}
    return patch | ({"audio": audio} if audio else {})


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not math.isfinite(speed):
        raise PeerError("invalid_value", f"The parameter speed is {text[:60]!r}, expected a number such as 1.1.")
    return speed
