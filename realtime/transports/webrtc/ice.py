"""ICE for a server that answers offers: which address of the client is real, and whether the client is still there.

An agent has the controlled role and sends connectivity checks only in answer to the client's. The rules:

1. A request counts only with the call's user name and password, which are known from the answer alone. Everything else
   is dropped without a word.
2. It is answered, and the address it came from is checked in return (a triggered check, RFC 8445 section 7.3.1.4). An
   address is proven when it answers that check. So no media goes to an address that was only written into an offer, or
   forged as a sender.
3. The client nominates. The newest nominated and proven address is used, which follows a client through a NAT or to
   another network.
4. Every 2 s a check asks for consent to send on (RFC 7675). After 8 s without a word from the client it is gone.

Candidates of the offer are not used. A client reaches the server's candidates, never the other way round.

An agent reads no clock and opens no socket: times are arguments, packets go to a `Path`.
"""

from __future__ import annotations

import secrets
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from aioice import stun

from realtime.transports.webrtc.sdp import IceCredentials

Address = tuple[str, int]

CONSENT_S = 2.0
"""RFC 7675 has 5 s. Chromium pings every 2.5 s as well."""
GONE_S = 8.0
"""Four lost checks: a client that vanished is gone after 10 s with all that it held."""
LATEST_TICK_S = 1.0
CHECK_INTERVAL_S = 0.05
"""The least time between two checks of one address (Ta of RFC 8445)."""
MAX_CHECKS = 10
"""Checks of an address that has proven nothing yet."""
MAX_PATHS = 8
"""Addresses remembered of one client; the oldest that is not in use is forgotten."""
MAX_PENDING = 16
_PRIORITY = (110 << 24) + (65_535 << 8) + 255
"""Of the peer reflexive candidate that a check might teach (RFC 8445 section 5.1.2.1)."""
_ROLE_CONFLICT = (487, "Role Conflict")


class Socket(Protocol):
    """Sends datagrams from one local address."""

    def send(self, data: bytes, address: Address) -> None: ...


Path = tuple[Socket, Address]
"""One of the server's sockets and an address of the client."""


class Wire(Protocol):
    """Where an agent's checks are registered, so that the answers find it, and its proven paths."""

    def expect(self, transaction: bytes, agent: IceAgent) -> None: ...

    def forget(self, transaction: bytes) -> None: ...

    def proven(self, path: Path, agent: IceAgent) -> None: ...


class _Seen:
    """What is known of one path."""

    __slots__ = ("checked_at", "checks", "nominated", "proven")

    def __init__(self) -> None:
        self.proven = False
        self.nominated = False
        self.checks = 0
        self.checked_at = float("-inf")


def new_credentials() -> IceCredentials:
    """144 and 192 random bits. The user name is long enough to find the call by it."""
    return IceCredentials(secrets.token_hex(9), secrets.token_hex(12))


def parse(data: bytes) -> stun.Message | None:
    """The STUN message in a datagram; None for anything else."""
    try:
        return stun.parse_message(data)
    except (ValueError, struct.error):  # the library checks the lengths of addresses only
        return None


