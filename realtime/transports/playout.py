"""The speech that a transport plays itself: frames of 20 ms on an absolute clock, and how much of it was heard.

`Playout` holds what the session has given and the transport has not sent. It can be paused and goes on from the same
sample; a clear drops it at once. It reads no clock and sends nothing, so the phone can use it as well as WebRTC.
`FrameClock` says when the next frame is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from realtime.audio.streams import Samples
from realtime.ports.channel import AudioPlayed, PlaybackChanged, Report

RATE = 24_000
FRAME_S = 0.02
FRAME_SAMPLES = int(RATE * FRAME_S)
FADE_SAMPLES = RATE * 5 // 1000
"""A cut in mid-sound clicks: 5 ms are faded."""
MAX_LATE_S = 0.2
"""A clock that is further behind starts anew: the receiver has filled the gap already."""
MAX_ITEMS = 16
"""Items whose length is remembered: speech comes for one or two at a time."""
REPORT_FRAMES = 2
"""Every so many frames the playback is reported."""

_FADE_OUT = np.linspace(1, 0, FADE_SAMPLES, dtype=np.float32)


class FrameClock:
    """Due times of frames: each is 20 ms after the one before, whenever it was sent, so nothing drifts."""

    def __init__(self, now: float) -> None:
        """``now``: seconds of a monotonic clock; the first frame is due then."""
        self._origin = now
        self._frames = 0

    @property
    def due(self) -> float:
        """When the next frame is to be sent."""
        return self._origin + self._frames * FRAME_S

    def sent(self, now: float) -> int:
        """The next frame was sent at ``now``. Gives how many are skipped behind it, because the clock was stopped for
        too long (a stalled machine)."""
        self._frames += 1
        late = now - self.due
        skipped = int(late / FRAME_S) if late > MAX_LATE_S else 0
        self._frames += skipped
        return skipped


@dataclass(slots=True)
class _Piece:
    """Samples of one item; ``start``: the position of the first in the item."""

    response_id: str
    item_id: str
    samples: Samples
    start: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """What left with a frame: to be reported when the listener has heard it."""

    at: float
    report: Report


class Playout:
    """One call's speech, float32 at 24 kHz."""

    def __init__(self) -> None:
        self._pieces: deque[_Piece] = deque()
        self._lengths: dict[str, int] = {}
        self._audible = ""
        self._complete: set[str] = set()
        self._paused = False
        self._tail: Samples | None = None
        self._fade_in = False
        self._sent: deque[_Sent] = deque()
        self._unreported = 0

    @property
    def seconds(self) -> float:
        """What waits."""
        return sum(len(piece.samples) for piece in self._pieces) / RATE

    @property
    def paused(self) -> bool:
        return self._paused

    def add(self, response_id: str, item_id: str, samples: Samples) -> None:
        """Queue speech of an item."""
        start = self._lengths.get(item_id, 0)
        self._lengths[item_id] = start + len(samples)
        if len(self._lengths) > MAX_ITEMS:
            del self._lengths[next(iter(self._lengths))]
        if len(samples):
            self._pieces.append(_Piece(response_id, item_id, samples, start))

    def complete(self, response_id: str, now: float) -> None:
        """No more speech of this response will come."""
        if self._audible == response_id or any(piece.response_id == response_id for piece in self._pieces):
            self._complete.add(response_id)
            self._end_if_played(now)

    def pause(self) -> None:
        """Send silence until `resume`."""
        if not self._paused:
            self._paused = True
            self._tail = self._next_samples()

    def resume(self) -> None:
        """Go on from the same sample."""
        self._fade_in = self._paused
        self._paused = False

    def clear(self) -> None:
        """Drop all that waits; what was sent is still reported."""
        self._tail = None if self._paused else self._next_samples()
        self._pieces.clear()
        self._lengths.clear()
        self._complete.clear()
        self._audible = ""
        self._paused = False

    def next_frame(self, now: float) -> Samples | None:
        """The next 20 ms; None: silence. ``now``: when it is sent."""
        tail, self._tail = self._tail, None
        if self._paused or not self._pieces:
            return None if tail is None else _faded(tail)
        self._begin(self._pieces[0].response_id, now)
        frame, filled = np.zeros(FRAME_SAMPLES, np.float32), 0
        while filled < FRAME_SAMPLES and self._pieces:
            piece = self._pieces[0]
            if piece.response_id != self._audible:
                break  # the end of one response is told before the next begins
            taken = min(len(piece.samples), FRAME_SAMPLES - filled)
            frame[filled : filled + taken] = piece.samples[:taken]
            filled += taken
            self._take(piece, taken, now)
        if self._fade_in:
            self._fade_in = False
            frame[:FADE_SAMPLES] *= _FADE_OUT[::-1]
        self._end_if_played(now)
        return frame

    def reports(self, now: float, delay: float) -> Iterator[Report]:
        """What was heard until now. ``delay``: seconds from a frame's departure to the listener's ear."""
        played: AudioPlayed | None = None
        while self._sent and self._sent[0].at + delay <= now:
            report = self._sent.popleft().report
            if isinstance(report, AudioPlayed):
                if played is not None and played.item_id != report.item_id:
                    yield played
                played = report
                continue
            if played is not None:
                yield played
                played = None
            yield report
        if played is not None:
            yield played

    def _begin(self, response_id: str, now: float) -> None:
        if self._audible != response_id:
            if self._audible:
                self._sent.append(_Sent(now, PlaybackChanged(self._audible, False)))
            self._audible = response_id
            self._sent.append(_Sent(float("-inf"), PlaybackChanged(response_id, True)))

    def _take(self, piece: _Piece, count: int, now: float) -> None:
        piece.samples = piece.samples[count:]
        piece.start += count
        ended = not len(piece.samples)
        if ended:
            self._pieces.popleft()
        self._unreported += 1
        if ended or self._unreported >= REPORT_FRAMES:
            self._unreported = 0
            self._sent.append(_Sent(now, AudioPlayed(piece.item_id, piece.start)))

    def _end_if_played(self, now: float) -> None:
        audible = self._audible
        if audible in self._complete and not any(piece.response_id == audible for piece in self._pieces):
            self._complete.discard(audible)
            self._audible = ""
            self._sent.append(_Sent(now, PlaybackChanged(audible, False)))

    def _next_samples(self) -> Samples | None:
        """The next 5 ms, or fewer, without taking them."""
        return self._pieces[0].samples[:FADE_SAMPLES].copy() if self._pieces else None


def _faded(tail: Samples) -> Samples:
    frame = np.zeros(FRAME_SAMPLES, np.float32)
    frame[: len(tail)] = tail * _FADE_OUT[: len(tail)]
    return frame
