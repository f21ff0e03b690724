"""Which hosts a session may make this server contact. No I/O: the caller looks up addresses.

There are none by default, because a server that fetches addresses of its clients can be used against its own network. A
rule is a list: ``mcp.example.org``, ``10.0.0.5:9000``, ``*.example.org``, ``*``. A host that is named exactly may be
any machine, this one included. A host that only a wildcard matches must have public addresses and use TLS.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """``exact``: hosts, or hosts with a port. ``suffixes``: allowed ends of hosts; ``""`` is any host."""

    exact: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()

    @classmethod
    def read(cls, setting: str) -> HostPolicy:
        names = [name.casefold() for name in setting.replace(",", " ").split()]
        return cls(
            frozenset(name for name in names if not name.startswith("*")),
            tuple(name[1:] for name in names if name.startswith("*")),
        )

    def refusal(self, url: str) -> str | None:
        """Why this address is refused, as far as its text shows; None: it is allowed."""
        try:
            parts = urlsplit(url)
            port = _port(parts)
        except ValueError:
            return "It is no URL."
        host = (parts.hostname or "").casefold()
        if parts.scheme not in _PORTS or not host:
            return "It is no http or https URL."
        if parts.username or parts.password:
            return "Its URL holds a password; use 'authorization' or 'headers'."
        if self.trusts(host, port):
            return None
        if not any(host.endswith(suffix) for suffix in self.suffixes):
            return f"The host {host[:80]!r} is not among those that this server may contact (its setting mcp_hosts)."
        return None if parts.scheme == "https" else f"{host[:80]!r} must be spoken to over https."

    def trusts(self, host: str, port: int) -> bool:
        """Whether the rule names this host exactly, so that its addresses do not matter."""
        host = host.casefold()
        return host in self.exact or f"{host}:{port}" in self.exact

    def choose_address(self, host: str, port: int, addresses: Sequence[str]) -> str | None:
        """The address to connect to; None: the name resolves to a private network."""
        if not addresses:
            return None
        if not self.trusts(host, port) and not all(map(_is_public, addresses)):
            return None
        return addresses[0]


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS.get(parts.scheme, 0)


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast
