"""Connections that send nothing: one address cannot keep others out, with TLS or without."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from realtime.transports.http import guards, pending
from realtime.transports.http.pending import PENDING, network_of
from realtime.transports.http.self_signed import write_self_signed
from tests.fakes import reply
from tests.transports.test_guards import HEAD, UPGRADE, answer_of, end_of, talks
from tests.transports.test_server import Server, expect, serving

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def raw(port: int, source: str) -> Connection:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


def port_of(server: Server) -> int:
    return int(server.http.rpartition(":")[2])


async def test_silence_of_one_address_spares_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 8)
    async with serving(reply("Hi.")) as server:
        silent = [await raw(port_of(server), "127.0.0.2") for _ in range(20)]
        other = await raw(port_of(server), "127.0.0.3")
        assert len(PENDING) <= 8
        await talks(server)
        other[1].write(HEAD + b"\r\n")
        assert b"200 OK" in await answer_of(other[0])
        assert await end_of(silent[0][0]) == b""  # the oldest went first
        for _, writer in [*silent, other]:
            writer.close()


@pytest.mark.parametrize(
    "sent", [b"", HEAD, b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"]
)
async def test_any_unfinished_request_counts_as_pending(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 4)
    async with serving(reply("Hi.")) as server:
        held = [await raw(port_of(server), "127.0.0.2") for _ in range(12)]
        for _, writer in held:
            writer.write(sent)
        async with asyncio.timeout(10):
            while len(PENDING) > 4:
                await asyncio.sleep(0.01)
        await talks(server)
        for _, writer in held:
            writer.close()


async def test_connections_without_tls_handshake_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setattr(pending, "MAX_PENDING", 8)
    async with serving(reply("Hi."), tls=write_self_signed(tmp_path, ["localhost"])) as server:
        port = port_of(server)
        held = [await raw(port, "127.0.0.2") for _ in range(20)]
        assert len(PENDING) <= 8
        context = ssl.create_default_context(cafile=None)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        async with connect(f"wss://127.0.0.1:{port}/v1/realtime", ssl=context) as ws:
            await expect(ws, "session.created")
        monkeypatch.setattr(pending, "REQUEST_SECONDS", 0.1)
        late = await raw(port, "127.0.0.3")
        assert await end_of(late[0]) == b""
        for _, writer in [*held, late]:
            writer.close()


async def test_closed_connections_are_forgotten() -> None:
    async with serving(reply("Hi.")) as server:
        for _ in range(5):
            _, writer = await raw(port_of(server), "127.0.0.2")
            writer.close()
        async with connect(server.url) as ws:
            await expect(ws, "session.created")
        async with asyncio.timeout(10):
            while len(PENDING):
                await asyncio.sleep(0.01)
        assert not PENDING.silent


async def test_peers_that_do_not_answer_close_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "CLOSE_SECONDS", 0.1)
    async with serving() as server:
        reader, writer = await raw(port_of(server), "127.0.0.2")
        writer.write(UPGRADE)
        await reader.readuntil(b"session.created")
        for lease in server.host.sessions._leases:
            lease.end_session()
        assert b"server_draining" in await end_of(reader)
        writer.close()


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2::5", "20010db800010002::/64"),
        ("fe80::1%eth0", "fe80000000000000::/64"),
        ("", ""),
    ],
)
def test_ipv6_customers_count_as_one(host: str, network: str) -> None:
    assert network_of(host) == network
