"""`X-Forwarded-For` names the caller only where a proxy that the operator named has written it."""

from __future__ import annotations

import asyncio

import pytest

from realtime.errors import ConfigError
from realtime.transports.http.http import build_app
from realtime.transports.http.server import listen, web_server
from tests.fakes import FakeEngine
from tests.transports.test_guards import UPGRADE
from tests.transports.test_server import FakeHost


async def caller_behind(proxies: list[str], forwarded: str) -> str:
    """The name under which a session that comes with this ``X-Forwarded-For`` has its quota."""
    host = FakeHost(FakeEngine())
    with listen("127.0.0.1", 0) as listener:
        server = web_server(build_app(host, None), proxies=proxies)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        writer.write(UPGRADE.replace(b"Host: x", f"Host: x\r\nX-Forwarded-For: {forwarded}".encode()))
        async with asyncio.timeout(10):
            await reader.readuntil(b"session.created")
        (name,) = host.quotas._quotas
        writer.close()
        server.should_exit = True
        await task
    return name


async def test_peers_that_are_no_proxies_are_not_believed() -> None:
    assert await caller_behind([], "203.0.113.9") == "address:127.0.0.1"
    assert await caller_behind(["10.0.0.0/8"], "203.0.113.9") == "address:127.0.0.1"


async def test_named_proxies_are_believed() -> None:
    assert await caller_behind(["127.0.0.1"], "203.0.113.9") == "address:203.0.113.9"


async def test_the_rightmost_untrusted_address_counts() -> None:
    forwarded = "198.51.100.1, 203.0.113.9, 10.1.2.3"  # the first was written by the caller itself
    assert await caller_behind(["127.0.0.0/8", "10.0.0.0/8"], forwarded) == "address:203.0.113.9"


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.0/33", "10.0.0.1/8", "*"])
def test_proxies_must_be_addresses_or_networks(proxy: str) -> None:
    with pytest.raises(ConfigError, match="trusted-proxies"):
        web_server(build_app(FakeHost(FakeEngine()), None), proxies=[proxy])
