"""The UDP sockets that all calls share: one on each local address, all on one port.

A connectivity check finds its call by the user name, an answer to a check by its transaction, and everything else by an
address that has proven itself (`realtime.transports.webrtc.ice`). Anything else is dropped.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import ifaddr
from aioice import stun

from realtime.errors import ConfigError
from realtime.transports.webrtc.ice import Address, IceAgent, Path, parse
from realtime.transports.webrtc.sdp import Candidate

logger = logging.getLogger(__name__)

RECEIVE_BUFFER = 4 * 2**20
"""Bytes the kernel may hold for all calls while the event loop is busy: half a minute of a call's packets."""
MAX_DATAGRAM = 1500
PACKETS_PER_S = 1000.0
"""A call has 50 packets of audio a second and few events. What comes above this rate is dropped unread."""
STUN_TRIES = 3
_HOST, _SERVER_REFLEXIVE, RELAYED = 126, 100, 0
"""Type preferences of candidates (RFC 8445 section 5.1.2.2)."""


@dataclass(frozen=True, slots=True)
class UdpConfig:
    """``addresses``: to listen on and to offer; none: those of all interfaces, and loopback where ``loopback``, or
    where there is no other. ``port``: 0: any free one. ``advertised``: addresses to offer in place of those.
    ``stun_server``: asked for the address that a NAT shows; None: none."""

    addresses: tuple[str, ...] = ()
    port: int = 0
    advertised: tuple[str, ...] = ()
    stun_server: Address | None = None
    loopback: bool = False


class Receiver:
    """The call at the end of a route. ``data``: called with each datagram that is no STUN."""

    __slots__ = ("_allowance", "_at", "data")

    def __init__(self, data: Callable[[bytes], None]) -> None:
        self.data = data
        self._allowance = PACKETS_PER_S
        self._at = 0.0

    def admits(self, now: float) -> bool:
        """Whether one more datagram is within the rate."""
        self._allowance = min(PACKETS_PER_S, self._allowance + (now - self._at) * PACKETS_PER_S)
        self._at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


_Route = tuple[IceAgent, Receiver]


