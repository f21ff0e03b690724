"""Speech on a line whose far end queues it: sent ahead, taken back by a clear, heard by marks.

`BufferedPlayout` holds what the session has given, and what was sent and not yet heard. The far end cannot hold its
playback, so a pause takes back what is queued there and `resume` sends it again from the sample that was heard last.
It reads no clock and sends nothing. ``now``: seconds of a monotonic clock.

The position is the end of the last mark that came back, and the time since; no later than the next mark, which would
have come back otherwise. A far end that gives no marks, or stops giving them, is taken at its word that it plays in
real time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from realtime.audio.streams import Samples
from realtime.ports.channel import AudioPlayed, PlaybackChanged, Report
from realtime.transports.playout import FADE_SAMPLES, FRAME_SAMPLES, RATE, ItemLengths

PIECE_SAMPLES = RATE // 10
"""Sent at once: 100 ms."""
MARK_SAMPLES = RATE // 5
"""Between two marks."""
MARK_PATIENCE_S = 2.0
"""A mark that is later than this will not come: networks take a tenth of it."""

_NOTHING = np.zeros(0, np.float32)
_FADE_IN = np.linspace(0, 1, FADE_SAMPLES, dtype=np.float32)


@dataclass(slots=True)
class _Speech:
    """Samples of one item; ``start``: the position of the first in the item. Without samples it is the end of the
    response."""

    response_id: str
    item_id: str
    samples: Samples
    start: int

    def take(self, count: int) -> _Speech:
        """The first samples, which are no longer in here."""
        taken = _Speech(self.response_id, self.item_id, self.samples[:count], self.start)
        self.samples = self.samples[count:]
        self.start += count
        return taken


@dataclass(frozen=True, slots=True)
class Piece:
    """To be sent: samples at 24 kHz, in frames of 20 ms unless the speech ends here. ``mark``: the name of the mark
    behind it; empty: none. ``begins``: nothing of the same stream went before. ``ends``: nothing follows."""

    samples: Samples
    mark: str
    begins: bool
    ends: bool


class BufferedPlayout:
    """One call's speech, float32 at 24 kHz."""

    def __init__(self, lead_s: float = 1.0, *, marks: bool = True) -> None:
        """``lead_s``: the most that may wait at the far end. ``marks``: the far end tells when a mark was played."""
        self._lead = int(lead_s * RATE)
        self._trusts_marks = marks
        self._waiting: deque[_Speech] = deque()
        self._queued: deque[_Speech] = deque()  # at the far end
        self._marks: deque[tuple[str, int]] = deque()  # that have not come back, with their positions
        self._reports: deque[Report] = deque()
        self._items = ItemLengths()
        self._audible = ""
        self._paused = False
        self._fade_in = False
        self._generation = 0
        # Positions in the stream since the last clear, in samples:
        self._sent = 0
        self._heard = 0
        self._marked = 0
        self._marked_at = 0.0
        self._unmarked = 0

    @property
    def seconds(self) -> float:
        """What was not heard yet."""
        return (self._sent - self._heard + sum(len(speech.samples) for speech in self._waiting)) / RATE

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def active(self) -> bool:
        """Whether there is something to send, or to report."""
        return bool(self._queued or self._waiting) and not self._paused

    def add(self, response_id: str, item_id: str, samples: Samples) -> None:
        """Queue speech of an item."""
        start = self._items.extend(item_id, len(samples))
        if len(samples):
            self._waiting.append(_Speech(response_id, item_id, samples, start))

    def complete(self, response_id: str) -> None:
        """No more speech of this response will come."""
        known = any(speech.response_id == response_id for speech in (*self._queued, *self._waiting))
        if known or self._audible == response_id:
            self._waiting.append(_Speech(response_id, "", _NOTHING, 0))

    def pause(self, now: float) -> bool:
        """Send nothing until `resume`. Gives whether the far end has to be cleared."""
        if self._paused:
            return False
        self._paused = self._fade_in = True
        queued = self._take_back(now)
        self._waiting.extendleft(reversed(queued))
        return bool(queued)

    def resume(self) -> None:
        """Go on from the sample that was heard last."""
        self._paused = False

    def clear(self, now: float) -> bool:
        """Drop all that waits. Gives whether the far end has to be cleared."""
        queued = self._take_back(now)
        self._waiting.clear()
        self._items = ItemLengths()
        self._audible = ""
        self._paused = self._fade_in = False
        return bool(queued)

    def pieces(self, now: float) -> Iterator[Piece]:
        """What is to be sent now."""
        self._move(now)
        while not self._paused and self._waiting and self._sent - self._heard + PIECE_SAMPLES <= self._lead:
            if (piece := self._next_piece(now)) is None:
                return
            yield piece

    def marked(self, name: str, now: float) -> None:
        """A mark came back. One of before the last clear was dropped with its audio and counts for nothing."""
        names = [name for name, _ in self._marks]
        if name not in names:
            return
        for _ in range(names.index(name) + 1):
            _, position = self._marks.popleft()
        self._marked, self._marked_at = max(position, self._heard), now

    def reports(self, now: float) -> Iterator[Report]:
        """What was heard since the last time."""
        self._move(now)
        while self._reports:
            yield self._reports.popleft()

    def _next_piece(self, now: float) -> Piece | None:
        """None: less than a frame waits."""
        available = sum(len(speech.samples) for speech in self._waiting)
        ended = not len(self._waiting[-1].samples)
        wanted = min(PIECE_SAMPLES, available)
        if not ended or wanted < available:
            wanted -= wanted % FRAME_SAMPLES
            if not wanted:
                return None
        begins = self._sent == 0
        if self._heard == self._sent:  # the far end has nothing to play: this plays now
            self._marked, self._marked_at = self._sent, now
        samples = self._queue(wanted)
        ends = ended and not self._waiting
        self._sent += wanted
        self._unmarked += wanted
        return Piece(samples, self._next_mark(ends), begins, ends)

    def _queue(self, count: int) -> Samples:
        """So many samples are with the far end now, and the ends of responses behind them."""
        parts = [_NOTHING]
        while self._waiting and (count or not len(self._waiting[0].samples)):
            speech = self._waiting[0]
            taken = speech.take(min(count, len(speech.samples)))
            count -= len(taken.samples)
            parts.append(taken.samples)
            self._queued.append(taken)
            if not len(speech.samples):
                self._waiting.popleft()
        samples = np.concatenate(parts, dtype=np.float32)
        if self._fade_in and len(samples):
            self._fade_in = False
            faded = min(FADE_SAMPLES, len(samples))
            samples[:faded] *= _FADE_IN[:faded]
        return samples

    def _next_mark(self, ends: bool) -> str:
        due = self._unmarked >= MARK_SAMPLES or (ends and self._unmarked > 0)
        if not self._trusts_marks or not due:
            return ""
        self._unmarked = 0
        name = f"{self._generation}-{self._sent * 1000 // RATE}"
        self._marks.append((name, self._sent))
        return name

    def _take_back(self, now: float) -> deque[_Speech]:
        """What the far end has not played."""
        self._move(now)
        queued, self._queued = self._queued, deque()
        self._generation += 1
        self._marks.clear()
        self._sent = self._heard = self._marked = self._unmarked = 0
        return queued

    def _move(self, now: float) -> None:
        """Advance the position, and note what was heard until there."""
        position = self._marked + int((now - self._marked_at) * RATE)
        if self._marks and position - self._marks[0][1] > MARK_PATIENCE_S * RATE:
            self._marks.clear()
            self._trusts_marks = False
        position = min(position, self._marks[0][1] if self._marks else self._sent)
        heard = max(0, position - self._heard)
        self._heard += heard
        while self._queued and (heard or not len(self._queued[0].samples)):
            speech = self._queued[0]
            taken = speech.take(min(heard, len(speech.samples)))
            heard -= len(taken.samples)
            self._note(taken)
            if not len(speech.samples):
                self._queued.popleft()

    def _note(self, heard: _Speech) -> None:
        if heard.response_id != self._audible:
            self._change(heard.response_id)
        if not len(heard.samples):
            self._change("")
            return
        played = AudioPlayed(heard.item_id, heard.start + len(heard.samples))
        last = self._reports[-1] if self._reports else None
        if isinstance(last, AudioPlayed) and last.item_id == played.item_id:
            self._reports.pop()
        self._reports.append(played)

    def _change(self, response_id: str) -> None:
        """This response is heard now; empty: none."""
        if self._audible:
            self._reports.append(PlaybackChanged(self._audible, False))
        self._audible = response_id
        if response_id:
            self._reports.append(PlaybackChanged(response_id, True))
