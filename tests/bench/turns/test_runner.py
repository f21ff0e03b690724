"""Cases played with a real session in virtual time, and the command that prints them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from realtime.bench.turns.caller import PAUSED, STARTED, Echo, Observation
from realtime.bench.turns.corpus import Case
from realtime.bench.turns.path import Path as NetworkPath
from realtime.bench.turns.path import PathConfig
from realtime.bench.turns.runner import Mode, observe
from realtime.bench.turns.scoring import score
from realtime.cli import main
from realtime.turns.vad import SileroVad

PAUSE = Mode("pause", {"type": "server_vad", "interruption": "pause"})


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


def facts(seen: Observation) -> tuple[object, ...]:
    return seen.events, seen.playback_began, seen.overlap_began, seen.played, seen.speculations


def test_a_case_plays_the_same_each_time(cases: dict[str, Case], vad: SileroVad) -> None:
    case = cases["mhm"]
    assert facts(observe(case, PAUSE, vad)) == facts(observe(case, PAUSE, vad))


def test_a_turn_ends_after_the_set_silence(cases: dict[str, Case], vad: SileroVad) -> None:
    delays = [
        score(case, observe(case, Mode("", {"type": "server_vad", "silence_duration_ms": silence_ms}), vad)).delay_ms
        for case in (cases["short"],)
        for silence_ms in (300, 700)
    ]
    assert all(delays) and delays[1] - delays[0] == pytest.approx(400, abs=40)  # type: ignore[operator]


def test_a_pause_longer_than_the_silence_cuts_in(cases: dict[str, Case], vad: SileroVad) -> None:
    case = cases["pause 0.9 s"]
    assert score(case, observe(case, Mode("", {"type": "server_vad"}), vad)).cut_ins == 1
    patient = Mode("", {"type": "server_vad", "silence_duration_ms": 1500})
    assert score(case, observe(case, patient, vad)).cut_ins == 0


def test_a_barge_in_stops_the_reply(cases: dict[str, Case], vad: SileroVad) -> None:
    seen = observe(cases["barge-in"], Mode("", {"type": "server_vad"}), vad)
    outcome = score(cases["barge-in"], seen)
    assert outcome.missed_stop is False and outcome.late_bytes == 0
    assert 0 < len(seen.played) < len(seen.reply) and seen.reply.startswith(seen.played)


def test_a_hum_only_pauses_the_reply(cases: dict[str, Case], vad: SileroVad) -> None:
    seen = observe(cases["mhm"], PAUSE, vad)
    assert [event.type for event in seen.events].count(PAUSED) >= 1
    assert seen.played == seen.reply


def test_echo_has_its_delay_and_level() -> None:
    rng = np.random.default_rng(0)
    played = rng.standard_normal(50 * 480).astype(np.float32)
    echo = Echo(-20.0, 0.1)
    heard = np.concatenate([echo.push(played[start : start + 480]) for start in range(0, len(played), 480)])
    assert not heard[:2400].any() and heard[2400:2410].all()
    level = 20 * np.log10(np.std(heard[4800:]) / np.std(played))
    assert level == pytest.approx(-20, abs=0.5)
    assert not Echo(None, 0.1).push(played[:480]).any()


def test_the_command_prints_tables_and_writes_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "turns.json"
    arguments = ["bench", "turns", "--kind", "short", "--only", "server_vad", "--turn-model", "none"]
    assert main([*arguments, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["turns"]["server_vad"]["cases"] == len(report["cases"]["server_vad"]) == 10
    assert report["turns"]["server_vad"]["delay_p50_ms"] >= 500
    assert capsys.readouterr().out.startswith("| turn detection | delay p50 |")


STALLING = PathConfig(jitter_s=0.08, stall_every_s=0.4)


@pytest.mark.parametrize("echo_db", [-10.0, -6.0])
def test_stalls_let_no_echo_interrupt(cases: dict[str, Case], vad: SileroVad, echo_db: float) -> None:
    case = dataclasses.replace(cases["echo"], echo_db=echo_db, echo_delay_s=0.04, reply_s=4.0)
    for seed in (1, 2):
        seen = observe(case, PAUSE, vad, STALLING, seed)
        assert seen.playback_began is not None
        assert not [event for event in seen.events if event.type == PAUSED]
        assert sum(event.type == STARTED for event in seen.events) == 1


def test_a_path_keeps_order_and_is_seeded() -> None:
    def arrivals(seed: int) -> list[float]:
        path = NetworkPath(STALLING, seed)
        return [path.up(frame * 0.02) for frame in range(500)]

    late = [at - frame * 0.02 for frame, at in enumerate(arrivals(1))]
    assert arrivals(1) == sorted(arrivals(1)) != arrivals(2)
    assert min(late) >= 0
    assert 0.08 < max(late) < 0.5
