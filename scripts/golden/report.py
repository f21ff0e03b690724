"""What a golden check reports: one row a comparison, largest error beside its tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: passes when ``error <= tolerance``. Exact comparisons count mismatches, tolerance 0."""

    name: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # NaN fails


Check = Callable[[Path], Iterator[Row]]
"""Takes one golden folder, yields its rows. Raises only on a folder it cannot read."""
