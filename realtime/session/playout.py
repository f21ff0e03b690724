"""The playback ledger: which part of the sent speech the caller has heard, in samples at 24 kHz. It reads no clock.

Reports of the transport count where there are any. Else the time does: a client plays in real time from the moment it
gets the first audio, and audio that comes while it plays queues behind. `conversation.item.truncate` overrides both;
the session writes it into the history.

A reply that was heard to its end leaves the ledger: only what may still be cut is remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE

_REPORT_TOLERANCE_S = 0.25
"""Audio that a transport may leave unreported: 100 samples of a resampler, or the last of its reports."""
_REPORT_PATIENCE_S = 2.0
"""How long after its end by the clock a playback may go on without any report: more than jitter buffers hold."""
_LEAST_WAIT_S = 0.05
"""Playback is not looked at more often than this."""


_MOST_EARLY_S = 0.5
"""How much earlier than its report a piece may have begun to play; a transport that blocks for longer plays nothing."""


@dataclass(slots=True)
class _Run:
    """Samples that play without a gap from the time ``start`` on, or up to ``early`` seconds before it."""

    start: float
    samples: int
    early: float

    @property
    def end(self) -> float:
        return self.start + self.samples / OUTPUT_SAMPLE_RATE


@dataclass(slots=True)
class _Track:
    """The speech of one item. ``queued``: samples made for it, of which ``sent`` are with the peer."""

    runs: list[_Run] = field(default_factory=list)
    queued: int = 0
    sent: int = 0
    reported: int | None = None
    reported_at: float = 0.0

    def heard(self, now: float) -> int:
        if self.reported is not None:
            return min(self.reported, self.sent)
        return sum(min(run.samples, max(0, round((now - run.start) * OUTPUT_SAMPLE_RATE))) for run in self.runs)


class PlayoutLedger:
    """One session's speech on its way to the caller's ear. ``now``: seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}
        self._ends_at = 0.0  # as all times inside, without the pauses
        self._paused_at: float | None = None
        self._paused_for = 0.0

    def pause(self, now: float) -> None:
        """The playback stands still. More than once is harmless."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> bool:
        """It goes on from the same sample. Gives whether it had been paused."""
        if self._paused_at is None:
            return False
        self._paused_for += now - self._paused_at
        self._paused_at = None
        return True

    def queued(self, item_id: str, samples: int) -> None:
        """So many more samples of the item wait to be sent."""
        self._tracks.setdefault(item_id, _Track()).queued += samples

    def sent(self, item_id: str, samples: int, now: float, given: float | None = None) -> None:
        """So many more samples of the item went to the peer. ``given``: when the transport got them, if earlier; a
        process that stands still between the two learns late that they play."""
        given = self._without_pauses(now if given is None else given)
        now = self._without_pauses(now)
        self._settle(now)
        track = self._tracks.get(item_id)
        if track is None:  # cut or forgotten while the transport took it over
            return
        start = max(now, self._ends_at)
        if track.runs and start == self._ends_at:
            track.runs[-1].samples += samples
        else:
            track.runs.append(_Run(start, samples, min(max(0.0, start - given), _MOST_EARLY_S)))
        track.sent += samples
        self._ends_at = track.runs[-1].end

    def retracted(self, item_id: str) -> None:
        """What waits of the item will never be sent."""
        if (track := self._tracks.get(item_id)) is not None:
            track.queued = track.sent

    def played(self, item_id: str, samples: int, now: float) -> None:
        """The transport's report: so many samples of the item, counted from its start, have left the speaker."""
        track = self._tracks.get(item_id)
        if track is not None and samples > (-1 if track.reported is None else track.reported):
            track.reported, track.reported_at = samples, self._without_pauses(now)

    def remaining(self, now: float) -> float:
        """Seconds of speech that the caller has not heard yet, sent or waiting."""
        now = self._without_pauses(now)
        samples = sum(track.queued - track.heard(now) for track in self._tracks.values())
        return samples / OUTPUT_SAMPLE_RATE

    def ends_in(self, now: float) -> float:
        """Seconds after which to ask again whether the playback has ended; 0: it has.

        A transport may report less than it was given, for ever: a resampler holds some samples back, a report is lost.
        So the playback has ended when it should be over by the clock and the reports come near the end, or stop.
        """
        remaining = self.remaining(now)
        at = self._without_pauses(now)
        if remaining <= 0:
            return 0.0
        if self._paused_at is None and at >= self._ends_at:
            latest = max((track.reported_at for track in self._tracks.values()), default=0.0)
            if remaining <= _REPORT_TOLERANCE_S or at - max(latest, self._ends_at) >= _REPORT_PATIENCE_S:
                return 0.0
        return max(remaining, _LEAST_WAIT_S)

    def finish(self, now: float) -> None:
        """The playback has ended: whatever the reports say, everything that was sent was heard."""
        self._tracks.clear()
        self._ends_at = min(self._ends_at, self._without_pauses(now))

    def playing(self, start: float, seconds: float) -> Iterator[tuple[float, str, int, int]]:
        """What plays from ``start`` on for so long, by the clock and at the earliest: seconds after ``start``, the
        item, its first sample and how many."""
        begin, end = self._without_pauses(start), self._without_pauses(start + seconds)
        for item_id, track in self._tracks.items():
            before = 0
            for run in track.runs:
                first, last = max(begin, run.start - run.early), min(end, run.end - run.early)
                if last > first:
                    at = before + round((first - run.start + run.early) * OUTPUT_SAMPLE_RATE)
                    yield first - begin, item_id, at, round((last - first) * OUTPUT_SAMPLE_RATE)
                before += run.samples

    def cut(self, now: float) -> dict[str, int]:
        """The playback stops now. Gives the samples heard of each item that was not heard to its end."""
        self.resume(now)
        now = self._without_pauses(now)
        self._settle(now)
        heard = {item_id: track.heard(now) for item_id, track in self._tracks.items()}
        self._tracks.clear()
        self._ends_at = now
        return heard

    def forget(self, item_id: str) -> None:
        """The item's speech does not count any more: it was deleted, or the caller said what it heard."""
        self._tracks.pop(item_id, None)
        self._ends_at = max((run.end for track in self._tracks.values() for run in track.runs), default=0.0)

    def _without_pauses(self, now: float) -> float:
        return (now if self._paused_at is None else self._paused_at) - self._paused_for

    def _settle(self, now: float) -> None:
        """Drop what was heard to its end."""
        self._tracks = {name: track for name, track in self._tracks.items() if track.heard(now) < track.queued}