class UdpSocket(asyncio.DatagramProtocol):
    """One of the sockets. `realtime.transports.webrtc.ice.Socket`."""

    def __init__(self, mux: UdpMux) -> None:
        self._mux = mux
        self._transport: asyncio.DatagramTransport | None = None
        self._closing = False
        self._closed = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> Address:
        """The local one."""
        assert self._transport is not None
        name = self._transport.get_extra_info("sockname")
        return name[0], name[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        if not self._closed.done():
            self._closed.set_result(None)

    def error_received(self, error: Exception) -> None:
        """An address that nobody listens at any more; consent runs out there."""

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._mux.received(data, (self, (address[0], address[1])))

    def send(self, data: bytes, address: Address) -> None:
        """Hand a datagram to the kernel. One that does not fit into its buffer is lost, as on any network."""
        if self._transport is not None and not self._closing:
            self._transport.sendto(data, address)

    async def close(self) -> None:
        if self._transport is not None:
            self._closing = True
            self._transport.close()
            await self._closed


class UdpMux:
    """All sockets and the calls behind them. `realtime.transports.webrtc.ice.Wire`."""

    def __init__(self, config: UdpConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._sockets: list[UdpSocket] = []
        self._users: dict[str, _Route] = {}
        self._checks: dict[bytes, _Route] = {}
        self._routes: dict[Path, _Route] = {}
        self._queries: dict[bytes, asyncio.Future[stun.Message]] = {}
        self._candidates: tuple[Candidate, ...] = ()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Where clients reach this server, the best first."""
        return self._candidates

    @property
    def load(self) -> tuple[int, int, int]:
        """Calls, routes and checks that are open."""
        return len(self._users), len(self._routes), len(self._checks)

    async def open(self) -> None:
        """Open the sockets and find out the candidates. Raises `ConfigError` when nothing can be opened."""
        addresses = self._config.addresses or host_addresses(loopback=self._config.loopback)
        port, faults = self._config.port, []
        for address in addresses:
            try:
                opened = await self._open(address, port)
            except OSError as error:
                faults.append(f"{address} port {port}: {error.strerror}")
                continue
            port = port or opened.address[1]  # the same on every address: firewalls know one number
            self._sockets.append(opened)
        for fault in faults:
            logger.warning("no WebRTC on %s", fault)
        if not self._sockets:
            raise ConfigError(f"no UDP socket could be opened for WebRTC ({'; '.join(faults) or 'no address'})")
        self._candidates = await self._find_candidates()

    async def _open(self, address: str, port: int) -> UdpSocket:
        loop = asyncio.get_running_loop()
        transport, opened = await loop.create_datagram_endpoint(lambda: UdpSocket(self), local_addr=(address, port))
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        return opened

    async def _find_candidates(self) -> tuple[Candidate, ...]:
        locals_ = [one.address for one in self._sockets]
        if self._config.advertised:
            return tuple(_ranked([(address, locals_[0][1]) for address in self._config.advertised], "host", _HOST))
        found = list(_ranked(locals_, "host", _HOST))
        if self._config.stun_server is not None:
            queries = [self._public_address(one) for one in self._sockets if ":" not in one.address[0]]
            public = [one for one in await asyncio.gather(*queries) if one is not None]
            if not public:
                logger.warning("the STUN server %s:%d does not answer", *self._config.stun_server)
            found += _ranked([one for one in public if one not in locals_], "srflx", _SERVER_REFLEXIVE)
        return tuple(found)

    async def _public_address(self, through: UdpSocket) -> Address | None:
        """How a STUN server sees this socket; None if it does not answer."""
        assert self._config.stun_server is not None
        host, port = self._config.stun_server
        query = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        answer: asyncio.Future[stun.Message] = asyncio.get_running_loop().create_future()
        self._queries[query.transaction_id] = answer
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET)
            for attempt in range(STUN_TRIES):
                through.send(bytes(query), found[0][4][:2])  # type: ignore[arg-type]
                done, _ = await asyncio.wait([answer], timeout=0.25 * 2**attempt)
                if done:
                    seen: Address | None = answer.result().attributes.get("XOR-MAPPED-ADDRESS")
                    return seen
        except OSError as error:
            logger.warning("the STUN server %s cannot be reached: %s", host, error.strerror)
        finally:
            del self._queries[query.transaction_id]
        return None

    async def close(self) -> None:
        """Close the sockets."""
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            await one.close()

    # Calls

    def add(self, agent: IceAgent, receiver: Receiver) -> None:
        """Take checks with this agent's user name."""
        self._users[agent.local.ufrag] = agent, receiver

    def remove(self, agent: IceAgent) -> None:
        """Forget the agent and its routes."""
        agent.close()
        self._users.pop(agent.local.ufrag, None)
        for path in agent.paths:
            if path in self._routes and self._routes[path][0] is agent:
                del self._routes[path]

    def expect(self, transaction: bytes, agent: IceAgent) -> None:
        if (route := self._users.get(agent.local.ufrag)) is not None:
            self._checks[transaction] = route

    def forget(self, transaction: bytes) -> None:
        self._checks.pop(transaction, None)

    def proven(self, path: Path, agent: IceAgent) -> None:
        self._routes[path] = self._users[agent.local.ufrag]

    def received(self, data: bytes, path: Path) -> None:
        """A datagram arrived."""
        if not 0 < len(data) <= MAX_DATAGRAM:
            return
        now = self._clock()
        if data[0] > 3:  # STUN begins with two zero bits (RFC 7983)
            route = self._routes.get(path)
            if route is not None and route[1].admits(now):
                route[1].data(data)
        elif (message := parse(data)) is not None and message.message_method is stun.Method.BINDING:
            self._received_stun(message, path, now)

    def _received_stun(self, message: stun.Message, path: Path, now: float) -> None:
        if message.message_class is stun.Class.REQUEST:
            user = self._users.get(str(message.attributes.get("USERNAME", "")).partition(":")[0])
            if user is not None and user[1].admits(now):
                user[0].request(message, path, now)
        elif (query := self._queries.get(message.transaction_id)) is not None:
            if not query.done():
                query.set_result(message)
        elif (asked := self._checks.get(message.transaction_id)) is not None:
            asked[0].response(message, path, now)


def host_addresses(*, loopback: bool) -> tuple[str, ...]:
    """The addresses of all interfaces, IPv4 first, without link-local ones. ``loopback``: those, too; they are all
    that there is on a machine without a network."""
    found: list[str] = []
    local: list[str] = []
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            address = ipaddress.ip_address(one.ip if isinstance(one.ip, str) else one.ip[0])
            if not (address.is_link_local or address.is_multicast or address.is_unspecified):
                (local if address.is_loopback else found).append(str(address))
    chosen = found + local if loopback or not found else found
    return tuple(sorted(dict.fromkeys(chosen), key=lambda address: ":" in address))


def _ranked(addresses: Sequence[Address], kind: str, preference: int) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(address, port, kind, candidate_priority(preference, number))
        for number, (address, port) in enumerate(addresses)
    )


def candidate_priority(preference: int, number: int = 0) -> int:
    """Of the candidate of this type preference that is preferred to all but ``number`` (RFC 8445 section 5.1.2.1)."""
    return (preference << 24) + ((65_535 - number) << 8) + 255
