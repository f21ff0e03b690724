"""Buckets that fill steadily, by a clock of the test's."""

from __future__ import annotations

import pytest

from realtime.protocol import events as wire
from realtime.session import quota as quotas
from realtime.session.quota import Quota, QuotaLimits, Quotas
from tests.fakes import FakeClock, Gate, call, done, reply


def test_responses_burst_then_refill_one_by_one() -> None:
    clock = FakeClock()
    quota = Quota(QuotaLimits(responses_per_minute=3), clock)
    assert [quota.take_response() for _ in range(3)] == [0, 0, 0]
    assert quota.take_response() == pytest.approx(20)
    clock.now += 21
    assert quota.take_response() == 0
    assert quota.take_response() > 0


def test_audio_debt_is_paid_back() -> None:
    clock = FakeClock()
    quota = Quota(QuotaLimits(audio_seconds_per_hour=360), clock)
    quota.spend_audio(400)
    assert quota.audio_wait == pytest.approx(410)
    clock.now += 411
    assert quota.audio_wait == 0


def test_what_is_not_limited_is_not_shown() -> None:
    quota = Quota()
    quota.spend_audio(1e9)
    assert quota.audio_wait == quota.take_response() == 0
    assert quota.updated() is None
    assert quota.session_is_free


def test_what_is_left_is_shown() -> None:
    clock = FakeClock()
    quota = Quota(QuotaLimits(responses_per_minute=6, audio_seconds_per_hour=3600), clock)
    quota.take_response()
    quota.spend_audio(90)
    updated = quota.updated()
    assert updated is not None
    assert [(one.name, one.limit, one.remaining, one.reset_seconds) for one in updated.rate_limits] == [
        ("requests", 6, 5, 10.0),
        ("audio_seconds", 3600, 3510, 90.0),
    ]


def test_only_idle_quotas_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_IDLE_KEYS", 3)
    clock = FakeClock()
    known = Quotas(QuotaLimits(responses_per_minute=1), clock)
    first = known.of("a")
    first.take_response()
    assert known.of("a") is first
    known.of("b").sessions = 1
    for name in "cdefgh":
        known.of(name).take_response()
    assert len(known._quotas) <= 3
    assert known.of("b").sessions == 1


async def test_a_keys_sessions_share_responses_out_of_band() -> None:
    quota = Quota(QuotaLimits(out_of_band=1))
    async with call([Gate()], quota=quota) as one, call(reply("Yes."), quota=quota) as other:
        one.send("response.create", response={"conversation": "none"})
        created = await one.expect(wire.ResponseCreated)
        other.send("response.create", response={"conversation": "none"})
        refused = await other.expect_error()
        assert (refused.type, refused.code) == ("rate_limit_error", "rate_limit_exceeded")
        one.send("response.cancel", response_id=created.response.id)
        await one.expect(wire.ResponseDone)
        other.send("response.create", response={"conversation": "none"})
        assert (await other.expect(wire.ResponseDone)).response.status == "completed"


async def test_a_session_over_budget_is_told_when() -> None:
    async with call([done("over_budget", "Ask again in 2.0 s.")]) as caller:
        caller.send("response.create")
        ended = (await caller.expect(wire.ResponseDone)).response
    assert ended.status == "failed" and ended.status_details is not None
    assert ended.status_details.error is not None
    assert ended.status_details.error.code == "rate_limit_exceeded" and "2.0 s" in ended.status_details.error.message
