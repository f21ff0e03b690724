"""The figures of the last hour: bounded, and right to a bucket."""

from __future__ import annotations

import random
from statistics import median

import pytest

from realtime.transports.http.last_hour import BOUNDS_MS, LastHour, Sample, quantile
from tests.session.test_token_bucket import Clock

REPLY = {"total_ms": 610.0, "audio_ms": 2000.0, "decoder_rtf": 0.1, "vocoder_rtf": 0.2, "chunks": 5, "late_chunks": 1}


def test_what_is_older_than_an_hour_is_gone() -> None:
    clock = Clock()
    hour = LastHour(clock)
    hour.reply_measured(REPLY)
    clock.now += 59 * 60
    hour.reply_measured(REPLY)
    replies = hour.report()["series"]["replies"]
    assert (replies[0], replies[-1], sum(replies)) == (1, 1, 2)
    clock.now += 60
    assert sum(hour.report()["series"]["replies"]) == 1
    clock.now += 3600
    assert sum(hour.report()["series"]["replies"]) == 0


def test_a_long_life_holds_sixty_minutes() -> None:
    clock = Clock()
    hour = LastHour(clock)
    for _ in range(1000):
        clock.now += 17
        hour.reply_measured(REPLY)
    assert len(hour._minutes) == 60
    assert len(hour.report()["series"]["replies"]) == 60


def test_real_time_factors_are_weighted_by_audio() -> None:
    hour = LastHour(Clock())
    hour.reply_measured(REPLY)
    hour.reply_measured({**REPLY, "audio_ms": 6000.0, "decoder_rtf": 0.5})
    report = hour.report()
    assert report["decoder_rtf"] == report["series"]["decoder_rtf"][-1] == pytest.approx(0.4)
    assert report["vocoder_rtf"] == pytest.approx(0.2)
    assert report["series"]["decoder_rtf"][0] is None


def test_replies_without_audio_have_no_first_audio() -> None:
    hour = LastHour(Clock())
    hour.reply_measured({"total_ms": 300.0, "audio_ms": 0.0, "decoder_rtf": None})
    report = hour.report()
    assert report["first_audio"]["count"] == 0 and report["first_audio"]["p50_ms"] is None
    assert report["decoder_rtf"] is None and report["series"]["replies"][-1] == 1


def test_quantiles_are_right_to_a_bucket() -> None:
    rng = random.Random(1)
    times = [rng.lognormvariate(6.4, 0.5) for _ in range(2000)]
    hour = LastHour(Clock())
    for total_ms in times:
        hour.reply_measured({**REPLY, "total_ms": total_ms})
    first_audio = hour.report()["first_audio"]
    assert first_audio["p50_ms"] == pytest.approx(median(times), rel=0.06)
    assert first_audio["p95_ms"] == pytest.approx(sorted(times)[1900], rel=0.06)


@pytest.mark.parametrize(("total_ms", "shown"), [(0.0, BOUNDS_MS[0]), (60_000.0, BOUNDS_MS[-1])])
def test_times_beyond_the_bounds_count_as_bounds(total_ms: float, shown: float) -> None:
    hour = LastHour(Clock())
    hour.reply_measured({**REPLY, "total_ms": total_ms})
    assert hour.report()["first_audio"]["p95_ms"] == pytest.approx(shown, rel=0.06)


def test_no_counts_have_no_quantile() -> None:
    assert quantile([0] * (len(BOUNDS_MS) + 1), 0.5) is None


def test_a_minute_keeps_its_greatest_samples() -> None:
    clock = Clock()
    hour = LastHour(clock)
    hour.sampled(Sample(3, 0, 100, 0.5))
    hour.sampled(Sample(1, 2, 90, 0.1))
    series = hour.report()["series"]
    last = [series[name][-1] for name in ("sessions", "waiting", "memory_bytes", "loop_lag_ms")]
    assert last == [3, 2, 100, 500.0]
    clock.now += 60
    assert hour.report()["series"]["sessions"][-2:] == [3, None]
