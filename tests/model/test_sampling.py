from __future__ import annotations

import pytest
import torch
from torch import Tensor

from realtime.model.sampling import Sampler


def logits(size: int = 1000, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 3


def test_temperature_zero_takes_the_best_id() -> None:
    scores = logits()
    assert Sampler(1000, temperature=0).next(scores) == int(scores.argmax())


def test_repetition_penalty_lowers_logits_of_seen_ids() -> None:
    sampler = Sampler(4, repetition_penalty=2.0)
    sampler.observe([0, 1])
    assert sampler.penalise(torch.tensor([3.0, -3.0, 3.0, -3.0])).tolist() == [1.5, -6.0, 3.0, -3.0]


def test_chosen_ids_are_penalised_too() -> None:
    sampler = Sampler(3, temperature=0, repetition_penalty=2.0)
    scores = torch.tensor([3.0, 2.0, 1.0])
    assert [sampler.next(scores) for _ in range(3)] == [0, 1, 0]


def test_top_k_leaves_the_k_best() -> None:
    scores = logits()
    chosen = Sampler(1000, top_k=5).probabilities(scores).nonzero()[:, 0]
    assert set(chosen.tolist()) == set(scores.topk(5).indices.tolist())


@pytest.mark.parametrize("size", [1000, 5000])
@pytest.mark.parametrize("flatness", [0.2, 3.0, 30.0])
def test_top_p_keeps_the_smallest_nucleus(size: int, flatness: float) -> None:
    """With flat scores more ids are needed than are looked at first: the result must not show it."""
    scores = logits(size)
    expected, order = (scores / flatness).softmax(0).sort(descending=True)
    count = int((expected.cumsum(0) < 0.8).sum()) + 1
    got = Sampler(size, temperature=flatness, top_p=0.8).probabilities(scores)
    assert set(got.nonzero()[:, 0].tolist()) == set(order[:count].tolist())
    torch.testing.assert_close(got[order[:count]], expected[:count] / expected[:count].sum())


def test_top_p_always_leaves_one_id() -> None:
    assert int((Sampler(1000, top_p=1e-9).probabilities(logits()) > 0).sum()) == 1


def test_a_seed_determines_the_ids() -> None:
    def run(disturb: bool) -> list[int]:
        sampler = Sampler(1000, temperature=1.5, top_k=50, top_p=0.9, seed=4)
        ids = []
        for step in range(20):
            if disturb:
                torch.rand(3)
            ids.append(sampler.next(logits(seed=step)))
        return ids

    assert run(disturb=False) == run(disturb=True)
    assert len(set(run(disturb=False))) > 10


def test_without_a_seed_replies_differ() -> None:
    draws = [[Sampler(1000, temperature=5.0).next(logits()) for _ in range(8)] for _ in range(2)]
    assert draws[0] != draws[1]


def test_ids_are_drawn_by_their_probability() -> None:
    scores = torch.tensor([2.0, 1.0, 0.0, -1.0])
    sampler = Sampler(4, temperature=0.8, top_k=3, seed=1)
    drawn = torch.bincount(torch.tensor([sampler.next(scores) for _ in range(4000)]), minlength=4) / 4000
    torch.testing.assert_close(drawn, sampler.probabilities(scores), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "parameters", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"repetition_penalty": 0.0}]
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected temperature"):
        Sampler(10, **parameters)  # type: ignore[arg-type]
