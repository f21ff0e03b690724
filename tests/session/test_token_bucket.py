"""The token bucket: bursts, steady refill, bounded debt."""

from __future__ import annotations

import pytest

from realtime.session.token_bucket import TokenBucket


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_starts_full_and_refills_steadily() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 60.0, clock)
    bucket.spend(10)
    assert bucket.seconds_until(1) == pytest.approx(6.0)
    clock.now += 6.0
    assert bucket.level == pytest.approx(1.0)


def test_a_bucket_never_holds_more_than_its_capacity() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 60.0, clock)
    clock.now += 3600.0
    assert bucket.level == 10 and bucket.seconds_until_full == 0.0


def test_debt_is_repaid_before_anything_is_available() -> None:
    bucket = TokenBucket(10, 60.0, Clock())
    bucket.spend(40)
    assert bucket.level == -30 and bucket.seconds_until(0) == pytest.approx(180.0)


def test_debt_may_be_bounded() -> None:
    bucket = TokenBucket(10, 60.0, Clock(), max_debt=10)
    bucket.spend(1000)
    assert bucket.level == -10 and bucket.seconds_until_full == pytest.approx(120.0)


def test_a_capacity_of_zero_limits_nothing() -> None:
    bucket = TokenBucket(0, 60.0, Clock())
    bucket.spend(1000)
    assert bucket.seconds_until(1) == 0.0 and bucket.seconds_until_full == 0.0
