"""The simulated caller over a real connection."""

from __future__ import annotations

import pytest

from realtime.bench.turns.corpus import Case
from realtime.bench.turns.live import observe_live
from realtime.bench.turns.runner import Mode
from realtime.bench.turns.scoring import score
from realtime.client.connection import ClientError
from tests.client.stub_server import SILENCE_MS, StubServer, running

MODE = Mode("server_vad", {"type": "server_vad", "silence_duration_ms": SILENCE_MS})


async def test_a_turn_with_a_server_is_scored(cases: dict[str, Case]) -> None:
    async with running(StubServer()) as server:
        outcome = score(cases["short"], await observe_live(server.url, cases["short"], MODE))
        update = next(event for event in server.received if event["type"] == "session.update")
    assert update["session"] == MODE.patch
    assert outcome.cut_ins == 0 and outcome.missed is False
    assert outcome.delay_ms is not None and outcome.delay_ms > 0


async def test_a_missing_server_is_an_error(cases: dict[str, Case]) -> None:
    with pytest.raises(ClientError, match="nothing answers"):
        await observe_live("ws://127.0.0.1:9/v1/realtime", cases["short"], MODE)
