"""OpenTelemetry spans of a turn."""

from __future__ import annotations

import sys

import pytest

from realtime.metrics import ReplyTrace
from realtime.turn_spans import ENDPOINTS, PARTS, TurnSpans, start_spans

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def trace(requested: float = 10.6) -> ReplyTrace:
    """A spoken turn: last voiced sample at 10.0, end decided at 10.5, first audio at 10.9, the response ends at 12."""
    trace = ReplyTrace(requested, voiced=10.0, stopped=10.5)
    trace.engine_report(queued=0.05, encoded=0.1, first_token=0.2, decode_s=0.5)
    trace.chunk_made(0.1, 1.0)
    trace.chunk_sent(10.9, 1.0)
    trace.ended = 12.0
    return trace


def spans_of(trace: ReplyTrace) -> dict[str, ReadableSpan]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    TurnSpans(provider).reply_measured("resp_1", trace.summary())
    return {span.name: span for span in exporter.get_finished_spans()}


def bounds(spans: dict[str, ReadableSpan], name: str) -> tuple[float, float]:
    """Milliseconds after the begin of the turn."""
    origin, span = spans["turn"].start_time, spans[name]
    assert origin is not None and span.start_time is not None and span.end_time is not None
    return round((span.start_time - origin) / 1e6), round((span.end_time - origin) / 1e6)


def test_a_turn_has_its_parts_in_order() -> None:
    spans = spans_of(trace())
    assert set(spans) == {"turn", *PARTS.values()}
    assert bounds(spans, "turn") == (0, 2000)
    assert [bounds(spans, name) for name in PARTS.values()] == [
        (0, 500),
        (500, 650),
        (650, 700),
        (700, 800),
        (800, 900),
    ]
    turn = spans["turn"].get_span_context()
    for name in PARTS.values():
        parent = spans[name].parent
        assert turn is not None and parent is not None and parent.span_id == turn.span_id


def test_speculative_replies_begin_before_the_decision() -> None:
    spans = spans_of(trace(requested=10.2))
    assert bounds(spans, "queued") == (250, 500)
    assert bounds(spans, "first_audio") == (400, 900)


def test_typed_turns_have_fewer_parts() -> None:
    typed = ReplyTrace(5.0)
    typed.engine_report(queued=0.0, encoded=0.1, first_token=0.2, decode_s=0.3)
    typed.ended = 6.0
    assert set(spans_of(typed)) == {"turn", "queued", "prefill", "first_token"}


def test_spans_need_an_endpoint_and_packages(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert start_spans() is None
    monkeypatch.setenv(ENDPOINTS[0], "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert start_spans() is None
    assert "realtime-voice[otel]" in caplog.text
