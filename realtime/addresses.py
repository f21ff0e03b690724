"""Addresses as settings name them."""

from __future__ import annotations

import re
from ipaddress import ip_address


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
