"""The shared UDP sockets: candidates, the address that a NAT shows, and what strangers get."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("aiortc")

import ifaddr
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from realtime.app import open_webrtc
from realtime.config import Settings
from realtime.errors import ConfigError
from realtime.transports.http.metrics_page import ServerMetrics
from realtime.transports.webrtc import udp as udp_module
from realtime.transports.webrtc.udp import MAX_DATAGRAM, PACKETS_PER_S, Receiver, UdpConfig, UdpMux, host_addresses


@asynccontextmanager
async def opened(**config: object) -> AsyncIterator[UdpMux]:
    mux = UdpMux(UdpConfig(addresses=("127.0.0.1",), **config))  # type: ignore[arg-type]
    await mux.open()
    try:
        yield mux
    finally:
        await mux.close()


async def test_advertised_addresses_replace_the_local_ones() -> None:
    async with opened(advertised=("203.0.113.7", "2001:db8::1")) as mux:
        port = mux._sockets[0].address[1]
        assert [(one.address, one.port) for one in mux.candidates] == [("203.0.113.7", port), ("2001:db8::1", port)]
        assert mux.candidates[0].priority > mux.candidates[1].priority


async def test_a_taken_port_is_a_config_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConfigError, match="no UDP socket could be opened for WebRTC"):
            async with opened(port=taken.getsockname()[1]):
                pass


class StunServer(asyncio.DatagramProtocol):
    """Tells everybody that it is 203.0.113.7:7000."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = stun.parse_message(data)
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, query.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.7", 7000)
        self.transport.sendto(bytes(answer), address)


async def test_the_public_address_comes_from_stun() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    async with opened(stun_server=transport.get_extra_info("sockname")) as mux:
        host, reflexive = mux.candidates
        assert (host.kind, reflexive.kind) == ("host", "srflx")
        assert (reflexive.address, reflexive.port) == ("203.0.113.7", 7000)
        assert "typ srflx raddr 0.0.0.0" in reflexive.line(2)
    transport.close()


async def test_a_silent_stun_server_costs_a_candidate_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "STUN_TRIES", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with opened(stun_server=silent.getsockname()) as mux:
            assert [one.kind for one in mux.candidates] == ["host"]


def interfaces(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def adapters() -> list[ifaddr.Adapter]:
        ips = [
            ifaddr.IP((one, 0, 0) if ipaddress.ip_address(one).version == 6 else one, 24, "eth0")  # type: ignore[arg-type]
            for one in addresses
        ]
        return [ifaddr.Adapter("eth0", "eth0", ips)]

    monkeypatch.setattr(ifaddr, "get_adapters", adapters)


def test_loopback_is_offered_where_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces(monkeypatch, "fe80::1", "2001:db8::2", "127.0.0.1", "192.0.2.5", "::1")
    assert host_addresses(loopback=False) == ("192.0.2.5", "2001:db8::2")
    assert host_addresses(loopback=True) == ("192.0.2.5", "127.0.0.1", "2001:db8::2", "::1")
    interfaces(monkeypatch, "127.0.0.1", "::1")
    assert host_addresses(loopback=False) == ("127.0.0.1", "::1")


async def test_strangers_are_dropped_without_an_answer() -> None:
    async with opened() as mux:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.setblocking(False)
            check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            check.attributes["USERNAME"] = "some:body"
            for data in (bytes(check), b"", b"\x16\xfe\xfd" + bytes(50), bytes(MAX_DATAGRAM + 1), b"\x80" + bytes(40)):
                stranger.sendto(data, mux._sockets[0].address)
            await asyncio.sleep(0.1)
            with pytest.raises(BlockingIOError):
                stranger.recv(2048)
        assert mux.load == (0, 0, 0)


def test_packets_above_the_rate_are_dropped() -> None:
    receiver = Receiver(lambda data: None)
    assert sum(receiver.admits(1000.0) for _ in range(5000)) == PACKETS_PER_S
    assert not receiver.admits(1000.0)
    assert sum(receiver.admits(1000.5) for _ in range(5000)) == PACKETS_PER_S / 2


async def test_webrtc_can_be_switched_off() -> None:
    assert await open_webrtc(Settings(webrtc=False), ServerMetrics()) is None
    answerer = await open_webrtc(Settings(webrtc_addresses="127.0.0.1"), ServerMetrics())
    assert answerer is not None
    await answerer.close()


HEADERS = st.sampled_from([b"\0\1", b"\1\1", b"\1\x11", b"\0\x11", b"\x3f\xff"])
USER = b"\0\6\0\4user"


@given(HEADERS, st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=24))), st.booleans())
def test_any_message_is_taken_or_dropped(kind: bytes, attributes: list[tuple[int, bytes]], named: bool) -> None:
    body = b"".join(
        type_.to_bytes(2) + len(value).to_bytes(2) + value + bytes(-len(value) % 4) for type_, value in attributes
    )
    body = USER * named + body
    mux = UdpMux(UdpConfig())
    mux.received(kind + len(body).to_bytes(2) + b"!\x12\xa4B" + bytes(12) + body, (NoSocket(), ("192.0.2.1", 5)))
    assert mux.load == (0, 0, 0)


@given(st.binary(max_size=100))
def test_any_datagram_is_taken_or_dropped(data: bytes) -> None:
    UdpMux(UdpConfig()).received(data, (NoSocket(), ("192.0.2.1", 5)))


class NoSocket:
    def send(self, data: bytes, address: tuple[str, int]) -> None:
        raise AssertionError("a stranger was answered")


async def test_without_the_extra_webrtc_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "realtime.transports.webrtc.answerer", None)
    assert await open_webrtc(Settings(), ServerMetrics()) is None
