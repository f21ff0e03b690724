"""The training of nano's language model: its optimizer, and fitting it to a new encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from realtime.model.config import ModelConfig
from realtime.model.encoder import Adapter
from scripts.nano.data.out_of_domain import outside_sentences
from scripts.nano.data.sequences import Vocabulary
from scripts.nano.train.grow import checkpoint_mind, grown
from scripts.nano.train.lm import Mind
from scripts.nano.train.optimizers import Optimizers
from scripts.nano.train.renew_adapter import Example, difference
from scripts.nano.train.sizes import AUDIO

CHECKPOINT = Path(__file__).parents[2] / "realtime/checkpoints/nano"


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


def test_resumed_training_equals_training_without_a_stop() -> None:
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


def test_new_encoders_are_trained_towards_the_old_rows() -> None:
    torch.manual_seed(3)
    adapter = Adapter(AUDIO)
    rows = [torch.randn(count, AUDIO.n_audio_state) for count in (16, 11)]
    with torch.no_grad():
        given = [adapter(r[None])[0] for r in rows]
    same = [Example(r.half().float(), g) for r, g in zip(rows, given, strict=True)]
    narrow = [Example(e.rows, e.wanted[:, :100]) for e in same]
    assert float(difference(adapter, same).detach()) < 1e-4
    assert float(difference(adapter, narrow).detach()) > 0.1, "what the narrow one never gave is to be zero"


def test_widening_keeps_the_function_and_everything_then_learns() -> None:
    torch.manual_seed(4)
    old, sizes = checkpoint_mind(CHECKPOINT)
    vocabulary = Vocabulary(CHECKPOINT)
    width = sizes.text.hidden_size + 64
    text = replace(
        sizes.text,
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=sizes.text.intermediate_size + 64,
    )
    narrow = Mind(vocabulary, sizes)
    wide = Mind(vocabulary, ModelConfig(text, replace(sizes.audio, llm_dim=width)))
    narrow.load_state_dict(old, strict=False)
    wide.load_state_dict(grown(old, wide))
    ids = torch.randint(0, vocabulary.text_size, (1, 24))
    expected, hidden = (m.lm(ids).last_hidden_state for m in (narrow, wide))
    logits = hidden @ wide.lm.embed_tokens.weight.T
    torch.testing.assert_close(logits, expected @ narrow.lm.embed_tokens.weight.T, atol=2e-2, rtol=1e-3)
    logits.square().mean().backward()
    new = [layer.self_attn.o_proj.weight.grad[sizes.text.hidden_size :] for layer in wide.lm.layers]
    assert all(bool(x.any()) for x in new)


def test_open_sentences_ask_nothing_of_nanos_domain(tmp_path: Path) -> None:
    said = (
        "The old bridge fell into the river.  Run!",
        "What time is it?",
        "He paid $40 for a horse.",
        "My qzxv is ill.",
    )
    (tmp_path / "some.u8").write_text("\n%\n".join(said))
    found = outside_sentences(folder=tmp_path), outside_sentences("unseen", tmp_path)
    assert sorted(found, key=len) == [(), ("the old bridge fell into the river",)]
    assert outside_sentences(folder=tmp_path / "missing") == ()