class IceAgent:
    """One client's. ``selected``: the path in use, None before it is proven."""

    def __init__(self, remote: IceCredentials, wire: Wire, now: float, on_selected: Callable[[], None]) -> None:
        """``now``: seconds of a monotonic clock, as all times here."""
        self.local = new_credentials()
        self.selected: Path | None = None
        self._remote = remote
        self._wire = wire
        self._on_selected = on_selected
        self._paths: OrderedDict[Path, _Seen] = OrderedDict()
        self._pending: OrderedDict[bytes, Path] = OrderedDict()
        self._heard_at = now
        self._ticked_at = now
        self._username = f"{self.local.ufrag}:{remote.ufrag}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that it knows."""
        return tuple(self._paths)

    def request(self, message: stun.Message, path: Path, now: float) -> None:
        """A binding request with the call's local user name arrived."""
        if not self._authentic(message):
            return
        if "ICE-CONTROLLED" in message.attributes:  # the client must control; it switches when told so
            self._answer(message, path, _ROLE_CONFLICT)
            return
        self._answer(message, path)
        seen = self._seen(path)
        seen.nominated |= "USE-CANDIDATE" in message.attributes
        if seen.proven:
            if path == self.selected:
                self._heard_at = now
            elif "USE-CANDIDATE" in message.attributes:
                self._select(path)
        elif seen.checks < MAX_CHECKS:
            self._check(path, seen, now)

    def response(self, message: stun.Message, path: Path, now: float) -> None:
        """An answer to one of its checks arrived."""
        asked = self._pending.get(message.transaction_id)
        if asked != path or not message.check_message_integrity(self._remote.password.encode()):
            return
        self._forget(message.transaction_id)
        seen = self._paths.get(path)
        if seen is None or message.message_class is not stun.Class.RESPONSE:
            return
        self._heard_at = now
        if not seen.proven:
            seen.proven = True
            self._wire.proven(path, self)
            if seen.nominated:
                self._select(path)

    def tick(self, now: float) -> None:
        """Ask for consent when it is time to. Call it at least every second: beyond that the server stood still, and
        what the client sent meanwhile is still to be read, so the time does not count as the client's silence."""
        self._heard_at += max(0.0, now - self._ticked_at - LATEST_TICK_S)
        self._ticked_at = now
        if self.selected is not None:
            seen = self._paths[self.selected]
            if now - seen.checked_at >= CONSENT_S:
                self._check(self.selected, seen, now)

    def is_gone(self, now: float) -> bool:
        """Whether nothing was heard of the client for too long."""
        return now - self._heard_at >= GONE_S

    def close(self) -> None:
        """Forget all checks."""
        for transaction in tuple(self._pending):
            self._forget(transaction)
        self.selected = None

    def _authentic(self, message: stun.Message) -> bool:
        attributes = message.attributes
        if attributes.get("USERNAME") != self._username or "MESSAGE-INTEGRITY" not in attributes:
            return False
        return message.check_message_integrity(self.local.password.encode())

    def _answer(self, request: stun.Message, path: Path, error: tuple[int, str] | None = None) -> None:
        kind = stun.Class.RESPONSE if error is None else stun.Class.ERROR
        answer = stun.Message(stun.Method.BINDING, kind, request.transaction_id)
        if error is None:
            answer.attributes["XOR-MAPPED-ADDRESS"] = path[1]
        else:
            answer.attributes["ERROR-CODE"] = error
        answer.add_message_integrity(self.local.password.encode())
        path[0].send(bytes(answer), path[1])

    def _seen(self, path: Path) -> _Seen:
        seen = self._paths.get(path)
        if seen is None:
            seen = self._paths[path] = _Seen()
            if len(self._paths) > MAX_PATHS:
                oldest = next(one for one in self._paths if one not in (self.selected, path))
                del self._paths[oldest]
        return seen

    def _check(self, path: Path, seen: _Seen, now: float) -> None:
        if now - seen.checked_at < CHECK_INTERVAL_S:
            return
        seen.checked_at = now
        seen.checks += 1
        check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        check.attributes["USERNAME"] = f"{self._remote.ufrag}:{self.local.ufrag}"
        check.attributes["PRIORITY"] = _PRIORITY
        check.attributes["ICE-CONTROLLED"] = 0  # the tie breaker: in a conflict it is always the client that controls
        check.add_message_integrity(self._remote.password.encode())
        if len(self._pending) >= MAX_PENDING:
            self._forget(next(iter(self._pending)))
        self._pending[check.transaction_id] = path
        self._wire.expect(check.transaction_id, self)
        path[0].send(bytes(check), path[1])

    def _forget(self, transaction: bytes) -> None:
        self._pending.pop(transaction, None)
        self._wire.forget(transaction)

    def _select(self, path: Path) -> None:
        if path != self.selected:
            self.selected = path
            self._on_selected()
