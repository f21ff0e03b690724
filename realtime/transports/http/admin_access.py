"""Who may see other people's sessions: the operator, by an admin key.

API keys and client secrets open sessions of their own and nothing here. Without admin keys the routes are closed,
except on a keyless server that listens on this machine only: whoever reaches it there has the machine anyway.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection

from realtime.errors import PeerError
from realtime.transports.http.access import ApiKeys, credential_of, host_of, is_loopback, is_own_origin
from realtime.transports.http.refusal import Refused

_PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""A proxy on this machine connects from it for somebody who may be anywhere."""


class AdminAccess:
    """Checks for the operators' routes. The default is closed to everyone."""

    def __init__(self, keys: ApiKeys | None = None, *, open_on_loopback: bool = False) -> None:
        """``open_on_loopback``: without keys, clients on this machine are the operator."""
        self._keys = keys or ApiKeys()
        self._open_on_loopback = open_on_loopback

    def replace_keys(self, keys: ApiKeys) -> None:
        """From now on these keys count."""
        self._keys = keys

    @property
    def enabled(self) -> bool:
        """Whether anybody can be the operator."""
        return bool(self._keys) or self._open_on_loopback

    def knows(self, connection: HTTPConnection) -> bool:
        """Whether the request has an admin key."""
        credential = credential_of(connection)
        return credential is not None and self._keys.know(credential.text)

    def check(self, connection: HTTPConnection) -> None:
        """Raises `Refused` for everybody but the operator, and for pages of other origins, whatever their key."""
        origin = connection.headers.get("origin")
        if origin is not None and not is_own_origin(origin, connection.headers.get("host", "")):
            message = f"Pages of {origin[:200]!r} may not use the operators' routes, only this server's own."
            raise Refused(403, PeerError("origin_not_allowed", message))
        if self._keys:
            if not self.knows(connection):
                raise Refused(401, PeerError("invalid_api_key", _why_unknown(connection)))
        elif not self._open_on_loopback:
            message = (
                "The operators' routes are closed: this server has no admin key. Set REALTIME_ADMIN_KEY or "
                "--admin-keys-file."
            )
            raise Refused(403, PeerError("admin_not_enabled", message))
        elif not _is_of_this_machine(connection):
            message = (
                "Without an admin key the operators' routes answer only on the server's own machine, by a loopback "
                "address and without a proxy. Set REALTIME_ADMIN_KEY or --admin-keys-file."
            )
            raise Refused(403, PeerError("admin_not_enabled", message))


def _why_unknown(connection: HTTPConnection) -> str:
    if credential_of(connection) is None:
        return "This needs the server's admin key. Send it as 'Authorization: Bearer KEY'."
    return "Incorrect admin key. API keys and client secrets do not open the operators' routes."


def _is_of_this_machine(connection: HTTPConnection) -> bool:
    """Whether the client and the name that it uses are of this machine, and no proxy stands between."""
    host = host_of(connection.headers.get("host", ""))
    client = connection.client.host if connection.client is not None else ""
    proxied = any(header in connection.headers for header in _PROXY_HEADERS)
    return host is not None and is_loopback(host) and is_loopback(client) and not proxied
