"""The corpus, composed once for all tests: it takes about a second."""

from __future__ import annotations

import pytest

from realtime.bench.turns.corpus import Case, compose


@pytest.fixture(scope="session")
def corpus() -> tuple[Case, ...]:
    """All cases of seed 0."""
    return compose(0)


@pytest.fixture(scope="session")
def cases(corpus: tuple[Case, ...]) -> dict[str, Case]:
    """The first case of each kind."""
    return {case.kind: case for case in reversed(corpus)}
