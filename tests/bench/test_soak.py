"""The soak benchmark: readings over time, and what counts as growth."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime.bench.soak import Reading, Soak, growth_mb
from realtime.client.connection import ClientError
from realtime.client.utterance import load_utterance
from realtime.transports.http.host import Health
from tests.fakes import reply
from tests.transports.test_server import serving

HELLO = Path(__file__).parents[2] / "realtime" / "commands" / "speech" / "hello.wav"


def reading(minutes: float, memory_mb: float) -> Reading:
    return Reading(minutes, memory_mb, memory_mb, 10, 20, 2, 0, 0)


def test_growth_counts_after_the_first_minutes() -> None:
    level = [reading(minute, 500 + 100 * min(minute, 5)) for minute in range(31)]
    assert growth_mb(level) == 0.0
    assert growth_mb([reading(minute, 500.0 + minute) for minute in range(31)]) == pytest.approx(23.0)


def test_one_peak_is_no_growth() -> None:
    readings = [reading(minute, 600.0 if minute != 30 else 606.0) for minute in range(31)]
    assert growth_mb(readings) == pytest.approx(2.0)


def test_short_runs_tell_no_growth() -> None:
    assert growth_mb([reading(minute, 500.0) for minute in range(8)]) is None


async def test_callers_talk_while_the_server_is_read() -> None:
    async with serving(*[reply("Hi.")] * 8) as server:
        soak = Soak(server.url, [load_utterance(HELLO)], callers=1)
        readings = [reading async for reading in soak.run(minutes=6 / 60, period_s=2.0)]
    assert len(readings) == 4 and readings[0].turns == 0
    assert readings[-1].turns >= 1 and readings[-1].failures == 0
    assert readings[-1].sessions == 1 and readings[-1].most_mb >= readings[-1].memory_mb > 50


async def test_failed_turns_are_counted_by_reason() -> None:
    async with serving() as server:
        server.host.health = Health("loading", "reading weights")
        soak = Soak(server.url, [load_utterance(HELLO)], callers=2)
        readings = [reading async for reading in soak.run(minutes=0.5 / 60, period_s=0.5)]
    assert readings[-1].failures == 2 == soak.failures.total()
    assert [reason for reason in soak.failures if "reading weights" in reason]


async def test_a_server_without_metrics_is_a_clear_error() -> None:
    soak = Soak("ws://127.0.0.1:9/v1/realtime", [], callers=1)
    with pytest.raises(ClientError, match="/metrics"):
        await anext(soak.run(1.0))
