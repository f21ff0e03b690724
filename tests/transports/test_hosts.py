"""DNS rebinding: a server without keys answers only to names that nobody else can register."""

from __future__ import annotations

import asyncio
import socket

import pytest

from realtime.errors import ConfigError
from realtime.transports.http.access import Access, ApiKeys, Origins
from realtime.transports.http.hosts import Hosts
from tests.transports.test_guards import UPGRADE
from tests.transports.test_server import Server, serving


@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("localhost:8765", True),
        ("127.0.0.1:8765", True),
        ("[::1]:8765", True),
        ("192.168.1.5", True),
        ("voice", True),
        ("voice.lan", True),
        ("Printer.LOCAL.", True),
        (socket.gethostname(), True),
        ("voice.example.org", True),
        ("VOICE.example.org:443", True),
        ("", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example:8765", False),
        ("evil.example.", False),
        ("evil.example#.lan", False),
        ("evil.example/x.lan", False),
        ("evil.example@localhost", True),  # for a URL that is localhost
        ("[::1", False),
        ("a:b:c", False),
    ],
)
def test_only_private_and_allowed_names_are_answered(host: str, admitted: bool) -> None:
    assert Hosts(["voice.example.org"]).admit(host) is admitted


@pytest.mark.parametrize("name", ["https://voice.example", "voice.example:80", "voice.example/x", ""])
def test_allowed_hosts_must_be_names(name: str) -> None:
    with pytest.raises(ConfigError, match="allowed-hosts"):
        Hosts([name])


def test_a_star_allows_every_name() -> None:
    assert Hosts(["*"]).admit("evil.example")


@pytest.mark.parametrize("path", ["/v1/realtime/turns", "/v1/models", "/v1/audio/voices", "/"])
async def test_rebound_requests_are_refused_without_origin(path: str) -> None:
    async with serving() as server:
        status, body = await server.get(path, Host="evil.example:8765")
        assert (status, body["error"]["code"]) == (403, "host_not_allowed")
        assert "--allowed-hosts" in body["error"]["message"]


async def test_rebound_sockets_are_refused() -> None:
    async with serving() as server:
        assert b" 403 " in await upgrade(server, "evil.example")
        assert b" 101 " in await upgrade(server, "localhost")


async def upgrade(server: Server, host: str, *headers: str, path: str = "/v1/realtime") -> bytes:
    """The status line of a WebSocket handshake under this name."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.http.rpartition(":")[2]))
    request = UPGRADE.replace(b"Host: x", "\r\n".join([f"Host: {host}", *headers]).encode())
    writer.write(request.replace(b"/v1/realtime", path.encode(), 1))
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return line


async def test_probes_come_under_any_name() -> None:
    async with serving() as server:
        assert (await server.get("/healthz", Host="probe.cluster.example"))[0] == 200


async def test_allowed_names_and_origins_are_answered() -> None:
    access = Access(origins=Origins(["https://app.example.org"]), hosts=["voice.example.org"])
    async with serving(access=access) as server:
        for host in ("voice.example.org", "app.example.org:8765"):
            assert (await server.get("/v1/models", Host=host))[0] == 200
        assert (await server.get("/v1/models", Host="evil.example"))[0] == 403


async def test_keys_make_every_name_safe() -> None:
    async with serving(access=Access(ApiKeys.read(["k1"], "test"))) as server:
        assert b" 101 " in await upgrade(server, "voice.example.org", "Authorization: Bearer k1")
