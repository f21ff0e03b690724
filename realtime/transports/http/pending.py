"""Connections that are not WebSockets (yet): how many there may be, and how long each may stay silent.

A listener counts a connection from `accept`, so one that never begins its TLS handshake counts as well. A connection
without a complete request head is silent, and is closed after `REQUEST_SECONDS`. When there are too many, the oldest
connection of the address that has the most is closed: whoever opens many takes room from himself only.
"""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Any

REQUEST_SECONDS = 10.0
"""Limit from the connection, or the last answer, to the end of a request's head, the TLS handshake included. Mobile
networks need seconds."""
MAX_PENDING = 512
"""The most connections that are no WebSockets, far below the usual limit of files."""
_IPV6_NETWORK_BITS = 64
"""What one IPv6 customer has: all its addresses count as one."""


def network_of(host: str) -> str:
    """The address, or for IPv6 its /64 network, under which connections are counted."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> 128 - _IPV6_NETWORK_BITS:x}::/{_IPV6_NETWORK_BITS}"


class GuardedListener(socket.socket):
    """A listening socket whose connections are in `PENDING` until they are upgraded or closed."""

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        connection = _Connection(fileno=accepted.detach())
        PENDING.accepted(connection, network_of(address[0]))
        return connection, address


class _Connection(socket.socket):
    """An accepted connection, which reports that it is closed."""

    def close(self) -> None:
        PENDING.closed(self)
        super().close()


class PendingConnections:
    """The connections of this process, by their file numbers. Those of other listeners are unknown and ignored."""

    def __init__(self) -> None:
        self._networks: defaultdict[str, dict[int, _Connection]] = defaultdict(dict)
        self._network_of: dict[int, str] = {}
        self._deadlines: dict[int, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._network_of)

    @property
    def silent(self) -> int:
        """How many have sent no complete request head."""
        return len(self._deadlines)

    def accepted(self, connection: _Connection, network: str) -> None:
        """A connection came. Closes another when there are too many."""
        number = connection.fileno()
        self._networks[network][number] = connection
        self._network_of[number] = network
        self.await_request(number)
        if len(self) > MAX_PENDING:
            most = max(self._networks.values(), key=len)
            self._end(next(iter(most)))

    def await_request(self, number: int) -> None:
        """The next request must come in time."""
        self.request_came(number)
        if number in self._network_of:
            loop = asyncio.get_running_loop()
            self._deadlines[number] = loop.call_later(REQUEST_SECONDS, self._end, number)

    def request_came(self, number: int) -> None:
        """The connection is no longer silent."""
        deadline = self._deadlines.pop(number, None)
        if deadline is not None:
            deadline.cancel()

    def upgraded(self, number: int) -> None:
        """The connection is a WebSocket, whose number is limited by admission."""
        self.request_came(number)
        network = self._network_of.pop(number, None)
        if network is not None:
            self._networks[network].pop(number)
            if not self._networks[network]:
                del self._networks[network]

    def closed(self, connection: _Connection) -> None:
        """The connection ends now."""
        number = connection.fileno()
        network = self._network_of.get(number)
        if network is not None and self._networks[network][number] is connection:
            self.upgraded(number)

    def _end(self, number: int) -> None:
        """Close it. The event loop sees the end of the stream and frees what belongs to it."""
        connection = self._networks[self._network_of[number]][number]
        self.upgraded(number)
        with suppress(OSError):  # the peer was faster
            connection.shutdown(socket.SHUT_RDWR)


PENDING = PendingConnections()
"""Those of this process."""
