from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streaming_vocoder.chunk_schedule import ChunkSchedule, CostModel

PACE = CostModel(token=0.02, chunk=0.02, chunk_per_token=0.003)
LADDER = ChunkSchedule((5, 10, 25))
SEAM_SECONDS, LOOKAHEAD = 0.16, 3


@pytest.mark.parametrize(("token_seconds", "chunk"), [(0.0005, 5), (0.01, 10), (0.035, 10), (0.045, 25)])
def test_the_first_chunk_is_as_short_as_possible(token_seconds: float, chunk: int) -> None:
    assert LADDER.choose(None, CostModel(token_seconds, 0.02, 0.003)) == chunk


def test_a_hopeless_pace_still_starts_soon() -> None:
    assert LADDER.choose(None, CostModel(10.0, 0.02, 0.003)) == 5


@pytest.mark.parametrize(("slack", "chunk"), [(0.0, 5), (0.1, 5), (0.26, 10), (0.58, 10), (0.6, 25), (9.0, 25)])
def test_more_slack_means_larger_chunks(slack: float, chunk: int) -> None:
    assert LADDER.choose(slack, PACE) == chunk


def test_tokens_that_wait_already_cost_no_time() -> None:
    assert LADDER.choose(0.1, PACE, buffered=25) == 25


@settings(deadline=None)
@given(st.floats(0.0, 2.0), st.floats(0.0, 2.0), st.integers(0, 30))
def test_more_slack_never_gives_a_smaller_chunk(one: float, two: float, buffered: int) -> None:
    low, high = sorted((one, two))
    assert LADDER.choose(low, PACE, buffered) <= LADDER.choose(high, PACE, buffered)


@settings(deadline=None)
@given(st.data(), st.sampled_from([(5, 10, 25), (10, 25), (8, 12, 25)]))
def test_playback_never_runs_dry_within_the_cost_model(data: st.DataObject, rungs: tuple[int, ...]) -> None:
    """Speeds vary from chunk to chunk and from token to token, up to the pace that the ladder reckons with."""
    slowest = CostModel(
        data.draw(st.floats(0.001, 0.03)), data.draw(st.floats(0.0, 0.05)), data.draw(st.floats(0.0, 0.006))
    )
    assume(slowest.seconds(rungs[0], rungs[0]) <= 0.04 * rungs[0])
    speed = data.draw(st.randoms(use_true_random=False))
    arrivals = [0.0]
    for _ in range(300):
        arrivals.append(arrivals[-1] + slowest.token * speed.random())
    ladder = ChunkSchedule(rungs)

    def spent(tokens: int) -> float:
        return slowest.seconds(tokens, 0) * speed.random()

    made = ladder.choose(None, slowest)
    now = arrivals[made + LOOKAHEAD] + spent(made)
    dry = now + 0.04 * made - SEAM_SECONDS
    while made < 250:
        arrived = sum(arrival <= now for arrival in arrivals) - 1
        chunk = ladder.choose(dry - now, slowest, buffered=max(0, arrived - made - LOOKAHEAD))
        made += chunk
        now = max(now, arrivals[made + LOOKAHEAD]) + spent(chunk)
        assert now <= dry + 1e-9
        dry += 0.04 * chunk


@settings(deadline=None)
@given(
    st.sampled_from([(5, 10, 25), (10, 25), (8, 12, 25), (15, 25)]),
    st.floats(0.0005, 0.03),
    st.floats(0.0, 0.05),
    st.floats(0.0, 0.006),
)
def test_playback_never_runs_dry_when_compute_keeps_up(
    rungs: tuple[int, ...], token_seconds: float, chunk_seconds: float, chunk_per_token: float
) -> None:
    """A reply of 20 s: tokens come at a steady pace, playback starts with the first samples."""
    ladder, pace = ChunkSchedule(rungs), CostModel(token_seconds, chunk_seconds, chunk_per_token)
    assume(pace.seconds(rungs[0], rungs[0]) <= 0.04 * rungs[0])
    made = ladder.choose(None, pace)
    now = (made + LOOKAHEAD) * token_seconds + pace.seconds(made, 0)
    dry = now + 0.04 * made - SEAM_SECONDS
    while made < 500:
        arrived = int(now / token_seconds)
        chunk = ladder.choose(dry - now, pace, buffered=max(0, arrived - made - LOOKAHEAD))
        made += chunk
        now = max(now, (made + LOOKAHEAD) * token_seconds) + pace.seconds(chunk, 0)
        assert now <= dry + 1e-9
        dry += 0.04 * chunk
