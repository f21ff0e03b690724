"""`realtime bench latency`: both sides on one clock, and percentiles."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realtime.bench.latency import TurnLatency, percentiles, turn_latency, wait_until_ready
from realtime.cli import main
from realtime.client.connection import ClientError
from realtime.client.http import http_url
from realtime.client.speech_turn import ChunkArrival, TurnRecord
from realtime.client.utterance import Utterance, lengthened, load_utterance
from tests.client.stub_server import StubServer, running
from tests.client.test_speech_turn import SPEECH

SERVER = {
    "response_id": "resp_1",
    "queued_ms": 5.0,
    "encoded_ms": 20.0,
    "first_token_ms": 10.0,
    "first_audio_ms": 200.0,
    "decoder_rtf": 0.2,
    "vocoder_rtf": 0.3,
}

HELLO = Utterance("hello", np.ones(24_000, np.float32), 24_000)


def _record() -> TurnRecord:
    chunks = [ChunkArrival(10.7, 0.1, 0.0), ChunkArrival(10.75, 0.1, 0.05), ChunkArrival(10.85, 0.1, 0.02)]
    return TurnRecord(asked=10.0, speech_stopped=10.4, first_text=10.5, first_audio=10.7, done=11.0, chunks=chunks)


def test_server_parts_follow_the_clients_speech_stopped() -> None:
    figures = turn_latency(1, HELLO, _record(), SERVER)
    assert (figures.speech_stopped_ms, figures.first_token_ms, figures.audio_sent_ms) == (400.0, 435.0, 635.0)
    assert (figures.first_text_ms, figures.audio_received_ms, figures.least_margin_ms) == (500.0, 700.0, 20.0)
    assert figures.margins_ms == (0.0, 50.0, 20.0)


def test_nothing_is_sent_after_it_was_received() -> None:
    late_news = dataclasses.replace(_record(), speech_stopped=10.52)
    figures = turn_latency(1, HELLO, late_news, SERVER)
    assert (figures.speech_stopped_ms, figures.audio_sent_ms, figures.audio_received_ms) == (520.0, 700.0, 700.0)
    assert figures.first_token_ms == 500.0


def test_a_server_without_figures_leaves_them_out() -> None:
    figures = turn_latency(1, HELLO, _record(), {})
    assert figures.first_token_ms is None and figures.audio_sent_ms is None and figures.decoder_rtf is None
    assert figures.audio_received_ms == 700.0


def test_margins_count_from_the_bad_end() -> None:
    turns = [TurnLatency(n, "x", audio_received_ms=100.0 * n, least_margin_ms=10.0 * n) for n in range(1, 21)]
    assert percentiles(turns, 95)["audio_received_ms"] == 1900.0
    assert percentiles(turns, 95)["least_margin_ms"] == 10.0
    assert percentiles(turns, 50)["audio_received_ms"] == 1000.0


def test_failed_turns_are_not_in_percentiles() -> None:
    turns = [TurnLatency(1, "x", audio_received_ms=100.0), TurnLatency(2, "x", error="gone")]
    assert percentiles(turns, 95)["audio_received_ms"] == 100.0
    assert percentiles([], 50)["audio_received_ms"] is None


def test_http_is_beside_the_websocket() -> None:
    assert http_url("ws://127.0.0.1:8765/v1/realtime", "/healthz") == "http://127.0.0.1:8765/healthz"
    assert http_url("wss://voice.example/v1/realtime?model=m", "/x") == "https://voice.example/x"


async def test_a_loading_server_is_waited_for() -> None:
    async with running(StubServer(not_ready="loading weights")) as server:
        waiting = asyncio.create_task(wait_until_ready(server.url))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        server.not_ready = None
        await asyncio.wait_for(waiting, 5)


def test_the_wait_is_on_the_servers_clock() -> None:
    ahead = {**SERVER, "queued_ms": -290.0, "first_audio_ms": 270.0, "ahead_ms": 300.0, "wasted_drafts": 1}
    figures = turn_latency(1, HELLO, _record(), ahead)
    assert (figures.wait_ms, figures.ahead_ms, figures.wasted_drafts) == (10.0, 300.0, 1)
    assert figures.first_token_ms == 140.0  # 260 before speech_stopped


def test_an_utterance_is_lengthened_by_repeating_it() -> None:
    once = load_utterance(SPEECH / "hello_rms.wav")
    long = lengthened(once, 7.0)
    assert len(long.samples) == 7 * 24_000 and 6.0 < long.voiced_s <= 7.0
    gap = 24_000 * 100 // 1000
    again = long.samples[once.voiced + gap : 2 * once.voiced + gap]
    assert np.array_equal(again, once.samples[: once.voiced])


@pytest.mark.parametrize("extra", [[], ["--conversation"]])
async def test_a_run_prints_turns_and_writes_json(
    extra: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    arguments = [
        "bench",
        "latency",
        "--turns",
        "2",
        "--json",
        str(out),
        "--wav",
        str(SPEECH / "hello_rms.wav"),
    ]
    async with running(StubServer(chunks=2)) as server:
        server.turns.extend({**SERVER, "response_id": f"resp_{n}"} for n in range(100))
        status = await asyncio.to_thread(main, [*arguments, "--url", server.url, *extra])
    table = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [line.split()[0] for line in table] == ["turn", "1", "2", "p50", "p95"]
    report: dict[str, Any] = json.loads(out.read_text())
    assert [turn["turn"] for turn in report["turns"]] == [1, 2]
    assert report["p50"]["decoder_rtf"] == 0.2
    assert report["p50"]["speech_stopped_ms"] <= report["p50"]["audio_received_ms"]
    assert {"cpu", "cores", "versions", "date"} <= report["machine"].keys()


async def test_a_failed_turn_makes_the_run_fail(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(StubServer(api_key="right")) as server:
        status = await asyncio.to_thread(main, ["bench", "latency", "--turns", "1", "--url", server.url])
    assert status == 1
    assert "Incorrect API key" in capsys.readouterr().out


async def test_waiting_ends_when_loading_failed() -> None:
    class Broken(StubServer):
        def health(self) -> dict[str, str]:
            return {"status": "failed", "reason": "flow.pt is missing"}

    async with running(Broken(not_ready="x")) as server:
        with pytest.raises(ClientError, match="flow.pt is missing"):
            await wait_until_ready(server.url)
