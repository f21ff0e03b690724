"""The training of nano's vocoder: discriminators, and going on after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scripts.nano.train.discriminators import Discriminators, discrimination_loss, generation_losses
from scripts.nano.train.voice_training import Training


@pytest.fixture(scope="module")
def judges() -> Discriminators:
    torch.manual_seed(0)
    return Discriminators()


def test_features_of_copies_match_and_of_hiss_differ(judges: Discriminators) -> None:
    time = torch.arange(7680) / 24000
    true = (2 * torch.pi * 220 * time).sin()[None] * 0.3
    hiss = 0.3 * torch.randn(true.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = judges(true)
        assert float(generation_losses(features, judges(true))[1]) == 0
        assert float(generation_losses(features, judges(hiss))[1]) > 0.1


def test_discriminators_learn_to_tell_a_tone_from_hiss(judges: Discriminators) -> None:
    generator = torch.Generator().manual_seed(2)
    time = torch.arange(4800) / 24000
    optimizer = torch.optim.Adam(judges.parameters(), lr=2e-3)

    def batch() -> tuple[Tensor, Tensor]:
        pitch = 100 + 200 * torch.rand(2, 1, generator=generator)
        return (2 * torch.pi * pitch * time).sin() * 0.3, 0.1 * torch.randn(2, 4800, generator=generator)

    for _ in range(8):
        tone, hiss = batch()
        loss = discrimination_loss(judges(tone), judges(hiss))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tone, hiss = batch()
    with torch.no_grad():
        verdict_of_hiss, _ = generation_losses(judges(tone), judges(hiss))
        verdict_of_tone, _ = generation_losses(judges(tone), judges(tone))
    assert float(verdict_of_tone) < float(verdict_of_hiss)


class Counter:
    """A companion whose state is a number."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def test_a_stopped_training_goes_on_with_its_companion(tmp_path: Path) -> None:
    def train(steps: int) -> tuple[Training, Counter]:
        companion = Counter()
        training = Training("toy", nn.Linear(2, 1), steps, 0.01, tmp_path, companion=companion)

        def losses() -> dict[str, Tensor]:
            companion.count += 1
            return {"square": training.model(torch.ones(1, 2)).square().mean()}

        training.run(losses)
        return training, companion

    first, _ = train(3)
    second, companion = train(5)
    assert (first.step, second.step, companion.count) == (3, 5, 5)
