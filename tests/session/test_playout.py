"""The ledger of what the caller has heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.session.playout import PlayoutLedger

SECOND = 24_000


def ledger(*sent: tuple[str, int, float]) -> PlayoutLedger:
    """Speech of these items, so many samples each, sent at these times."""
    new = PlayoutLedger()
    for item_id, samples, now in sent:
        new.queued(item_id, samples)
        new.sent(item_id, samples, now)
    return new


def test_clients_play_in_real_time_from_first_audio() -> None:
    speech = ledger(("a", 3 * SECOND, 10.0))
    assert speech.remaining(11.0) == pytest.approx(2.0)
    assert speech.cut(11.0) == {"a": SECOND}


def test_what_comes_while_it_plays_queues_behind() -> None:
    speech = ledger(("a", SECOND, 10.0), ("a", SECOND, 10.1), ("b", SECOND, 10.2))
    assert speech.remaining(10.2) == pytest.approx(2.8)
    assert speech.cut(12.5) == {"b": SECOND // 2}


def test_gaps_in_sending_are_gaps_in_playback() -> None:
    speech = ledger(("a", SECOND, 10.0), ("a", SECOND, 15.0))
    assert speech.cut(15.5) == {"a": SECOND + SECOND // 2}


def test_what_was_heard_to_its_end_stays_whole() -> None:
    assert ledger(("a", SECOND, 10.0)).cut(11.0) == {}


def test_after_a_cut_nothing_is_left_to_play() -> None:
    speech = ledger(("a", 9 * SECOND, 10.0))
    speech.cut(11.0)
    assert speech.remaining(11.0) == 0
    assert speech.cut(12.0) == {}


def test_speech_after_a_cut_plays_at_once() -> None:
    speech = ledger(("a", 9 * SECOND, 10.0))
    speech.cut(11.0)
    speech.queued("b", SECOND)
    speech.sent("b", SECOND, 11.0)
    assert speech.remaining(11.5) == pytest.approx(0.5)


def test_the_transports_report_counts_and_never_runs_back() -> None:
    speech = ledger(("a", 2 * SECOND, 10.0))
    speech.played("a", 500, 10.1)
    speech.played("a", 400, 10.2)
    assert speech.remaining(99.0) == pytest.approx((2 * SECOND - 500) / SECOND)
    assert speech.cut(99.0) == {"a": 500}


def test_progress_is_limited_to_what_was_sent() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.played("a", 5 * SECOND, 10.1)
    assert speech.remaining(10.0) == 0


def test_what_waits_is_not_heard_and_not_forgotten() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.queued("a", SECOND)
    assert speech.remaining(20.0) == pytest.approx(1.0)
    assert speech.cut(20.0) == {"a": SECOND}


def test_what_was_retracted_is_not_waited_for() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.queued("a", SECOND)
    speech.retracted("a")
    assert speech.remaining(20.0) == 0


def test_a_forgotten_item_takes_no_time() -> None:
    speech = ledger(("a", 9 * SECOND, 10.0))
    speech.forget("a")
    assert speech.remaining(10.0) == 0


def test_late_audio_of_a_cut_item_is_ignored() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.cut(10.5)
    speech.sent("a", SECOND, 10.6)
    assert speech.remaining(10.6) == 0


@given(st.lists(st.tuples(st.integers(1, 2 * SECOND), st.floats(0, 2)), min_size=1, max_size=20), st.floats(0, 60))
def test_heard_is_bounded_by_sent_audio_and_time(pieces: list[tuple[int, float]], wait: float) -> None:
    speech, now = PlayoutLedger(), 100.0
    for samples, pause in pieces:
        now += pause
        speech.queued("a", samples)
        speech.sent("a", samples, now)
    sent = sum(samples for samples, _ in pieces)
    end = now + wait
    heard = sent - round(speech.remaining(end) * SECOND)
    assert 0 <= heard <= min(sent, round((end - 100.0) * SECOND) + len(pieces))
    assert speech.cut(end) in ({}, {"a": heard})


def test_nothing_is_heard_while_the_playback_is_paused() -> None:
    speech = ledger(("a", 3 * SECOND, 10.0))
    speech.pause(11.0)
    assert speech.remaining(15.0) == pytest.approx(2.0)
    speech.resume(15.0)
    assert speech.remaining(15.5) == pytest.approx(1.5)
    assert speech.cut(16.0) == {"a": 2 * SECOND}


def test_audio_sent_during_a_pause_plays_after_it() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.pause(10.5)
    speech.queued("a", SECOND)
    speech.sent("a", SECOND, 12.0)
    speech.resume(13.0)
    assert speech.remaining(13.5) == pytest.approx(1.0)


def test_cuts_during_pauses_count_what_was_heard_before() -> None:
    speech = ledger(("a", 3 * SECOND, 10.0))
    speech.pause(11.0)
    assert speech.cut(12.0) == {"a": SECOND}
    speech.queued("b", SECOND)
    speech.sent("b", SECOND, 20.0)
    assert speech.remaining(20.5) == pytest.approx(0.5)


def test_playback_ends_though_a_transport_reports_too_little() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.played("a", SECOND - 100, 10.99)
    assert speech.ends_in(10.99) > 0, "by the clock it still plays"
    assert speech.ends_in(11.0) == 0.0
    speech.finish(11.0)
    assert speech.remaining(11.0) == 0.0


def test_playback_continues_while_a_late_transport_reports() -> None:
    speech = ledger(("a", 4 * SECOND, 10.0))
    for now in (12.0, 13.0, 14.0, 15.0):  # two seconds behind the clock
        speech.played("a", int(now - 12.0) * SECOND, now)
        assert speech.ends_in(now) > 0
    speech.played("a", 4 * SECOND, 16.0)
    assert speech.ends_in(16.0) == 0.0


def test_playback_ends_when_reports_stop() -> None:
    speech = ledger(("a", 4 * SECOND, 10.0))
    speech.played("a", SECOND, 11.0)
    assert speech.ends_in(15.9) > 0
    assert speech.ends_in(16.1) == 0.0


def test_short_remainders_are_not_polled_all_the_time() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.played("a", SECOND - 100, 10.5)
    assert speech.ends_in(10.9) >= 0.05


def test_a_paused_playback_does_not_end() -> None:
    speech = ledger(("a", SECOND, 10.0))
    speech.played("a", SECOND // 2, 10.5)
    speech.pause(10.5)
    assert speech.ends_in(60.0) > 0
