"""Statistics of the benchmarks: percentiles and rates over lists in which None means "no value"."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def percentile(values: Iterable[float | None], percent: float) -> float | None:
    """The nearest-rank percentile, a value that was measured (interpolation would invent one); None of no values."""
    known = [value for value in values if value is not None]
    return float(np.percentile(known, percent, method="inverted_cdf")) if known else None


def rate(answers: Iterable[bool | None]) -> float | None:
    """The share of True among the known answers, in 0..1; None without any."""
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else None


def share(part: float, whole: float) -> float | None:
    """``part / whole``; None where the whole is 0."""
    return part / whole if whole else None


def to_ms(seconds: float | None) -> float | None:
    """Milliseconds, rounded to a tenth."""
    return None if seconds is None else round(seconds * 1000, 1)
