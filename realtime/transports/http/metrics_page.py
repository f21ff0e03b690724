"""`/metrics`: the server's metrics in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from realtime.metrics import FAULT_PREFIX, Speculated
from realtime.transports.http.process_metrics import LoopLag, ProcessFigures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

FIRST_AUDIO_BOUNDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Buckets are fine where people notice the difference: turns between people take 0.2 s, a second feels slow."""

LEAST_MARGIN_BOUNDS_S = (-1.0, -0.5, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Below 0 is a gap that is heard; above 0.1 s the jitter of a network is covered."""


class _Histogram:
    """Counts of values by their upper bounds, in seconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, help: str) -> Iterator[str]:
        yield from _head(name, "histogram", help)
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6g}"
        yield f"{name}_count {total}"


class ServerMetrics:
    """Counts since the start. Only the event loop uses them, so there is no lock."""

    def __init__(self) -> None:
        self._sessions = 0
        self._admitted = 0
        self._refused: Counter[str] = Counter()
        self._responses: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._first_audio = _Histogram(FIRST_AUDIO_BOUNDS_S)
        self._least_margin = _Histogram(LEAST_MARGIN_BOUNDS_S)
        self._chunks = 0
        self._late_chunks = 0
        self._rejected: Counter[str] = Counter()
        self._paced = 0
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.loop_lag = LoopLag()
        self._speculations: Counter[str] = Counter()
        self._wasted_ids = 0
        self._wasted_audio_s = 0.0

    def session_began(self) -> None:
        self._sessions += 1
        self._admitted += 1

    def session_ended(self) -> None:
        self._sessions -= 1

    def refused(self, code: str) -> None:
        """A client was refused with ``code``."""
        self._refused[code] += 1

    def response_done(self, status: str) -> None:
        self._responses[status] += 1

    def reply_measured(self, summary: Mapping[str, float | None]) -> None:
        """Add the latency of a spoken reply: `realtime.metrics.ReplyTrace.summary`."""
        for name, count in summary.items():
            if name.startswith(FAULT_PREFIX):
                self._faults[name.removeprefix(FAULT_PREFIX)] += int(count or 0)
        self._chunks += int(summary.get("chunks") or 0)
        self._late_chunks += int(summary.get("late_chunks") or 0)
        if (margin_ms := summary.get("least_margin_ms")) is not None:
            self._least_margin.add(margin_ms / 1000)
        total_ms, audio_ms = summary.get("total_ms"), summary.get("audio_ms")
        if total_ms is not None and audio_ms:
            self._first_audio.add(total_ms / 1000)

    def message_rejected(self, code: str) -> None:
        """A client was sent an error; ``code``: the error's."""
        self._rejected[code] += 1

    def message_paced(self) -> None:
        """A client sent faster than it may: its next message was read later."""
        self._paced += 1

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Add a value that is read whenever the page is."""
        self._gauges[name] = (help, read)

    def speculated(self, outcome: Speculated) -> None:
        """A reply that was speculated was used or discarded."""
        self._speculations["used" if outcome.used else "dropped"] += 1
        if not outcome.used:
            self._wasted_ids += outcome.ids
            self._wasted_audio_s += outcome.audio_s

    def page(self) -> str:
        return "".join(line + "\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _head("realtime_sessions", "gauge", "Sessions that run now.")
        yield f"realtime_sessions {self._sessions}"
        yield from _head("realtime_sessions_admitted_total", "counter", "Callers that got a session.")
        yield f"realtime_sessions_admitted_total {self._admitted}"
        yield from _head("realtime_sessions_refused_total", "counter", "Callers that were turned away, by error code.")
        yield from _counts("realtime_sessions_refused_total", "code", self._refused)
        yield from _head("realtime_responses_total", "counter", "Responses that ended, by status.")
        yield from _counts("realtime_responses_total", "status", self._responses)
        yield from _head("realtime_vocoder_faults_total", "counter", "What should not have come out of the vocoder.")
        yield from _counts("realtime_vocoder_faults_total", "fault", self._faults)
        help = "From the end of the user's speech, or the request, to the first audio sent."
        yield from self._first_audio.lines("realtime_first_audio_seconds", help)
        yield from self._chunk_lines()
        yield from self._speculation_lines()
        yield from self._message_lines()
        yield from self._process_lines()
        for name, (help, read) in self._gauges.items():
            yield from _one(name, "gauge", help, read())

    def _chunk_lines(self) -> Iterator[str]:
        yield from self._least_margin.lines(
            "realtime_least_margin_seconds",
            "Per reply: the least time from the sending of a chunk to the moment at which playback needs it.",
        )
        yield from _one("realtime_chunks_total", "counter", "Chunks of speech that were sent.", self._chunks)
        help = "Chunks that were sent after playback needed them: gaps that are heard."
        yield from _one("realtime_late_chunks_total", "counter", help, self._late_chunks)

    def _message_lines(self) -> Iterator[str]:
        name = "realtime_messages_rejected_total"
        yield from _head(name, "counter", "Errors sent to clients, by code.")
        yield from _counts(name, "code", self._rejected)
        help = "Messages that were read later because their client sent faster than it may."
        yield from _one("realtime_messages_paced_total", "counter", help, self._paced)

    def _process_lines(self) -> Iterator[str]:
        help = "The greatest delay of the event loop in the last 15 seconds."
        yield from _one("realtime_event_loop_lag_seconds", "gauge", help, self.loop_lag.worst_s)
        if (process := ProcessFigures.read()) is not None:
            help = "Resident memory size in bytes."
            yield from _one("process_resident_memory_bytes", "gauge", help, process.resident_bytes)
            yield from _one("process_threads", "gauge", "Number of threads.", process.threads)
            yield from _one("process_open_fds", "gauge", "Number of open file descriptors.", process.open_fds)

    def _speculation_lines(self) -> Iterator[str]:
        name = "realtime_speculations_total"
        yield from _head(name, "counter", "Replies begun before the turn was over, by what became of them.")
        yield from _counts(name, "outcome", self._speculations)
        name = "realtime_speculation_wasted_ids_total"
        yield from _head(name, "counter", "Ids that the model computed for replies that were dropped.")
        yield f"{name} {self._wasted_ids}"
        name = "realtime_speculation_wasted_audio_seconds_total"
        yield from _head(name, "counter", "Speech that was vocoded for replies that were dropped.")
        yield f"{name} {self._wasted_audio_s:.6g}"


def _head(name: str, kind: str, help: str) -> tuple[str, str]:
    return f"# HELP {name} {help}", f"# TYPE {name} {kind}"


def _one(name: str, kind: str, help: str, value: float) -> Iterator[str]:
    yield from _head(name, kind, help)
    yield f"{name} {value:.15g}"


def _counts(name: str, label: str, counts: Mapping[str, int]) -> Iterator[str]:
    """Label values are constants of the code and need no escaping."""
    for value, count in sorted(counts.items()):
        yield f'{name}{{{label}="{value}"}} {count}'
