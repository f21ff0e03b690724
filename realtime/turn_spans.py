"""OpenTelemetry spans of a turn: end of the speech, queue, prefill, first token, first audio, the rest of the reply.

Optional: the packages of the extra ``otel``, and the standard variables such as ``OTEL_EXPORTER_OTLP_ENDPOINT``. Spans
hold times and counts, no words of the conversation.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""One of these switches the spans on."""

PARTS = {
    "endpointing_ms": "endpointing",
    "queued_ms": "queued",
    "encoded_ms": "prefill",
    "first_token_ms": "first_token",
    "first_audio_ms": "first_audio",
}
"""Parts of `realtime.metrics.ReplyTrace.summary` in order, and their spans."""

FIGURES = ("decoder_rtf", "vocoder_rtf", "audio_ms", "least_margin_ms", "chunks", "late_chunks", "ahead_ms")


class TurnSpans:
    """Makes the spans of each reply when it has ended."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("realtime")

    def reply_measured(self, response_id: str, summary: Mapping[str, float | None]) -> None:
        """Export the spans of a reply that ends now. ``summary``: of its `realtime.metrics.ReplyTrace`."""
        end = time.time_ns()
        start = end - _ns(summary.get("duration_ms") or 0.0)
        figures = {name: value for name in FIGURES if (value := summary.get(name)) is not None}
        turn = self._tracer.start_span("turn", start_time=start, attributes={"response_id": response_id, **figures})
        from opentelemetry.trace import set_span_in_context

        context, at = set_span_in_context(turn), start
        for name, span_name in PARTS.items():
            if (length := summary.get(name)) is None:
                continue
            until = at + _ns(length)  # before ``at`` for a reply that was begun before the end of the turn was decided
            span = self._tracer.start_span(span_name, context, start_time=min(at, until))
            span.end(max(at, until))
            at = until
        turn.end(end)

    def close(self) -> None:
        """Export what waits."""
        self._provider.shutdown()


def start_spans() -> TurnSpans | None:
    """Spans that go where OpenTelemetry's variables say; None without them, or without the packages."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        logger.warning("no traces: %s; install them with pip install 'realtime-voice[otel]'", error)
        return None
    provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "realtime")})
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return TurnSpans(provider)


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
