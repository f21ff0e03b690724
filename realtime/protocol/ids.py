"""Names for things on the wire: unique, short, and predictable in tests."""

from __future__ import annotations

import secrets
import string
from collections import Counter

_ALPHABET = string.ascii_letters + string.digits
_TOKEN_CHARACTERS = 16
"""16 characters of 62: 95 bits, so that no two sessions ever share a name, in any process."""

_MOST_DIGITS = 16
"""No session counts so far."""


def random_token() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN_CHARACTERS))


class Ids:
    """The ids of one session: ``item_TOKEN1``, ``item_TOKEN2``, …, each kind counted by itself.

    ``token`` tells sessions apart; give a fixed one in tests. Ids name things, they grant nothing: they need
    not be hard to guess.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = random_token() if token is None else token
        self._counts: Counter[str] = Counter()

    def session(self) -> str:
        return self._next("sess")

    def conversation(self) -> str:
        """Always the same: a session has one conversation."""
        return f"conv_{self._token}"

    def event(self) -> str:
        return self._next("event")

    def item(self) -> str:
        return self._next("item")

    def is_future_item(self, item_id: str) -> bool:
        """Whether `item` will give this id to a later item: no client may take it before."""
        prefix = f"item_{self._token}"
        number = item_id.removeprefix(prefix)
        if number == item_id or not number.isascii() or not number.isdecimal():
            return False
        return len(number) < _MOST_DIGITS and int(number) > self._counts["item"]

    def response(self) -> str:
        return self._next("resp")

    def call(self) -> str:
        """The id of a function call, which its output item refers to."""
        return self._next("call")

    def _next(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}_{self._token}{self._counts[kind]}"
