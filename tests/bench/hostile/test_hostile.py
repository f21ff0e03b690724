"""`realtime bench hostile`: what it counts, whom it attacks, and a short run against a scripted server."""

from __future__ import annotations

import pytest

from realtime.bench.hostile.attacks import attacking, check_loopback
from realtime.bench.hostile.honest import Playback, Suffering, honest_callers
from realtime.errors import ConfigError
from tests.transports.test_server import serving


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8765/v1/realtime", "ws://localhost/v1", "ws://[::1]:1/"])
def test_servers_on_this_machine_are_attacked(url: str) -> None:
    check_loopback(url)


@pytest.mark.parametrize("url", ["ws://10.0.0.1/", "wss://example.com/", "ws://localhost.example.com/", "nonsense"])
def test_no_other_server_is_attacked(url: str) -> None:
    with pytest.raises(ConfigError, match="only a server on this machine"):
        check_loopback(url)


def test_chunks_are_late_when_playback_has_run_dry() -> None:
    playback, second = Playback(), bytes(48_000)
    assert [playback.is_late(now, second) for now in (10.0, 10.9, 12.1, 12.9)] == [False, False, True, False]


def test_a_row_without_answers_shows_dashes() -> None:
    assert Suffering(failures=3).row("tiny_events", None) == "| tiny events | - | - | - | - | - | 0 of 0 | 0 | 3 | - |"


@pytest.mark.parametrize("name", ["tiny_events", "broken_json", "many_properties", "out_of_band"])
async def test_an_honest_caller_is_served_beside_an_attack(name: str) -> None:
    async with serving() as server:
        with attacking(name, server.url):
            seen = await honest_callers(server.url, 1, 3.0)
    assert seen.failures == 0
    assert seen.first_audio and seen.trips
