"""Which names a server without keys answers to: protection against DNS rebinding.

A web page of an attacker may have a name that leads to 127.0.0.1 or into the private network. For the browser the
server then is the page's own, so requests carry no ``Origin``, or one that equals ``Host``. The name in ``Host`` gives
it away: it is one that anybody can register. Addresses and names that only a private network can give are answered.

A server with keys answers to every name: such a page has no key.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from realtime.errors import ConfigError, PeerError
from realtime.transports.http.access import host_of, is_address
from realtime.transports.http.refusal import Refused, refusal

PRIVATE_SUFFIXES = (".localhost", ".local", ".lan", ".home.arpa", ".internal")
"""Names below these are in no public DNS: RFC 6761, 6762, 8375; ".internal" is reserved, ".lan" is not delegated."""

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes come under any name, and learn nothing but whether the server works."""


class Hosts:
    """The names in ``Host`` that are answered. ``allowed``: further ones; ``*`` is all."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Raises `ConfigError` for anything but names."""
        names = [name.lower().rstrip(".") for name in allowed]
        for name in names:
            if name != "*" and (host_of(name) != name or not name):
                raise ConfigError(
                    f"--allowed-hosts: {name!r} is not a name; expected a name without scheme, port and path, or *"
                )
        self._any = "*" in names
        self._allowed = {*names, socket.gethostname().lower(), socket.getfqdn().lower()}

    def admit(self, host: str) -> bool:
        """``host``: the header of this name; empty where there is none, which no browser sends."""
        if self._any or not host:
            return True
        name = host_of(host)
        if name is None:
            return False
        name = name.rstrip(".")
        return is_address(name) or "." not in name or name.endswith(PRIVATE_SUFFIXES) or name in self._allowed


class HostCheck:
    """ASGI middleware: answers 403 under a name that ``hosts`` does not admit."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in OPEN_PATHS:
            host = HTTPConnection(scope).headers.get("host", "")
            if not self._hosts.admit(host):
                message = (
                    f"This server has no API keys and does not answer to the name {host[:200]!r}: a page of somebody "
                    "else could reach it under such a name. Use its address, set an API key, or name it in "
                    "--allowed-hosts."
                )
                await refusal(Refused(403, PeerError("host_not_allowed", message)))(scope, receive, send)
                return
        await self._app(scope, receive, send)
