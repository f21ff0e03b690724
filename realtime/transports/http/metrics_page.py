"""`/metrics`: the server's metrics in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from realtime.metrics import FAULT_PREFIX, Speculated

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

FIRST_AUDIO_BOUNDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Buckets are fine where people notice the difference: turns between people take 0.2 s, a second feels slow."""


class ServerMetrics:
    """Counts since the start. Only the event loop uses them, so there is no lock."""

    def __init__(self) -> None:
        self._sessions = 0
        self._admitted = 0
        self._refused: Counter[str] = Counter()
        self._responses: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._first_audio = [0] * (len(FIRST_AUDIO_BOUNDS_S) + 1)
        self._first_audio_sum_s = 0.0
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
        total_ms, audio_ms = summary.get("total_ms"), summary.get("audio_ms")
        if total_ms is None or not audio_ms:
            return
        seconds = total_ms / 1000
        self._first_audio[bisect_left(FIRST_AUDIO_BOUNDS_S, seconds)] += 1
        self._first_audio_sum_s += seconds

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
        yield from self._first_audio_lines("realtime_first_audio_seconds")
        yield from self._speculation_lines()

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

    def _first_audio_lines(self, name: str) -> Iterator[str]:
        yield from _head(
            name, "histogram", "From the end of the user's speech, or the request, to the first audio sent."
        )
        total = 0
        for bound, count in zip((*FIRST_AUDIO_BOUNDS_S, "+Inf"), self._first_audio, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._first_audio_sum_s:.6g}"
        yield f"{name}_count {total}"


def _head(name: str, kind: str, help: str) -> tuple[str, str]:
    return f"# HELP {name} {help}", f"# TYPE {name} {kind}"


def _counts(name: str, label: str, counts: Mapping[str, int]) -> Iterator[str]:
    """Label values are constants of the code and need no escaping."""
    for value, count in sorted(counts.items()):
        yield f'{name}{{{label}="{value}"}} {count}'
