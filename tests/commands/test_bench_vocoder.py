"""`realtime bench vocoder`: a table for people, JSON for the record, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime.cli import main
from realtime.commands import bench_vocoder
from streaming_vocoder.bench import random_weights
from tests.vocoder.conftest import SIZES

SHORT = ["--chunks", "1", "--minutes", "0", "--plain", "2", "--prompt-tokens", "12", "--steps", "2", "--ahead", "3"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_vocoder, "_modules", lambda *_: (SIZES, *random_weights(SIZES)))


def test_table_rows_are_rungs_and_json_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert main(["bench", "vocoder", "--streams", "1,2", "--ladder", "8,5", "--json", str(out), *SHORT]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in table[1:7]] == [
        *(["1", "first"], ["2", "first"]),
        *(["1", "5"], ["1", "8"], ["2", "5"], ["2", "8"]),
    ]
    report = json.loads(out.read_text())
    assert [row["rung"] for row in report["chunks"]] == [5, 8, 5, 8]
    assert report["plain"]["first_packet_gain"] > 0 and report["plain"]["largest_difference"] < 2e-4
    assert report["growth"] is None and report["ahead"]["chunks"] == 3
    assert {"streams_in_time", "streams_by_throughput", "stream_bytes", "product_gflops"} <= report.keys()
    assert {"cpu", "cores", "threads", "gpu", "versions"} <= report["machine"].keys()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--ladder", "3,5"], "4 to 200"),
        (["--ladder", "5,201"], "4 to 200"),
        (["--fixed"], "--trim prompt"),
        (["--steps", "0"], "--steps"),
        (["--prompt-tokens", "2"], "--prompt-tokens"),
        (["--minutes", "-1"], "--minutes"),
        (["--device", "nonsense"], "nonsense"),
    ],
)
def test_what_cannot_be_measured_is_refused(flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = main(["bench", "vocoder", *flags])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--streams", "0"], ["--streams", "one"], ["--size", "huge"]])
def test_flags_that_are_no_numbers_are_usage_errors(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "vocoder", *flags])
    assert flags[0] in capsys.readouterr().err
