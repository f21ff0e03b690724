"""Scores of cases, and the figures over many of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from realtime.bench.turns.caller import PAUSED, STARTED, STOPPED, Observation, ReceivedEvent
from realtime.bench.turns.corpus import Case, Clip, Overlap
from realtime.bench.turns.scoring import (
    Outcome,
    endpointing_figures,
    faults,
    interruption_figures,
    score,
)
from realtime.bench.turns.synthetic_noise import RATE, silence
from realtime.metrics import Speculated

REPLY = Clip("reply", "reply", "", "", None, silence(5.0))
TURN = Case("turn", "plain", silence(2.0), 2 * RATE, silence(1.0), REPLY)
NOTHING = replace(TURN, kind="nothing", turn_end=None)
BARGE_IN = replace(TURN, kind="barge-in", overlap=Overlap(silence(0.5), 1.0, is_barge_in=True))
COUGH = replace(TURN, kind="cough", overlap=Overlap(silence(0.5), 1.0, is_barge_in=False))
ECHO = replace(TURN, kind="echo", echo_db=-10.0)


def seen(
    *events: tuple[float, str],
    began: float | None = 3.0,
    over: float | None = 4.0,
    played: bytes = b"whole",
    late: int = 0,
    speculations: tuple[Speculated, ...] = (),
) -> Observation:
    return Observation(tuple(ReceivedEvent(*one) for one in events), began, over, played, b"whole", late, speculations)


def test_delay_runs_from_turn_end_to_next_stop() -> None:
    outcome = score(TURN, seen((0.5, STARTED), (2.6, STOPPED), (3.9, STOPPED)))
    assert (outcome.delay_ms, outcome.cut_ins, outcome.missed) == (600.0, 0, False)


def test_an_early_stop_is_a_cut_in() -> None:
    outcome = score(TURN, seen((0.5, STARTED), (1.2, STOPPED), (1.4, STARTED), (2.7, STOPPED)))
    assert (outcome.delay_ms, outcome.cut_ins, outcome.missed) == (700.0, 1, False)
    assert faults(outcome) == ("cut in",)


@pytest.mark.parametrize("events", [(), ((0.5, STARTED),), ((0.5, STARTED), (6.5, STOPPED))])
def test_a_late_or_absent_stop_is_missed(events: tuple[tuple[float, str], ...]) -> None:
    outcome = score(TURN, seen(*events))
    assert outcome.missed and outcome.delay_ms is None


def test_a_turn_where_nobody_spoke_is_false() -> None:
    assert score(NOTHING, seen((1.0, STARTED))).false_turn is True
    silent = score(NOTHING, seen())
    assert silent.false_turn is False and silent.missed is None


def test_barge_ins_are_timed_from_their_first_sample() -> None:
    outcome = score(BARGE_IN, seen((0.5, STARTED), (2.6, STOPPED), (4.2, PAUSED), (4.6, STARTED), played=b"wh"))
    assert (outcome.silenced_ms, outcome.stopped_ms, outcome.missed_stop) == (200.0, 600.0, False)
    assert outcome.exact is None and outcome.false_stop is None


def test_a_barge_in_without_stop_is_missed() -> None:
    assert score(BARGE_IN, seen((0.5, STARTED))).missed_stop is True
    assert score(BARGE_IN, seen((0.5, STARTED), (5.6, STARTED))).missed_stop is True
    assert score(BARGE_IN, seen((0.5, STARTED), (5.4, STARTED))).missed_stop is False


def test_a_cough_stopping_the_reply_is_false() -> None:
    assert score(COUGH, seen((4.2, STARTED), played=b"wh")).false_stop is True
    went_on = score(COUGH, seen((4.2, PAUSED)))
    assert (went_on.false_stop, went_on.exact, went_on.pauses) == (False, True, 1)
    assert score(COUGH, seen((4.2, PAUSED), played=b"whoole")).exact is False


def test_echo_before_a_barge_in_is_false() -> None:
    case = replace(BARGE_IN, kind="barge-in, echo", echo_db=-10.0)
    early = score(case, seen((3.5, STARTED), (4.5, STARTED)))
    assert early.false_stop is True and early.missed_stop is None
    late = score(case, seen((4.5, STARTED)))
    assert late.false_stop is False and late.missed_stop is False
    assert score(ECHO, seen((3.5, STARTED), over=None)).false_stop is True
    assert score(ECHO, seen(over=None)).false_stop is False


def test_an_unanswered_case_has_no_other_score() -> None:
    outcome = score(BARGE_IN, seen(began=None, over=None, played=b""))
    assert outcome.unanswered and outcome.missed_stop is None and outcome.exact is None


def test_speculation_is_counted_used_and_discarded() -> None:
    speculations = (Speculated(False, 30, 1.0), Speculated(True, 60, 2.0), Speculated(False, 10, 0.0))
    outcome = score(TURN, seen(speculations=speculations))
    assert (outcome.speculative_used, outcome.speculative_discarded) == (1, 2)
    figures = endpointing_figures([outcome])
    assert (figures.discarded_tokens_share, figures.discarded_speech_share) == (0.4, pytest.approx(1 / 3))


def test_an_answer_to_half_a_turn_is_discarded() -> None:
    outcome = score(TURN, seen(speculations=(Speculated(True, 30, 1.0), Speculated(True, 60, 2.0))))
    assert (outcome.speculative_used, outcome.speculative_discarded, outcome.tokens_discarded) == (1, 1, 30)


def test_rates_count_only_cases_that_apply() -> None:
    outcomes = [
        Outcome("a", "plain", delay_ms=400.0, cut_ins=0, missed=False),
        Outcome("b", "plain", delay_ms=600.0, cut_ins=2, missed=False),
        Outcome("c", "plain", cut_ins=0, missed=True),
        Outcome("d", "nothing", false_turn=False),
    ]
    figures = endpointing_figures(outcomes)
    assert (figures.cases, figures.delay_p50_ms, figures.delay_p95_ms) == (4, 400.0, 600.0)
    assert figures.cut_in_rate == figures.missed_end_rate == pytest.approx(1 / 3)
    assert figures.false_turn_rate == 0.0


def test_self_interruptions_are_not_false_stops() -> None:
    outcomes = [
        Outcome("a", "cough", false_stop=True),
        Outcome("b", "mhm", false_stop=False, pauses=1, exact=True),
        Outcome("c", "echo", false_stop=False, pauses=3, exact=False),
        Outcome("d", "barge-in, echo", false_stop=True, late_bytes=7),
        Outcome("e", "door", false_stop=False, exact=True),
    ]
    figures = interruption_figures(outcomes)
    assert figures.false_stop_rate == pytest.approx(1 / 3) and figures.self_interruption_rate == 0.5
    assert (figures.resumed, figures.exact, figures.pauses_per_resumed) == (2, 1, 2.0)
    assert figures.late_bytes == 7 and figures.missed_stop_rate is None
