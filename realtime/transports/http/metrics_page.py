"""`/metrics`: the server's metrics, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from realtime.metrics import FAULT_PREFIX, Speculated
from realtime.transports.http.last_hour import LastHour
from realtime.transports.http.process_metrics import LoopLag, count_threads

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

FIRST_AUDIO_BOUNDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Buckets are fine where people notice the difference: turns between people take 0.2 s, a second feels slow."""

LEAST_MARGIN_BOUNDS_S = (-1.0, -0.5, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Below 0 is a gap that is heard; above 0.1 s the jitter of a network is covered."""

# The second series of each counter is of no use here.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class ServerMetrics:
    """Counts since the start of one server, in a registry of its own; and ``last_hour``, for the operators' page."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._sessions = Gauge("realtime_sessions", "Sessions that run now.", registry=self._registry)
        self._admitted = self._counter("realtime_sessions_admitted", "Callers that got a session.")
        self._refused = self._counter(
            "realtime_sessions_refused", "Callers that were turned away, by error code.", "code"
        )
        self._responses = self._counter("realtime_responses", "Responses that ended, by status.", "status")
        self._faults = self._counter(
            "realtime_vocoder_faults", "What should not have come out of the vocoder.", "fault"
        )
        self._first_audio = self._histogram(
            "realtime_first_audio_seconds",
            "From the end of the user's speech, or the request, to the first audio sent.",
            FIRST_AUDIO_BOUNDS_S,
        )
        self._least_margin = self._histogram(
            "realtime_least_margin_seconds",
            "Per reply: the least time from the sending of a chunk to the moment at which playback needs it.",
            LEAST_MARGIN_BOUNDS_S,
        )
        self._chunks = self._counter("realtime_chunks", "Chunks of speech that were sent.")
        help = "Chunks that were sent after playback needed them: gaps that are heard."
        self._late_chunks = self._counter("realtime_late_chunks", help)
        help = "Replies begun before the turn was over, by what became of them."
        self._speculations = self._counter("realtime_speculations", help, "outcome")
        help = "Ids that the model computed for replies that were dropped."
        self._wasted_ids = self._counter("realtime_speculation_wasted_ids", help)
        help = "Speech that was vocoded for replies that were dropped."
        self._wasted_audio = self._counter("realtime_speculation_wasted_audio_seconds", help)
        self._rejected = self._counter("realtime_messages_rejected", "Errors sent to clients, by code.", "code")
        help = "Messages that were read later because their client sent faster than it may."
        self._paced = self._counter("realtime_messages_paced", help)
        self.last_hour = LastHour()
        self.loop_lag = LoopLag()
        self.gauge(
            "realtime_event_loop_lag_seconds",
            "The greatest delay of the event loop in the last 15 seconds.",
            lambda: self.loop_lag.worst_s,
        )
        self.gauge("process_threads", "Number of threads.", count_threads)
        ProcessCollector(registry=self._registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, registry=self._registry)

    def _histogram(self, name: str, help: str, bounds: tuple[float, ...]) -> Histogram:
        return Histogram(name, help, buckets=bounds, registry=self._registry)

    def session_began(self) -> None:
        self._sessions.inc()
        self._admitted.inc()
        self.last_hour.minute.admitted += 1

    def session_ended(self) -> None:
        self._sessions.dec()

    def refused(self, code: str) -> None:
        """A client was refused with ``code``."""
        self._refused.labels(code).inc()
        self.last_hour.minute.refused += 1

    def response_done(self, status: str) -> None:
        self._responses.labels(status).inc()
        self.last_hour.minute.failed += status == "failed"

    def reply_measured(self, summary: Mapping[str, float | None]) -> None:
        """Add the latency of a spoken reply: `realtime.metrics.ReplyTrace.summary`."""
        self.last_hour.reply_measured(summary)
        for name, count in summary.items():
            if name.startswith(FAULT_PREFIX) and count:
                self._faults.labels(name.removeprefix(FAULT_PREFIX)).inc(count)
        self._chunks.inc(summary.get("chunks") or 0)
        self._late_chunks.inc(summary.get("late_chunks") or 0)
        if (margin_ms := summary.get("least_margin_ms")) is not None:
            self._least_margin.observe(margin_ms / 1000)
        total_ms, audio_ms = summary.get("total_ms"), summary.get("audio_ms")
        if total_ms is not None and audio_ms:
            self._first_audio.observe(total_ms / 1000)

    def message_rejected(self, code: str) -> None:
        """A client was sent an error; ``code``: the error's."""
        self._rejected.labels(code).inc()
        self.last_hour.minute.errors += 1

    def message_paced(self) -> None:
        """A client sent faster than it may: its next message was read later."""
        self._paced.inc()

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Add a value that is read whenever the page is."""
        Gauge(name, help, registry=self._registry).set_function(read)

    def speculated(self, outcome: Speculated) -> None:
        """A reply that was speculated was used or discarded."""
        self._speculations.labels("used" if outcome.used else "dropped").inc()
        if not outcome.used:
            self._wasted_ids.inc(outcome.ids)
            self._wasted_audio.inc(outcome.audio_s)

    def page(self) -> str:
        return prometheus_client.generate_latest(self._registry).decode()
