"""The decoder against transformers' Qwen2, and the cached runtime against the uncached decoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from realtime.model.decoder import CacheFull, Decoder, DecoderRuntime, KVCache
from tests.model.samples import randomize, text_config


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def reference(config_tied: bool) -> tuple[Decoder, Qwen2ForCausalLM]:
    config = text_config(tied=config_tied)
    theirs = Qwen2ForCausalLM(
        Qwen2Config(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            num_hidden_layers=config.num_hidden_layers,
            vocab_size=config.vocab_size,
            head_dim=config.head_dim,
            rope_theta=config.rope_theta,
            rms_norm_eps=config.rms_norm_eps,
            tie_word_embeddings=config_tied,
            attn_implementation="eager",
        )
    ).eval()
    randomize(theirs)
    ours = Decoder(config)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def runtime(tied: bool = False) -> tuple[DecoderRuntime, Decoder]:
    decoder = Decoder(text_config(tied=tied))
    randomize(decoder)
    return DecoderRuntime(decoder), decoder


def random_ids(*shape: int) -> Tensor:
    return torch.randint(0, 300, shape, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def full(decoder: Decoder, ids: Tensor) -> Tensor:
    """Uncached logits [T, V] of ids [T]."""
    logits: Tensor = decoder(decoder.embed(ids)[None])[0]
    return logits


@pytest.mark.parametrize("tied", [False, True])
def test_full_forward_equals_transformers(tied: bool) -> None:
    ours, theirs = reference(tied)
    ids = random_ids(2, 40)
    with torch.no_grad():
        assert_close(ours(ours.embed(ids)), theirs(input_ids=ids).logits)


def test_position_ids_and_mask_pack_two_texts() -> None:
    _, decoder = runtime()
    first, second = random_ids(30)[:17], random_ids(30)[17:]
    same = torch.block_diag(torch.ones(17, 17), torch.ones(13, 13)).bool().tril()
    positions = torch.cat((torch.arange(17), torch.arange(13)))[None]
    with torch.no_grad():
        packed = decoder(decoder.embed(torch.cat((first, second)))[None], positions, same)[0]
    assert_close(packed, torch.cat((full(decoder, first), full(decoder, second))))


@pytest.mark.parametrize("cuts", [(20,), (1, 19), (7, 6, 7), (1,) * 20])
@pytest.mark.parametrize("chunk", [512, 4])
def test_prefill_in_pieces_equals_one_pass(cuts: tuple[int, ...], chunk: int) -> None:
    model, decoder = runtime()
    model.PREFILL_CHUNK = chunk
    ids = random_ids(20)
    cache = model.new_cache(capacity=2)
    for piece in torch.split(model.embed(ids), cuts):
        logits = model.prefill(piece, cache)
    assert cache.length == 20
    assert_close(logits[0], full(decoder, ids)[-1])


@pytest.mark.parametrize("last", [1, 3, 9])
def test_prefill_gives_the_logits_of_the_last_positions(last: int) -> None:
    model, decoder = runtime()
    model.PREFILL_CHUNK = 4
    ids = random_ids(11)
    logits = model.prefill(model.embed(ids), model.new_cache(), last=last)
    assert_close(logits, full(decoder, ids)[-last:])


@pytest.mark.parametrize("tied", [False, True])
def test_steps_equal_one_pass_while_the_cache_grows(tied: bool) -> None:
    model, decoder = runtime(tied)
    ids = random_ids(40)
    expected = full(decoder, ids)
    cache = model.new_cache(capacity=5)
    model.prefill(model.embed(ids[:5]), cache)
    for i in range(5, 40):
        assert_close(model.step(ids[i : i + 1], [cache])[0], expected[i])


def test_sequences_of_different_lengths_step_together_as_alone() -> None:
    model, decoder = runtime()
    ids = random_ids(3, 30)
    starts = (4, 17, 1)
    caches = []
    for row, start in zip(ids, starts, strict=True):
        caches.append(model.new_cache())
        model.prefill(model.embed(row[:start]), caches[-1])
    expected = [full(decoder, row) for row in ids]
    for i in range(10):
        logits = model.step(torch.stack([row[start + i] for row, start in zip(ids, starts, strict=True)]), caches)
        for got, row, start in zip(logits, expected, starts, strict=True):
            assert_close(got, row[start + i])


def test_a_truncated_cache_continues_exactly() -> None:
    model, decoder = runtime()
    ids, other = random_ids(2, 20)
    cache = model.new_cache()
    model.prefill(model.embed(ids), cache)
    cache.truncate(8)
    logits = model.prefill(model.embed(other[8:]), cache)
    assert_close(logits[0], full(decoder, torch.cat((ids[:8], other[8:])))[-1])


def test_a_fork_is_independent_of_its_origin() -> None:
    model, decoder = runtime()
    ids, other = random_ids(2, 20)
    cache = model.new_cache()
    model.prefill(model.embed(ids[:10]), cache)
    twin = cache.fork()
    model.prefill(model.embed(other[10:]), twin)
    logits = model.prefill(model.embed(ids[10:]), cache)
    assert_close(logits[0], full(decoder, ids)[-1])
    twin.truncate(19)
    last = model.step(other[19:], [twin])[0]
    assert_close(last, full(decoder, torch.cat((ids[:10], other[10:])))[-1])


def test_a_full_cache_refuses_more_positions() -> None:
    model, _ = runtime()
    cache = model.new_cache(max_length=6)
    model.prefill(model.embed(random_ids(6)), cache)
    with pytest.raises(CacheFull, match="7 positions"):
        model.step(random_ids(1), [cache])
    with pytest.raises(CacheFull):
        model.prefill(model.embed(random_ids(3)), cache)
    assert cache.length == 6


def test_a_cache_cannot_be_truncated_upwards() -> None:
    model, _ = runtime()
    with pytest.raises(ValueError, match="0 positions"):
        model.new_cache().truncate(1)


def test_a_cache_doubles_up_to_its_limit() -> None:
    cache = KVCache(text_config(), max_length=20, dtype=torch.float32, device=torch.device("cpu"), capacity=4)
    capacities = []
    for length in (4, 5, 9, 17, 20):
        cache.reserve(length)
        capacities.append(cache.capacity)
    assert capacities == [4, 8, 16, 20, 20]


def test_preparing_for_serving_holds_no_weight_twice() -> None:
    model, decoder = runtime()
    fused = {tensor.untyped_storage().data_ptr() for layer in model._layers for tensor in (layer.qkv, layer.gate_up)}
    weights = decoder.model.layers[0].state_dict()
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"):
        assert weights[f"{name}.weight"].untyped_storage().data_ptr() in fused


def test_half_precision_runs_on_the_cpu() -> None:
    _, decoder = runtime()
    ids = random_ids(12)
    expected = full(decoder, ids)[-1]
    model = DecoderRuntime(decoder.to(torch.bfloat16))
    cache = model.new_cache()
    model.prefill(model.embed(ids[:-1]), cache)
    logits = model.step(ids[-1:], [cache])[0].float()
    assert torch.nn.functional.cosine_similarity(logits, expected, dim=0) > 0.98
