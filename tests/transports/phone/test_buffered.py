"""Speech on a line that queues it: little ahead, taken back exactly where it was heard."""

from __future__ import annotations

import itertools
import random
from collections import deque

import numpy as np
import pytest

from realtime.ports.channel import AudioPlayed, PlaybackChanged, Report
from realtime.transports.phone.buffered import MARK_PATIENCE_S, PIECE_SAMPLES, BufferedPlayout
from realtime.transports.playout import FADE_SAMPLES, FRAME_SAMPLES, RATE

RAMP = np.arange(4 * RATE, dtype=np.float32) / 1e6 + 1


class FarEnd:
    """A carrier: it queues, plays in real time and echoes marks, ``delay`` seconds away."""

    def __init__(self, playout: BufferedPlayout, *, delay: float = 0.0, echoes: bool = True) -> None:
        self.playout, self.delay, self.echoes = playout, delay, echoes
        self.now = 0.0
        self.heard: list[np.ndarray] = []
        self.queue: deque[np.ndarray | str] = deque()
        self.echo: deque[tuple[float, str]] = deque()
        self.reports: list[Report] = []
        self.most = 0

    @property
    def waiting(self) -> int:
        return sum(len(one) for one in self.queue if not isinstance(one, str))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.01)):
            self.reports += self.playout.reports(self.now)
            for piece in self.playout.pieces(self.now):
                self.queue.append(piece.samples.copy())
                if piece.mark:
                    self.queue.append(piece.mark)
            self.most = max(self.most, self.waiting)
            self.now += 0.01
            self._play(RATE // 100)
            while self.echo and self.echo[0][0] <= self.now:
                name = self.echo.popleft()[1]
                if self.echoes:
                    self.playout.marked(name, self.now)

    def clear(self) -> None:
        """As Twilio: all marks come back."""
        for one in self.queue:
            if isinstance(one, str):
                self.echo.append((self.now + self.delay, one))
        self.queue.clear()

    def _play(self, count: int) -> None:
        while self.queue and (count or isinstance(self.queue[0], str)):
            one = self.queue[0]
            if isinstance(one, str):
                self.echo.append((self.now + self.delay, one))
                self.queue.popleft()
                continue
            self.heard.append(one[:count])
            self.queue[0] = one[count:]
            count -= min(count, len(one))
            if not len(self.queue[0]):
                self.queue.popleft()


def speaking(samples: np.ndarray = RAMP, **options: float | bool) -> BufferedPlayout:
    playout = BufferedPlayout(**options)  # type: ignore[arg-type]
    playout.add("resp_1", "item_1", samples)
    return playout


def test_at_most_a_second_waits_at_the_far_end() -> None:
    far = FarEnd(speaking())
    far.playout.complete("resp_1")
    far.run(5)
    assert 0.8 * RATE < far.most <= RATE
    assert np.array_equal(np.concatenate(far.heard)[FADE_SAMPLES:], RAMP[FADE_SAMPLES:])
    assert far.reports[0] == PlaybackChanged("resp_1", True)
    assert far.reports[-2:] == [AudioPlayed("item_1", len(RAMP)), PlaybackChanged("resp_1", False)]
    assert not far.playout.active and far.playout.seconds == 0


def test_pieces_are_whole_frames_with_marks() -> None:
    playout = speaking(RAMP[:10_000])
    pieces = list(playout.pieces(0.0))
    assert sum(len(piece.samples) for piece in pieces) == 10_000 - 10_000 % FRAME_SAMPLES
    assert all(len(piece.samples) <= PIECE_SAMPLES for piece in pieces)
    assert [bool(piece.mark) for piece in pieces] == [False, True, False, True, False][: len(pieces)]
    playout.complete("resp_1")
    (last,) = playout.pieces(0.0)
    assert (len(last.samples), last.ends, bool(last.mark)) == (10_000 % FRAME_SAMPLES, True, True)


@pytest.mark.parametrize("delay", [0.0, 0.08, 0.3])
def test_the_position_is_never_ahead_of_the_ear(delay: float) -> None:
    far = FarEnd(speaking(), delay=delay)
    for _ in range(300):
        far.run(0.01)
        told = [report.samples for report in far.reports if isinstance(report, AudioPlayed)]
        heard = sum(map(len, far.heard))
        assert (told[-1] if told else 0) <= heard + FRAME_SAMPLES
    assert told[-1] >= heard - (delay + 0.25) * RATE


def test_a_stalled_far_end_holds_the_position() -> None:
    playout = speaking()
    list(playout.pieces(0.0))
    played = [report for report in playout.reports(1.5) if isinstance(report, AudioPlayed)]
    assert played[-1].samples == 2 * PIECE_SAMPLES  # the first mark has not come back


def test_without_marks_the_clock_counts() -> None:
    far = FarEnd(speaking(lead_s=0.2, marks=False))
    far.run(1.0)
    assert far.most <= 0.2 * RATE
    assert all(not isinstance(one, str) for one in far.queue)
    played = [report.samples for report in far.reports if isinstance(report, AudioPlayed)]
    assert played[-1] == pytest.approx(RATE, abs=2 * FRAME_SAMPLES)


def test_marks_that_never_come_are_given_up() -> None:
    far = FarEnd(speaking(), echoes=False)
    far.playout.complete("resp_1")
    far.run(MARK_PATIENCE_S + 6)
    assert far.reports[-1] == PlaybackChanged("resp_1", False)


def test_a_pause_goes_on_from_the_sample_heard_last() -> None:
    far = FarEnd(speaking())
    far.run(1.234)
    assert far.playout.pause(far.now) and not far.playout.pause(far.now)
    far.clear()
    told = [
        report.samples for report in (*far.reports, *far.playout.reports(far.now)) if isinstance(report, AudioPlayed)
    ]
    before = sum(map(len, far.heard))
    assert abs(told[-1] - before) <= FRAME_SAMPLES
    far.run(0.5)
    assert sum(map(len, far.heard)) == before and not far.playout.active
    far.playout.resume()
    far.playout.complete("resp_1")
    far.run(4)
    after = np.concatenate(far.heard)[before:]
    expected = RAMP[told[-1] :]
    assert np.array_equal(after[FADE_SAMPLES:], expected[FADE_SAMPLES:]) and (after[:5] < expected[:5]).all()
    assert far.reports[-2:] == [AudioPlayed("item_1", len(RAMP)), PlaybackChanged("resp_1", False)]


def test_marks_after_a_clear_count_for_nothing() -> None:
    far = FarEnd(speaking())
    far.run(0.5)
    assert far.playout.clear(far.now)
    far.clear()
    far.playout.add("resp_2", "item_2", RAMP)
    far.run(0.25)
    told = {report.item_id: report.samples for report in far.reports if isinstance(report, AudioPlayed)}
    assert told["item_1"] <= 0.5 * RATE and told["item_2"] <= 0.26 * RATE
    assert PlaybackChanged("resp_1", False) not in far.reports


def test_nothing_queued_needs_no_clear() -> None:
    playout = BufferedPlayout()
    assert not playout.clear(0.0) and not playout.pause(0.0)


def test_cleared_speech_is_never_sent() -> None:
    playout = speaking()
    list(playout.pieces(0.0))
    playout.clear(0.1)
    assert list(playout.pieces(0.1)) == [] and playout.seconds == 0


def test_a_response_ends_before_the_next_begins() -> None:
    far = FarEnd(speaking(RAMP[:7000]))
    far.playout.complete("resp_1")
    far.playout.add("resp_2", "item_2", RAMP[:7000])
    far.playout.complete("resp_2")
    far.run(2)
    changes = [report for report in far.reports if isinstance(report, PlaybackChanged)]
    pairs = itertools.product(("resp_1", "resp_2"), (True, False))
    assert changes == [PlaybackChanged(name, playing) for name, playing in pairs]


def test_late_speech_is_the_same_response() -> None:
    far = FarEnd(speaking(RAMP[:4800]))
    far.run(2)
    far.playout.add("resp_1", "item_1", RAMP[:4800])
    far.playout.complete("resp_1")
    far.run(2)
    assert far.reports[-2:] == [AudioPlayed("item_1", 9600), PlaybackChanged("resp_1", False)]
    assert far.reports.count(PlaybackChanged("resp_1", True)) == 1


def test_random_pauses_lose_and_repeat_little() -> None:
    chance = random.Random(3)
    far = FarEnd(speaking(), delay=0.05)
    far.playout.complete("resp_1")
    pauses = 0
    while PlaybackChanged("resp_1", False) not in far.reports and pauses < 100:
        far.run(chance.uniform(0.02, 0.6))
        if far.playout.pause(far.now):
            pauses += 1
            far.clear()
        far.run(chance.uniform(0, 0.2))
        far.playout.resume()
    heard = np.concatenate(far.heard)
    positions = np.rint((heard - 1) * 1e6)
    missing = np.setdiff1d(np.arange(len(RAMP)), positions)
    assert pauses > 5 and len(missing) <= (pauses + 1) * FADE_SAMPLES  # nothing but what was faded
    assert len(heard) <= len(RAMP) + pauses * (0.25 + 2 * 0.05) * RATE
