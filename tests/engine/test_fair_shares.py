"""Fair queueing: equal time for keys, and for the sessions of each."""

from __future__ import annotations

from collections import Counter

from realtime.engine.fair_shares import FairShares
from realtime.ports.payer import Payer


def serve(shares: FairShares, costs: dict[Payer, float], seconds: float) -> Counter[Payer]:
    """Serve these contenders until so much time is used; gives each one's part."""
    got: Counter[Payer] = Counter()
    while sum(got.values()) < seconds:
        shares.contend(costs)
        first = min(costs, key=shares.used)
        shares.charge(first, costs[first])
        got[first] += costs[first]  # type: ignore[assignment]
    return got


def test_sessions_of_a_key_share_equally() -> None:
    got = serve(FairShares(), {Payer("a", "k"): 1.0, Payer("b", "k"): 0.01}, 100.0)
    assert abs(got[Payer("a", "k")] - got[Payer("b", "k")]) <= 1.01


def test_many_sessions_give_a_key_no_more_time() -> None:
    many = {Payer(f"s{n}", "many"): 0.1 for n in range(10)}
    got = serve(FairShares(), {**many, Payer("a", "one"): 0.1}, 100.0)
    assert abs(got[Payer("a", "one")] - 50.0) <= 0.2


def test_nobody_saves_up_time_while_idle() -> None:
    shares, early, late = FairShares(), Payer("early"), Payer("late")
    serve(shares, {early: 1.0}, 100.0)
    got = serve(shares, {early: 1.0, late: 1.0}, 20.0)
    assert abs(got[early] - got[late]) <= 1.0


def test_time_that_nobody_wanted_costs_nothing() -> None:
    shares, one, other = FairShares(), Payer("one"), Payer("other")
    serve(shares, {one: 1.0, other: 1.0}, 10.0)
    serve(shares, {one: 1.0}, 100.0)
    got = serve(shares, {one: 1.0, other: 1.0}, 20.0)
    assert abs(got[one] - got[other]) <= 1.0


def test_those_who_left_are_forgotten() -> None:
    shares = FairShares()
    for n in range(1000):
        serve(shares, {Payer(f"s{n}", f"k{n}"): 1.0, Payer("stays", "stays"): 1.0}, 4.0)
    assert len(shares._keys._used) < 10 and len(shares._sessions) < 10
