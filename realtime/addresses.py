"""Addresses as settings name them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal


def stun_address(text: str) -> tuple[str, int] | None:
    """``HOST[:PORT]`` -> host and port; None for an empty text. Raises `ValueError`."""
    if not text:
        return None
    host, _, port = text.removeprefix("stun:").partition(":")
    if not re.fullmatch(r"[\w.-]+", host) or not re.fullmatch(r"\d{0,5}", port) or not 0 < int(port or 3478) < 65_536:
        raise ValueError(f"{text[:60]!r} is not HOST or HOST:PORT")
    return host, int(port or 3478)


def ip_addresses(text: str) -> tuple[str, ...]:
    """The addresses of a comma-separated list. Raises `ValueError`, which names what is none."""
    return tuple(str(ip_address(word)) for word in text.replace(",", " ").split())


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A TURN server and the account on it. ``tls``: only over TCP."""

    host: str
    port: int
    transport: Literal["udp", "tcp"] = "udp"
    tls: bool = False
    username: str = ""
    password: str = ""


def turn_server(text: str) -> TurnServer | None:
    """``turn:HOST[:PORT][?transport=tcp]`` or ``turns:…`` (RFC 7065); None for an empty text. Raises `ValueError`."""
    if not text:
        return None
    match = re.fullmatch(r"(turns?):([\w.-]+)(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?", text)
    tls = match is not None and match[1] == "turns"
    port = int((match and match[3]) or (5349 if tls else 3478))
    if match is None or not 0 < port < 65_536 or (tls and match[4] == "udp"):
        raise ValueError(f"{text[:60]!r} is not turn:HOST[:PORT][?transport=tcp] or turns:HOST[:PORT]")
    return TurnServer(match[2], port, "tcp" if tls or match[4] == "tcp" else "udp", tls)
