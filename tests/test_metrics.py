"""Latency parts, RTF and chunk margins."""

from __future__ import annotations

import pytest

from realtime.metrics import FAULT_PREFIX, ReplyTrace


def spoken_turn() -> ReplyTrace:
    trace = ReplyTrace(requested=10.51, voiced=10.0, stopped=10.5)
    trace.engine_report(queued=0.01, encoded=0.05, first_token=0.06, decode_s=0.5)
    trace.chunk_made(0.25, 1.0)
    trace.chunk_sent(10.71, 1.0)
    return trace


def test_parts_add_up_to_first_packet_latency() -> None:
    parts = spoken_turn().latency()
    assert parts.endpointing == pytest.approx(0.5)
    assert parts.queued == pytest.approx(0.02)
    assert parts.encoded == pytest.approx(0.04)
    assert parts.first_token == pytest.approx(0.01)
    assert parts.first_audio == pytest.approx(0.14)
    assert parts.total == pytest.approx(0.71)


def test_a_text_turn_ends_with_its_first_token() -> None:
    trace = ReplyTrace(requested=5.0)
    trace.engine_report(queued=0.0, encoded=0.1, first_token=0.2, decode_s=0.3)
    parts = trace.latency()
    assert (parts.endpointing, parts.first_audio) == (None, None)
    assert parts.total == pytest.approx(0.2)


def test_the_summary_has_only_faults_that_occurred() -> None:
    trace = spoken_turn()
    assert not any(name.startswith(FAULT_PREFIX) for name in trace.summary())
    trace.chunk_made(0.25, 1.0, {"broken_chunks": 1})
    trace.chunk_made(0.25, 1.0, {"broken_chunks": 2})  # counts of the reply so far
    assert trace.summary()[f"{FAULT_PREFIX}broken_chunks"] == 2


def test_a_margin_is_the_audio_left_to_play() -> None:
    trace = spoken_turn()
    trace.chunk_sent(11.0, 0.5)
    trace.chunk_sent(12.5, 0.5)
    assert trace.margins == pytest.approx([0.71, -0.29])


def test_rtf_is_compute_over_audio() -> None:
    trace = spoken_turn()
    assert trace.rtf() == {"decoder": pytest.approx(0.5), "vocoder": pytest.approx(0.25)}
    assert ReplyTrace(requested=0.0).rtf() == {"decoder": None, "vocoder": None}


def test_a_summary_without_audio_has_no_margin() -> None:
    summary = ReplyTrace(requested=0.0).summary()
    assert summary["least_margin_ms"] is None
    assert summary["audio_ms"] == 0
