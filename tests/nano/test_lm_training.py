"""The training of nano's language model: its optimizer, and fitting it to a new encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from realtime.model.encoder import Adapter
from scripts.nano.data.out_of_domain import outside_sentences
from scripts.nano.train.lm import AUDIO_CONFIG
from scripts.nano.train.optimizers import Optimizers
from scripts.nano.train.renew_adapter import difference, pairs


def _layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 6)


def _train(layer: nn.Linear, optimizers: Optimizers, steps: int) -> list[float]:
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(steps):
        loss = (layer(x) - x.flip(1) - 1).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers.step(1.0)
        losses.append(float(loss.detach()))
    return losses


def _optimizers(layer: nn.Linear) -> Optimizers:
    return Optimizers([layer.weight], 0.02, (([layer.bias], 0.05),))


def test_matrices_and_the_rest_are_trained() -> None:
    layer = _layer()
    before = [p.detach().clone() for p in layer.parameters()]
    losses = _train(layer, _optimizers(layer), 60)
    assert losses[-1] < losses[0] / 4
    assert all((a - b).abs().max() > 0.1 for a, b in zip(before, layer.parameters(), strict=True))
    assert layer.weight.grad is None


def test_training_goes_on_after_a_stop_as_if_there_had_been_none() -> None:
    whole = _layer()
    _train(whole, _optimizers(whole), 12)
    first = _layer()
    optimizers = _optimizers(first)
    _train(first, optimizers, 7)
    second = _layer()
    second.load_state_dict(first.state_dict())
    resumed = _optimizers(second)
    resumed.load_state_dict(optimizers.state_dict())
    _train(second, resumed, 5)
    torch.testing.assert_close(second.weight, whole.weight)
    torch.testing.assert_close(second.bias, whole.bias)


def _features(folder: Path, texts: list[str], rows: Tensor) -> list[Path]:
    folder.mkdir()
    clips = [
        {"text": text, "intent": "greeting", "slots": (), "voice": "v", "frames": 66, "enc": rows.half()}
        for text in texts
    ]
    torch.save(clips, folder / "train-0000.pt")
    return [folder]


def test_a_new_encoder_is_compared_on_the_same_clips(tmp_path: Path) -> None:
    rows = torch.randn(16, AUDIO_CONFIG.n_audio_state, generator=torch.Generator().manual_seed(2))
    old = _features(tmp_path / "old", ["hello", "hi"], rows)
    both = pairs(old, _features(tmp_path / "new", ["hello", "hi"], rows * 1.5))
    torch.manual_seed(3)
    adapter = Adapter(AUDIO_CONFIG)
    assert float(difference(adapter, adapter, pairs(old, old)).detach()) == 0
    assert float(difference(adapter, adapter, both).detach()) > 1e-3
    with pytest.raises(ValueError, match="'hello'.*'good morning'.*same shards"):
        pairs(old, _features(tmp_path / "other", ["good morning", "hi"], rows))


def test_sentences_outside_the_domain_are_plain_words_that_ask_nothing_of_nano(tmp_path: Path) -> None:
    said = (
        "The old bridge fell into the river.  Run!",
        "What time is it?",
        "He paid $40 for a horse.",
        "My qzxv is ill.",
    )
    (tmp_path / "some.u8").write_text("\n%\n".join(said))
    assert outside_sentences(tmp_path) == ("the old bridge fell into the river",)
    assert outside_sentences(tmp_path / "missing") == ()
