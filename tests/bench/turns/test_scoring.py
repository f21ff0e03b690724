"""Observations against the truth: each figure from the events that it is about, and from no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.bench.turns.caller import PAUSED, STARTED, STOPPED, Observation, ReceivedEvent
from realtime.bench.turns.corpus import Case, Clip, Overlap
from realtime.bench.turns.scoring import (
    Outcome,
    faults,
    floor_figures,
    judge,
    percentile,
    rate,
    turn_figures,
)
from realtime.bench.turns.synthetic_noise import RATE, silence
from realtime.metrics import Speculated

REPLY = Clip("reply", "reply", "", "", None, silence(5.0))
TURN = Case("turn", "plain", silence(2.0), 2 * RATE, silence(1.0), REPLY)
NOTHING = replace(TURN, kind="nothing", turn_end=None)
BARGE_IN = replace(TURN, kind="barge-in", over=Overlap(silence(0.5), 1.0, meant=True))
COUGH = replace(TURN, kind="cough", over=Overlap(silence(0.5), 1.0, meant=False))
ECHO = replace(TURN, kind="echo", echo_db=-10.0)


def seen(
    *told: tuple[float, str],
    began: float | None = 3.0,
    over: float | None = 4.0,
    played: bytes = b"whole",
    late: int = 0,
    drafts: tuple[Speculated, ...] = (),
) -> Observation:
    return Observation(tuple(ReceivedEvent(*one) for one in told), began, over, played, b"whole", late, drafts)


def test_the_delay_runs_from_the_turn_s_end_to_the_next_stop() -> None:
    outcome = judge(TURN, seen((0.5, STARTED), (2.6, STOPPED), (3.9, STOPPED)))
    assert (outcome.delay_ms, outcome.cut_ins, outcome.missed) == (600.0, 0, False)


def test_a_stop_before_the_end_is_a_cut_in_and_no_delay() -> None:
    outcome = judge(TURN, seen((0.5, STARTED), (1.2, STOPPED), (1.4, STARTED), (2.7, STOPPED)))
    assert (outcome.delay_ms, outcome.cut_ins, outcome.missed) == (700.0, 1, False)
    assert faults(outcome) == ("cut in",)


@pytest.mark.parametrize("told", [(), ((0.5, STARTED),), ((0.5, STARTED), (6.5, STOPPED))])
def test_an_end_that_is_not_told_in_time_is_missed(told: tuple[tuple[float, str], ...]) -> None:
    outcome = judge(TURN, seen(*told))
    assert outcome.missed and outcome.delay_ms is None


def test_a_turn_where_nobody_spoke_is_false() -> None:
    assert judge(NOTHING, seen((1.0, STARTED))).false_turn is True
    silent = judge(NOTHING, seen())
    assert silent.false_turn is False and silent.missed is None


def test_a_barge_in_is_timed_from_its_first_sample() -> None:
    outcome = judge(BARGE_IN, seen((0.5, STARTED), (2.6, STOPPED), (4.2, PAUSED), (4.6, STARTED), played=b"wh"))
    assert (outcome.hushed_ms, outcome.stopped_ms, outcome.missed_stop) == (200.0, 600.0, False)
    assert outcome.exact is None and outcome.false_stop is None


def test_a_barge_in_without_a_stop_in_time_is_missed() -> None:
    assert judge(BARGE_IN, seen((0.5, STARTED))).missed_stop is True
    assert judge(BARGE_IN, seen((0.5, STARTED), (5.6, STARTED))).missed_stop is True
    assert judge(BARGE_IN, seen((0.5, STARTED), (5.4, STARTED))).missed_stop is False


def test_a_cough_that_stops_the_reply_is_a_false_stop() -> None:
    assert judge(COUGH, seen((4.2, STARTED), played=b"wh")).false_stop is True
    went_on = judge(COUGH, seen((4.2, PAUSED)))
    assert (went_on.false_stop, went_on.exact, went_on.pauses) == (False, True, 1)
    assert judge(COUGH, seen((4.2, PAUSED), played=b"whoole")).exact is False


def test_echo_before_the_barge_in_is_a_false_stop_and_hides_the_barge_in() -> None:
    case = replace(BARGE_IN, kind="barge-in, echo", echo_db=-10.0)
    early = judge(case, seen((3.5, STARTED), (4.5, STARTED)))
    assert early.false_stop is True and early.missed_stop is None
    late = judge(case, seen((4.5, STARTED)))
    assert late.false_stop is False and late.missed_stop is False
    assert judge(ECHO, seen((3.5, STARTED), over=None)).false_stop is True
    assert judge(ECHO, seen(over=None)).false_stop is False


def test_what_nobody_answered_cannot_be_judged() -> None:
    outcome = judge(BARGE_IN, seen(began=None, over=None, played=b""))
    assert outcome.unanswered and outcome.missed_stop is None and outcome.exact is None


def test_work_ahead_is_counted_as_used_and_dropped() -> None:
    drafts = (Speculated(False, 30, 1.0), Speculated(True, 60, 2.0), Speculated(False, 10, 0.0))
    outcome = judge(TURN, seen(drafts=drafts))
    assert (outcome.drafts_used, outcome.drafts_dropped) == (1, 2)
    figures = turn_figures([outcome])
    assert (figures.dropped_ids_share, figures.dropped_speech_share) == (0.4, pytest.approx(1 / 3))


def test_the_answer_to_half_a_turn_was_made_in_vain() -> None:
    outcome = judge(TURN, seen(drafts=(Speculated(True, 30, 1.0), Speculated(True, 60, 2.0))))
    assert (outcome.drafts_used, outcome.drafts_dropped, outcome.ids_dropped) == (1, 1, 30)


def test_rates_count_only_the_cases_that_ask() -> None:
    outcomes = [
        Outcome("a", "plain", delay_ms=400.0, cut_ins=0, missed=False),
        Outcome("b", "plain", delay_ms=600.0, cut_ins=2, missed=False),
        Outcome("c", "plain", cut_ins=0, missed=True),
        Outcome("d", "nothing", false_turn=False),
    ]
    figures = turn_figures(outcomes)
    assert (figures.cases, figures.delay_p50_ms, figures.delay_p95_ms) == (4, 400.0, 600.0)
    assert figures.cut_in_rate == figures.missed_end_rate == pytest.approx(1 / 3)
    assert figures.false_turn_rate == 0.0


def test_self_interruptions_are_told_apart_from_other_false_stops() -> None:
    outcomes = [
        Outcome("a", "cough", false_stop=True),
        Outcome("b", "mhm", false_stop=False, pauses=1, exact=True),
        Outcome("c", "echo", false_stop=False, pauses=3, exact=False),
        Outcome("d", "barge-in, echo", false_stop=True, late_bytes=7),
        Outcome("e", "door", false_stop=False, exact=True),
    ]
    figures = floor_figures(outcomes)
    assert figures.false_stop_rate == pytest.approx(1 / 3) and figures.self_interruption_rate == 0.5
    assert (figures.resumed, figures.exact, figures.pauses_per_resumed) == (2, 1, 2.0)
    assert figures.late_bytes == 7 and figures.missed_stop_rate is None


def test_percentiles_are_values_that_were_seen() -> None:
    assert percentile([float(n) for n in np.arange(1, 21)], 95) == 19.0
    assert percentile([], 50) is None and rate([None]) is None
