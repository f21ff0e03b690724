"""Latency and compute time of a reply. No clock of its own: all times are seconds of one monotonic clock.

First-packet latency is the time from the last voiced sample to the first audio sent; `LatencyParts` are its parts. RTF
(real-time factor) is compute time / audio time: below 1 keeps up with playback. The margin of a chunk is the time from
its sending to the moment at which playback needs it; a negative margin is an audible gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median

FAULT_PREFIX = "vocoder_fault_"
"""Prefix of the vocoder's fault counters in a summary, which has only those that occurred."""


@dataclass(frozen=True, slots=True)
class Speculated:
    """The outcome of one speculative reply: ``used`` as the answer, or discarded.

    ``ids``: tokens computed, including the prompt's if it was discarded; ``audio_s``: seconds vocoded.
    """

    used: bool
    ids: int
    audio_s: float


@dataclass(slots=True)
class SpeculationStats:
    """The speculative replies discarded before one reply: their number, tokens computed and seconds vocoded."""

    drafts: int = 0
    ids: int = 0
    audio_s: float = 0.0

    def add(self, ids: int, audio_s: float) -> None:
        """Count one discarded reply."""
        self.drafts += 1
        self.ids += ids
        self.audio_s += audio_s


@dataclass(frozen=True, slots=True)
class LatencyParts:
    """Seconds from one milestone of a turn to the next; None where a milestone does not exist (text turns have no end
    of speech, text replies no audio). They add up to ``total`` where all are known. ``queued`` is negative for a
    speculative reply, which started before the end of the turn was decided."""

    endpointing: float | None  # last voiced sample -> speech_stopped
    queued: float | None  # speech_stopped or response.create -> the engine starts the request
    encoded: float | None  # -> prompt encoded and prefilled
    first_token: float | None  # -> first id
    first_audio: float | None  # -> first audio sent
    total: float | None  # last voiced sample (or the request) -> first audio (or first token)


