"""Whose share of the machine pays for work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Payer:
    """A session and the API key that it belongs to (without keys: the client's address). Engine and vocoder divide
    their time equally between keys, and each key's between its sessions."""

    session: str = ""
    key: str = ""


NOBODY = Payer()
"""Of work that belongs to no session."""
