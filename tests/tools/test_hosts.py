"""Which hosts a session may make the server contact."""

from __future__ import annotations

import pytest

from realtime.tools.hosts import HostPolicy


@pytest.mark.parametrize(
    ("setting", "url", "allowed"),
    [
        ("", "https://example.org/mcp", False),
        ("example.org", "https://example.org/mcp", True),
        ("example.org", "http://EXAMPLE.org:8080/mcp", True),
        ("example.org", "https://evil-example.org/mcp", False),
        ("example.org", "https://example.org.evil.net/mcp", False),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/mcp", True),
        ("127.0.0.1:9000", "http://127.0.0.1:9001/mcp", False),
        ("*.example.org", "https://a.example.org/mcp", True),
        ("*.example.org", "https://example.org/mcp", False),
        ("*.example.org", "http://a.example.org/mcp", False),
        ("a.net, *", "https://anything.net", True),
        ("*", "http://anything.net", False),
        ("*", "file:///etc/passwd", False),
        ("*", "https://user:password@example.org/", False),
        ("*", "https://", False),
        ("*", "https://[::1", False),
        ("*", "https://host:port/", False),
    ],
)
def test_a_rule_names_hosts(setting: str, url: str, allowed: bool) -> None:
    assert (HostPolicy.read(setting).refusal(url) is None) is allowed


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["::1"], ["fe80::1%eth0"], ["fd00::1"], ["::ffff:10.0.0.1"],
     ["0.0.0.0"], ["224.0.0.1"], ["93.184.216.34", "192.168.0.1"], []],
)  # fmt: skip
def test_wildcards_do_not_lead_into_private_networks(addresses: list[str]) -> None:
    assert HostPolicy.read("*").choose_address("innocent.net", 443, addresses) is None


def test_public_addresses_and_exact_hosts_are_connected_to() -> None:
    assert HostPolicy.read("*").choose_address("a.net", 443, ["93.184.216.34"]) == "93.184.216.34"
    assert HostPolicy.read("localhost").choose_address("localhost", 80, ["127.0.0.1"]) == "127.0.0.1"