@dataclass(slots=True)
class ReplyTrace:
    """Collects the milestones of one reply; owned by the session's response.

    ``voiced`` and ``stopped``: when the last voiced sample arrived and when the end of speech was decided; None for a
    turn without speech. ``requested``: when the engine got the request, before ``stopped`` for a speculative reply; the
    engine's milestones are seconds after it. ``ended``: when the response had ended. ``waste``: discarded speculative
    replies. ``audio_s``: seconds vocoded; ``sent_s``: seconds sent. ``margins``: of every chunk sent but the first.
    """

    requested: float
    voiced: float | None = None
    stopped: float | None = None
    queued_s: float | None = None
    encoded_s: float | None = None
    first_token_s: float | None = None
    first_audio: float | None = None
    ended: float | None = None
    decode_s: float = 0.0
    vocoder_s: float = 0.0
    audio_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    sent_s: float = 0.0
    margins: list[float] = field(default_factory=list)
    waste: SpeculationStats = field(default_factory=SpeculationStats)

    @property
    def ahead_s(self) -> float | None:
        """How long before the end of the turn this reply was started; None if it was not speculative."""
        return None if self.stopped is None or self.requested >= self.stopped else self.stopped - self.requested

    def engine_report(self, queued: float, encoded: float, first_token: float, decode_s: float) -> None:
        """Note the engine's measurements, in seconds from the arrival of the request."""
        self.queued_s, self.encoded_s, self.first_token_s = queued, encoded, first_token
        self.decode_s = decode_s

    def chunk_made(self, compute_s: float, audio_s: float, faults: Mapping[str, int] | None = None) -> None:
        """Note a vocoded chunk: ``compute_s`` seconds for ``audio_s`` seconds of audio; ``faults``: of the reply so
        far."""
        self.vocoder_s += compute_s
        self.audio_s += audio_s
        self.faults = dict(faults or {})

    def chunk_sent(self, now: float, audio_s: float) -> None:
        """Note a chunk of ``audio_s`` seconds sent at ``now``. Playback is assumed to begin with the first chunk."""
        if self.first_audio is None:
            self.first_audio = now
        else:
            self.margins.append(self.first_audio + self.sent_s - now)
        self.sent_s += audio_s

    @property
    def _begun(self) -> float:
        """What ``total`` counts from."""
        candidates = (self.voiced, self.stopped, self.requested)
        return next(time for time in candidates if time is not None)

    def latency(self) -> LatencyParts:
        """The parts; None for those that are not known."""
        begin = self.stopped if self.stopped is not None else self.requested
        arrival = self.requested - begin
        end = self.first_audio - self.requested if self.first_audio is not None else None
        last = end if end is not None else self.first_token_s
        return LatencyParts(
            endpointing=_gap(self.voiced, self.stopped),
            queued=None if self.queued_s is None else arrival + self.queued_s,
            encoded=_gap(self.queued_s, self.encoded_s),
            first_token=_gap(self.encoded_s, self.first_token_s),
            first_audio=_gap(self.first_token_s, end),
            total=None if last is None else self.requested + last - self._begun,
        )

    def rtf(self) -> dict[str, float | None]:
        """RTF of decoder and vocoder over this reply; None without audio."""
        if not self.audio_s:
            return {"decoder": None, "vocoder": None}
        return {"decoder": self.decode_s / self.audio_s, "vocoder": self.vocoder_s / self.audio_s}

    def summary(self) -> dict[str, float | None]:
        """One flat record for the log and `/v1/realtime/turns`: milliseconds, RTFs, counters."""
        parts = {f"{name}_ms": _ms(value) for name, value in asdict(self.latency()).items()}
        rtf = {f"{name}_rtf": None if value is None else round(value, 3) for name, value in self.rtf().items()}
        return {
            **parts,
            "duration_ms": _ms(_gap(self._begun, self.ended)),
            **rtf,
            **{f"{FAULT_PREFIX}{name}": count for name, count in self.faults.items()},
            "audio_ms": _ms(self.audio_s),
            "least_margin_ms": _ms(min(self.margins, default=None)),
            "chunks": len(self.margins) + (self.first_audio is not None),
            "late_chunks": sum(margin < 0 for margin in self.margins),
            "ahead_ms": _ms(self.ahead_s),
            "wasted_drafts": self.waste.drafts,
            "wasted_ids": self.waste.ids,
            "wasted_audio_ms": _ms(self.waste.audio_s),
        }


@dataclass(slots=True)
class ErrorTally:
    """The errors of one session: those that its clients were told, and responses that failed. ``last``: the newest
    code; ``at``: when it came."""

    count: int = 0
    last: str = ""
    at: float = 0.0

    def add(self, code: str, now: float) -> None:
        """Count one. ``code``: the stable one of the API."""
        self.count += 1
        self.last, self.at = code, now


MOST_LATENCIES = 1000
"""The latest replies of one call whose latency counts in its median."""


@dataclass(slots=True)
class CallFigures:
    """All replies of one call, for the line in the log at its end."""

    replies: int = 0
    late_chunks: int = 0
    _first_audio_ms: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_LATENCIES))

    def add(self, summary: Mapping[str, float | None]) -> None:
        """Count a reply by its `ReplyTrace.summary`."""
        self.replies += 1
        self.late_chunks += int(summary.get("late_chunks") or 0)
        total = summary.get("total_ms")
        if summary.get("audio_ms") and total is not None:
            self._first_audio_ms.append(total)

    def latest_first_audio_ms(self, count: int) -> list[float]:
        """Of the latest ``count`` replies with audio, oldest first."""
        return list(self._first_audio_ms)[-count:]

    @property
    def first_audio_ms(self) -> float | None:
        """The median time from the end of speech, or the request, to the first audio; None where none was sent."""
        return round(median(self._first_audio_ms), 1) if self._first_audio_ms else None


def _gap(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
