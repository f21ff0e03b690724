"""Speech that a transport plays: on an absolute clock, exact to the sample when paused, dropped when cleared."""

from __future__ import annotations

import random

import numpy as np
import pytest

from realtime.ports.channel import AudioPlayed, PlaybackChanged
from realtime.transports.playout import FADE_SAMPLES, FRAME_S, FRAME_SAMPLES, RATE, FrameClock, Playout

RAMP = np.arange(10 * FRAME_SAMPLES, dtype=np.float32) / 1e4


def playing(samples: np.ndarray = RAMP) -> Playout:
    playout = Playout()
    playout.add("resp_1", "item_1", samples)
    return playout


def frames(playout: Playout, count: int, start: float = 0.0) -> list[np.ndarray | None]:
    return [playout.next_frame(start + index * FRAME_S) for index in range(count)]


def test_an_hour_of_frames_does_not_drift() -> None:
    chance = random.Random(7)
    clock, now = FrameClock(1000.0), 1000.0
    for _ in range(180_000):
        now = max(now, clock.due) + chance.expovariate(1 / 0.004)  # woken late, 4 ms on average
        assert clock.sent(now) == 0
    assert clock.due == pytest.approx(1000.0 + 3600.0, abs=1e-6)


def test_short_stalls_are_caught_up_long_ones_skipped() -> None:
    clock = FrameClock(0.0)
    assert clock.sent(0.19) == 0 and clock.due == pytest.approx(0.02)
    assert clock.sent(5.0) == 248 and clock.due == pytest.approx(5.0)


def test_all_samples_come_once_in_order() -> None:
    playout = Playout()
    for start in range(0, len(RAMP), 700):
        playout.add("resp_1", "item_1", RAMP[start : start + 700])
    assert np.array_equal(np.concatenate(frames(playout, 10)), RAMP)
    assert playout.next_frame(1.0) is None


def test_a_pause_goes_on_from_the_same_sample() -> None:
    playout = playing()
    before = frames(playout, 3)
    playout.pause()
    tail = playout.next_frame(1.0)
    assert tail is not None and not tail[FADE_SAMPLES:].any() and tail[0] == RAMP[3 * FRAME_SAMPLES]
    assert frames(playout, 5) == [None] * 5
    playout.resume()
    after = frames(playout, 7)
    heard = np.concatenate([*before, *after])
    faded = slice(3 * FRAME_SAMPLES, 3 * FRAME_SAMPLES + FADE_SAMPLES)
    assert np.array_equal(np.delete(heard, faded), np.delete(RAMP, faded))
    assert (heard[faded] <= RAMP[faded]).all()


def test_a_clear_is_silent_within_one_frame() -> None:
    playout = playing()
    frames(playout, 2)
    playout.clear()
    tail = playout.next_frame(1.0)
    assert tail is not None and not tail[FADE_SAMPLES:].any()
    assert frames(playout, 3) == [None] * 3 and playout.seconds == 0


def test_a_clear_ends_a_pause() -> None:
    playout = playing()
    playout.pause()
    playout.clear()
    playout.add("resp_2", "item_2", RAMP)
    assert playout.next_frame(1.0) is not None


def reports(playout: Playout, now: float, delay: float = 0.0) -> list[AudioPlayed | PlaybackChanged]:
    return list(playout.reports(now, delay))  # type: ignore[arg-type]


def test_playback_is_reported_when_it_was_heard() -> None:
    playout = playing()
    frames(playout, 4)  # sent at 0.00, 0.02, 0.04 and 0.06 s
    assert reports(playout, 0.06, 0.1) == [PlaybackChanged("resp_1", True)]
    assert reports(playout, 0.121, 0.1) == [AudioPlayed("item_1", 2 * FRAME_SAMPLES)]
    assert reports(playout, 0.17, 0.1) == [AudioPlayed("item_1", 4 * FRAME_SAMPLES)]


def test_a_response_stops_once_made_and_heard() -> None:
    playout = playing()
    frames(playout, 9)
    playout.complete("resp_1", 0.2)
    assert PlaybackChanged("resp_1", False) not in reports(playout, 9.0)
    playout.next_frame(0.2)
    assert reports(playout, 9.0) == [AudioPlayed("item_1", len(RAMP)), PlaybackChanged("resp_1", False)]


def test_speech_made_late_is_the_same_response() -> None:
    playout = playing()
    frames(playout, 20)
    playout.add("resp_1", "item_1", RAMP)
    frames(playout, 10, 1.0)
    playout.complete("resp_1", 2.0)
    changes = [one for one in reports(playout, 9.0) if isinstance(one, PlaybackChanged)]
    assert changes == [PlaybackChanged("resp_1", True), PlaybackChanged("resp_1", False)]


def test_cleared_speech_does_not_stop() -> None:
    playout = playing()
    frames(playout, 2)
    playout.clear()
    playout.complete("resp_1", 0.1)
    assert reports(playout, 9.0) == [PlaybackChanged("resp_1", True), AudioPlayed("item_1", 2 * FRAME_SAMPLES)]


def test_the_next_response_begins_after_the_last() -> None:
    playout = playing(RAMP[: FRAME_SAMPLES + 10])
    playout.add("resp_2", "item_2", RAMP)
    playout.complete("resp_1", 0.0)
    frames(playout, 3)
    told = reports(playout, 9.0)
    first_end, second_start = PlaybackChanged("resp_1", False), PlaybackChanged("resp_2", True)
    assert told.index(first_end) < told.index(second_start)


def test_positions_survive_many_items() -> None:
    playout = Playout()
    for number in range(100):
        playout.add(f"resp_{number}", f"item_{number}", RAMP[:FRAME_SAMPLES])
    assert playout.seconds == pytest.approx(100 * FRAME_SAMPLES / RATE)
    frames(playout, 100)
    assert reports(playout, 9e9)[-1] == AudioPlayed("item_99", FRAME_SAMPLES)
