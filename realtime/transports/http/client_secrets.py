"""Client secrets (``ek_…``): short-lived keys for browsers, each with the settings of its sessions.

A back end that has a key requests one and passes it to its page. It may be used any number of times until it expires;
running sessions continue. Secrets are kept in memory only: a restart forgets them.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from realtime.errors import PeerError
from realtime.transports.http.refusal import Refused

PREFIX = "ek_"
DEFAULT_SECONDS = 600
LEAST_SECONDS, MOST_SECONDS = 10, 7200
MAX_SECRETS = 10_000
MAX_STORED_CHARACTERS = 64 * 2**20
"""Limit of all stored settings together, as JSON."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """``id``: tells secrets apart and is no secret. ``expires_at``: seconds since 1970. ``model`` and ``settings``: of
    its sessions. ``owner``: whose quota they use (`realtime.transports.http.access.Caller`).
    """

    id: str
    expires_at: int
    model: str | None
    _settings: str
    owner: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """A patch of the session object, as in `session.update`."""
        settings: dict[str, Any] = json.loads(self._settings)
        return settings

    @property
    def stored_characters(self) -> int:
        return len(self._settings)


class ClientSecrets:
    """The valid secrets, by their hash."""

    def __init__(self, *, most: int = MAX_SECRETS, clock: Callable[[], float] = time.time) -> None:
        self._most = most
        self._clock = clock
        self._secrets: dict[bytes, ClientSecret] = {}
        self._stored_characters = 0

    @property
    def count(self) -> int:
        """Secrets in memory, expired ones included until the next is made."""
        return len(self._secrets)

    def create(
        self,
        settings: Mapping[str, Any],
        *,
        model: str | None = None,
        seconds: int = DEFAULT_SECONDS,
        owner: str = "",
    ) -> tuple[str, ClientSecret]:
        """A new secret: its value and its record. Raises `Refused` (429) when there are too many."""
        self._forget_expired()
        value = PREFIX + secrets.token_hex(24)
        digest = _digest(value)
        secret = ClientSecret(digest.hex()[:16], int(self._clock()) + seconds, model, json.dumps(settings), owner)
        stored = self._stored_characters + secret.stored_characters
        if len(self._secrets) >= self._most or stored > MAX_STORED_CHARACTERS:
            message = "The server holds as many client secrets as it can. Try again when some have expired."
            raise Refused(429, PeerError("rate_limit_exceeded", message, type="rate_limit_error"))
        self._secrets[digest] = secret
        self._stored_characters = stored
        return value, secret

    def find(self, value: str) -> ClientSecret | None:
        """The secret; None when it is unknown or has expired."""
        secret = self._secrets.get(_digest(value))
        return secret if secret is not None and secret.expires_at > self._clock() else None

    def keep_owners(self, owners: Collection[str]) -> None:
        """Forget the secrets of all others."""
        self._forget([digest for digest, secret in self._secrets.items() if secret.owner not in owners])

    def _forget_expired(self) -> None:
        now = self._clock()
        self._forget([digest for digest, secret in self._secrets.items() if secret.expires_at <= now])

    def _forget(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self._stored_characters -= self._secrets.pop(digest).stored_characters


def _digest(value: str) -> bytes:
    return sha256(value.encode()).digest()
