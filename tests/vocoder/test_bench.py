from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from streaming_vocoder.bench import measure, random_weights
from streaming_vocoder.bench_report import Plan, Report
from tests.vocoder.conftest import SIZES, STEPS

PLAN = Plan(streams=(1, 2), ladder=(5, 8), steps=STEPS, chunks=2, plain_chunks=3, reply_seconds=11.0, prompt_tokens=12)


@pytest.fixture(scope="module")
def report() -> Report:
    return measure(SIZES, *random_weights(SIZES), PLAN)


def test_every_stream_count_is_measured_per_rung(report: Report) -> None:
    assert [(row.streams, row.rung) for row in report.chunks] == [(1, 5), (1, 8), (2, 5), (2, 8)]
    assert [row.streams for row in report.first_packets] == [1, 2]
    for row in report.chunks:
        assert 0 < row.p50_ms <= row.p95_ms and row.peak_share > 0
        assert row.rtf == pytest.approx(row.p50_ms / (40 * row.rung * row.streams))
        assert row.in_time == (row.p95_ms <= 40 * row.rung)


def test_gains_are_ratios_within_one_run(report: Report) -> None:
    plain = report.plain
    assert plain is not None
    assert plain.first_packet_gain == pytest.approx(plain.first_packet_ms / plain.fast_first_packet_ms)
    assert plain.chunk_gain == pytest.approx(plain.chunk_ms / plain.fast_chunk_ms)


def test_the_plain_path_gave_the_same_sound(report: Report) -> None:
    assert report.plain is not None
    assert report.plain.largest_difference < 2e-4


def test_memory_counts_a_stream_without_what_it_shares(report: Report) -> None:
    """Keys and values: steps x depth x (k, v) x halves x heads x frames x head size, in float32."""
    estimator = SIZES.flow.estimator
    frames = max(2 * PLAN.prompt_tokens, 100) + 50
    inner = estimator.num_heads * estimator.head_dim
    assert report.stream_bytes > 4 * STEPS * estimator.depth * 4 * inner * frames
    assert 0 < report.snapshot_bytes < report.stream_bytes


def test_memory_of_a_long_reply_does_not_grow(report: Report) -> None:
    assert report.growth is not None
    assert report.growth.chunk_ratio > 0 and report.growth.bytes_ratio == 1.0


def test_other_precision_is_compared_with_float32(report: Report) -> None:
    assert report.precision is None
    plan = dataclasses.replace(PLAN, streams=(1,), ladder=(5,), plain_chunks=0, reply_seconds=0.0, dtype=torch.bfloat16)
    halved = measure(SIZES, *random_weights(SIZES), plan)
    assert halved.precision is not None and halved.precision.dtype == "bfloat16"
    assert 0.0 < halved.precision.mel_db < 3.0
    assert halved.stream_bytes < report.stream_bytes


def test_chunks_ahead_are_timed_both_ways(report: Report) -> None:
    ahead = report.ahead
    assert ahead is not None and ahead.chunks == PLAN.ahead
    assert ahead.gain == pytest.approx(ahead.one_by_one_ms / ahead.wave_ms)


def test_the_most_streams_in_time_are_named(report: Report) -> None:
    slow = [dataclasses.replace(row, in_time=row.streams == 1 and row.rung == 8) for row in report.chunks]
    assert dataclasses.replace(report, chunks=tuple(slow)).streams_in_time == 1
    assert dataclasses.replace(report, chunks=()).streams_in_time == 0


def test_a_report_is_json(report: Report) -> None:
    assert json.loads(json.dumps(dataclasses.asdict(report), default=str))["plan"]["ladder"] == [5, 8]


def test_what_costs_much_can_be_left_out() -> None:
    plan = dataclasses.replace(PLAN, streams=(1,), ladder=(5,), plain_chunks=0, reply_seconds=0.0, ahead=0)
    report = measure(SIZES, *random_weights(SIZES), plan)
    assert report.plain is None and report.growth is None and report.ahead is None
