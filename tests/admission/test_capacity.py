"""How many sessions a machine holds, by the cost of its replies."""

from __future__ import annotations

import pytest

from realtime.admission.capacity import LEAST_SESSIONS, MOST_SESSIONS, Capacity, Cost, spoken_to

NANO = Capacity(Cost(0.0075, 0.0025), Cost(0.27, 0.13), parallel=True)
"""Two cores: see docs/performance.md."""


def test_two_cores_hold_four_to_six_callers() -> None:
    assert 4 <= NANO.sessions <= 6


def test_one_core_holds_fewer_than_two_cores() -> None:
    assert Capacity(NANO.step, NANO.speech, parallel=False).sessions < NANO.sessions


@pytest.mark.parametrize(("step", "speech", "held"), [(10.0, 10.0, LEAST_SESSIONS), (0.0001, 0.001, MOST_SESSIONS)])
def test_at_least_two_sessions_and_not_too_many(step: float, speech: float, held: int) -> None:
    assert Capacity(Cost(step, step), Cost(speech, speech), parallel=True).sessions == held


def test_a_faster_machine_never_holds_fewer() -> None:
    def held(speed: float) -> int:
        return Capacity(Cost(0.02 / speed, 0.01 / speed), Cost(0.5 / speed, 0.3 / speed), parallel=True).sessions

    counts = [held(speed) for speed in (0.1, 0.5, 1, 2, 4, 8, 16)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_all_of_few_callers_may_be_spoken_to() -> None:
    assert [spoken_to(n) for n in (1, 2, 4, 8, 16)] == [1, 2, 4, 6, 11]


def test_costs_are_measured_for_one_and_several() -> None:
    capacity = Capacity.measured(lambda replies: (0.001 + 0.002 * replies, 0.1 * replies), parallel=True)
    assert (capacity.step.first, capacity.step.further) == pytest.approx((0.003, 0.002))
    assert (capacity.speech.first, capacity.speech.further) == pytest.approx((0.1, 0.1))


def test_a_slow_machine_times_one_reply_only() -> None:
    timed: list[int] = []

    def seconds(replies: int) -> tuple[float, float]:
        timed.append(replies)
        return 3.0, 3.0

    assert Capacity.measured(seconds, parallel=True).sessions == LEAST_SESSIONS
    assert timed == [1]


def test_noise_gives_no_negative_cost() -> None:
    capacity = Capacity.measured(lambda replies: (0.001 / replies, 0.1 / replies), parallel=True)
    assert capacity.step.further == capacity.speech.further == 0.0


def test_the_log_says_how_it_was_reached() -> None:
    text = str(NANO)
    assert text.startswith(f"{NANO.sessions} sessions: ") and "7.5 ms" in text and "two processors" in text
