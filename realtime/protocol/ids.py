"""Ids on the wire: unique, short, and predictable in tests."""

from __future__ import annotations

import secrets
import string
from collections import Counter

_ALPHABET = string.ascii_letters + string.digits
_TOKEN_CHARACTERS = 16
"""16 characters of 62 are 95 bits: no two sessions share a token, in any process."""
_SECRET_CHARACTERS = 22
"""131 bits: cannot be guessed."""
_SHOWN_CHARACTERS = 8

_MOST_DIGITS = 16
"""Longer counters were not made by this process."""


def random_token(characters: int = _TOKEN_CHARACTERS) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))


def shown_session_id(session_id: str) -> str:
    """The beginning of a session's id, as the log has it (`realtime.logs`): it tells sessions apart, and does not let
    anybody attach."""
    prefix, _, random = session_id.partition("_")
    return f"{prefix}_{random[:_SHOWN_CHARACTERS]}"


def webrtc_call_id() -> str:
    """The id of a call over WebRTC. It cannot be guessed, because it lets others attach, like a session's id."""
    return f"rtc_{random_token(_SECRET_CHARACTERS)}"


class Ids:
    """The ids of one session: ``item_TOKEN1``, ``item_TOKEN2``, …, each kind counted by itself.

    ``token`` distinguishes sessions; tests give a fixed one. These ids grant nothing, so they may be guessed from each
    other. The session's own id is a secret: on a server without keys, whoever knows it may attach to the session
    (``?call_id=``). It has its own random characters, and no other id reveals it.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = random_token() if token is None else token
        self._session = f"{token}1" if token is not None else random_token(_SECRET_CHARACTERS)
        self._counts: Counter[str] = Counter()
        self._calls_beside: set[str] = set()

    @classmethod
    def from_seed(cls, token: str, session: str) -> Ids:
        """The same ids again as those of another `Ids`, by its `seed`."""
        ids = cls(token)
        ids._session = session
        return ids

    @property
    def seed(self) -> tuple[str, str]:
        """What `from_seed` takes."""
        return self._token, self._session

    def session(self) -> str:
        """Always the same."""
        return f"sess_{self._session}"

    def conversation(self) -> str:
        """Always the same: a session has one conversation."""
        return f"conv_{self._token}"

    def event(self) -> str:
        return self._next("event")

    def item(self) -> str:
        return self._next("item")

    def is_future_item(self, item_id: str) -> bool:
        """Whether `item` will give this id to a later item: no client may take it before."""
        return self._is_future("item", item_id)

    def response(self) -> str:
        return self._next("resp")

    def call(self) -> str:
        """The id of a function call, which its output item refers to."""
        return self._next("call")

    def call_beside(self) -> str:
        """The same for a call out of band. It is remembered here, since no item of the conversation has it."""
        call_id = self.call()
        self._calls_beside.add(call_id)
        return call_id

    def is_call_beside(self, call_id: str) -> bool:
        """Whether `call_beside` gave this id."""
        return call_id in self._calls_beside

    def is_future_call(self, call_id: str) -> bool:
        """Whether `call` will give this id to a later call."""
        return self._is_future("call", call_id)

    def _is_future(self, kind: str, name: str) -> bool:
        prefix = f"{kind}_{self._token}"
        number = name.removeprefix(prefix)
        if number == name or not number.isascii() or not number.isdecimal():
            return False
        return len(number) < _MOST_DIGITS and int(number) > self._counts[kind]

    def _next(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}_{self._token}{self._counts[kind]}"
