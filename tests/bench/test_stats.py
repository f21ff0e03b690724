"""Statistics of the benchmarks."""

from __future__ import annotations

import pytest

from realtime.bench.stats import percentile, rate, share, to_ms


def test_percentiles_are_measured_values() -> None:
    assert percentile([float(n) for n in range(1, 21)], 95) == 19.0
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([1.0, 2.0], 50) == 1.0


def test_unknown_values_do_not_count() -> None:
    assert percentile([None, 4.0, None], 95) == 4.0
    assert rate([True, None, False, False]) == pytest.approx(1 / 3)


def test_no_values_give_none() -> None:
    assert percentile([None], 50) is None
    assert rate([None]) is None
    assert share(0.0, 0.0) is None
    assert to_ms(None) is None
