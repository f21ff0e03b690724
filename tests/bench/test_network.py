"""The benchmark of lossy networks: its traces, both receivers, and its command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from realtime.bench.network import (
    LOOKAHEAD_S,
    Network,
    arrivals,
    encode,
    figures,
    receive,
    receive_like_aiortc,
    recovery,
    word_errors,
)
from realtime.bench.turns.corpus import clips
from realtime.cli import main
from realtime.commands import bench_network
from realtime.commands.bench_network import Transcriber
from realtime.errors import EngineError
from realtime.ports.engine import GenerationDone


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    return encode(np.concatenate([clip.samples for clip in clips("sentence")[:6]]))


def trace(network: Network, count: int = 5000) -> list[float | None]:
    return arrivals(network, count, np.random.default_rng(0))


@pytest.mark.parametrize("burst", [1.0, 3.0])
def test_a_trace_loses_its_share_in_bursts(burst: float) -> None:
    lost = [at is None for at in trace(Network("", 0.05, burst))]
    runs = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    assert np.mean(lost) == pytest.approx(0.05, abs=0.015)
    assert sum(lost) / runs == pytest.approx(burst, rel=0.2)


def test_packets_overtake_only_where_they_may() -> None:
    ordered, mixed = (trace(Network("", jitter_s=0.1, reorders=reorders)) for reorders in (False, True))
    assert ordered == sorted(ordered)  # type: ignore[type-var]
    assert mixed != sorted(mixed)  # type: ignore[type-var]


def test_a_calm_network_adds_no_delay(packets: list[bytes]) -> None:
    run = receive(packets, trace(Network(""), len(packets)))
    assert figures([run]).delay_p95_ms == pytest.approx(1000 * (0.02 + LOOKAHEAD_S), abs=0.1)
    assert (run.made_up, len(run.samples)) == (0, len(packets) * 320)


def test_losses_keep_the_time_of_the_audio(packets: list[bytes]) -> None:
    times = trace(Network("", 0.1), len(packets))
    times[-1] = len(packets) * 0.02
    run = receive(packets, times)
    assert len(run.samples) == len(packets) * 320
    assert run.made_up == sum(at is None for at in times)


def test_one_loss_costs_20_ms_once(packets: list[bytes]) -> None:
    ours = recovery(receive, packets)
    assert 0 < ours.silent_ms <= 20.1
    assert ours.lasting_ms == pytest.approx(0, abs=0.1)


def test_one_loss_delays_aiortc_for_good(packets: list[bytes]) -> None:
    """Why its buffer is not used; if this fails, it was mended."""
    pytest.importorskip("aiortc")
    assert recovery(receive_like_aiortc, packets).lasting_ms > 100


def test_word_errors_count_changes() -> None:
    assert word_errors("turn on the lights", "Turn the light.") == (2, 4)
    assert word_errors("stop", "") == (1, 1)
    assert word_errors("stop", "please stop now") == (2, 1)


def test_the_command_prints_and_writes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "network.json"
    assert main(["bench", "network", "--only", "loss 1 %", "--json", str(out)]) == 0
    assert "| loss 1 % | server | 26.5 ms |" in capsys.readouterr().out
    assert json.loads(out.read_text())["one_loss"]["server"]["lasting_ms"] == pytest.approx(0, abs=0.1)


class Refusing:
    """A conversation whose generations end for these reasons, one after the other; the last of them for ever."""

    reasons: list[str] = []
    closed = 0

    def __init__(self, *_: object, **options: object) -> None:
        """What it is given does not count."""

    async def generate(self, _: object) -> AsyncIterator[Any]:
        reason = Refusing.reasons.pop(0) if len(Refusing.reasons) > 1 else Refusing.reasons[0]
        if reason == "stop":
            yield SimpleNamespace(text="what time is it")
        yield GenerationDone(reason, None, None, "later")  # type: ignore[arg-type]

    def close(self) -> None:
        Refusing.closed += 1


def transcript(monkeypatch: pytest.MonkeyPatch, *reasons: str) -> str:
    monkeypatch.setattr(bench_network, "EngineConversation", Refusing)
    monkeypatch.setattr(bench_network, "_BUDGET_WAIT_S", 0.0)
    monkeypatch.setattr(Refusing, "reasons", list(reasons))
    monkeypatch.setattr(Refusing, "closed", 0)
    transcriber = object.__new__(Transcriber)
    transcriber._threads = SimpleNamespace(engine=None)  # type: ignore[assignment]
    return asyncio.run(transcriber._generate("clip", None))  # type: ignore[arg-type]


def test_a_refused_transcript_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counted as no words: after 330 transcripts the figures were those of the engine's budget."""
    assert transcript(monkeypatch, "over_budget", "over_budget", "stop") == "what time is it"
    assert Refusing.closed == 3


@pytest.mark.parametrize("reason", ["failed", "context_full", "over_budget"])
def test_a_failed_transcript_is_no_lost_word(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    with pytest.raises(EngineError, match=f"no transcript of clip: {reason}"):
        transcript(monkeypatch, reason)
