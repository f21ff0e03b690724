"""The Qwen2 decoder: `Decoder` for training and full passes, `DecoderRuntime` with `KVCache` for serving.

Parameter names are those of transformers' ``Qwen2ForCausalLM``, which the official checkpoint uses too.
Letters: B sequences, T positions, D hidden width, H query heads, K key/value heads, d head width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.model.config import TextConfig

Rope = tuple[Tensor, Tensor]
"""Cosines and signed sines, each [..., d]: see `rotate`."""


def rope_table(config: TextConfig, positions: Tensor) -> Rope:
    """Rotary tables [..., d] float32 for integer ``positions`` [...].

    The sines of the first half are negated, so that `rotate` needs no sign flip of its own. float32
    throughout, like the reference: in lower precision the angle would be wrong at position 16 000.
    """
    exponents = torch.arange(0, config.head_dim, 2, device=positions.device).float() / config.head_dim
    angles = positions[..., None].float() * (1.0 / config.rope_theta**exponents)
    sines = angles.sin()
    return torch.cat((angles, angles), -1).cos(), torch.cat((-sines, sines), -1)


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Apply rotary positions to [..., d]: halves (a, b) -> (a cos - b sin, b cos + a sin)."""
    cosines, sines = rope
    return torch.addcmul(x * cosines, x.roll(x.shape[-1] // 2, -1), sines)


class Attention(nn.Module):
    """Grouped-query attention."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        queries, keys = config.num_attention_heads * self.head_dim, config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries)
        self.k_proj = nn.Linear(config.hidden_size, keys)
        self.v_proj = nn.Linear(config.hidden_size, keys)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(self, x: Tensor, rope: Rope, mask: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, T, D]; causal, or what ``mask`` (broadcast to [B, H, T, T]) allows."""
        q, k, v = (self._split(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        mixed = F.scaled_dot_product_attention(
            rotate(q, rope), rotate(k, rope), v, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        y: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return y

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        y: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return y


class DecoderLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor, rope: Rope, mask: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.self_attn(self.input_layernorm(x), rope, mask)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


class Backbone(nn.Module):
    """Embedding table, layers and final norm: the tensors below ``model.`` in the checkpoint."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, embeds: Tensor, position_ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, T, D]; ``position_ids`` [B, T], default 0..T-1."""
        if position_ids is None:
            position_ids = torch.arange(embeds.shape[1], device=embeds.device)[None]
        cosines, sines = rope_table(self.config, position_ids)
        rope = cosines.to(embeds.dtype)[:, None], sines.to(embeds.dtype)[:, None]
        x = embeds
        for layer in self.layers:
            x = layer(x, rope, mask)
        y: Tensor = self.norm(x)
        return y


class Decoder(nn.Module):
    """Embeddings [B, T, D] -> logits [B, T, V], all positions at once and without a cache."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Share the embedding table with the head, if the config says so. Call again after replacing parameters."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def embed(self, ids: Tensor) -> Tensor:
        """Ids [...] -> embeddings [..., D]."""
        x: Tensor = self.model.embed_tokens(ids)
        return x

    def forward(self, embeds: Tensor, position_ids: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] of every position; differentiable.

        ``position_ids`` [B, T]: default 0..T-1. ``mask``: bool, True = visible, or additive, broadcast to
        [B, H, T, T]; default causal. Right padding needs no mask: earlier positions do not see it.
        """
        logits: Tensor = self.lm_head(self.hidden(embeds, position_ids, mask))
        return logits

    def hidden(self, embeds: Tensor, position_ids: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Like `forward` without the head: [B, T, D] after the final norm."""
        x: Tensor = self.model(embeds, position_ids, mask)
        return x


_FORK_ROOM = 256  # spare positions of a fork, so that the next tokens do not grow it at once


class CacheFull(ValueError):
    """More positions were requested than the cache may hold."""


class KVCache:
    """Keys and values of one sequence, written in place; grows by doubling up to ``max_length`` positions.

    ``length`` positions are filled. One owner: not safe for concurrent use.
    """

    def __init__(
        self,
        config: TextConfig,
        *,
        max_length: int,
        dtype: torch.dtype,
        device: torch.device,
        capacity: int = 0,
    ) -> None:
        self.max_length = max_length
        self.length = 0
        heads, width = config.num_key_value_heads, config.head_dim
        shape = (config.num_hidden_layers, 2, 1, heads, min(capacity, max_length), width)
        with torch.inference_mode():
            self._adopt(torch.empty(shape, dtype=dtype, device=device))

    @property
    def capacity(self) -> int:
        """Positions that fit before the next growth."""
        return self._data.shape[4]

    @torch.inference_mode()
    def reserve(self, length: int) -> None:
        """Make room for ``length`` positions in all. Raises `CacheFull` beyond ``max_length``."""
        if length <= self.capacity:
            return
        if length > self.max_length:
            raise CacheFull(f"{length} positions requested, the cache holds at most {self.max_length}")
        self._adopt(self._copy_used(min(max(2 * self.capacity, length), self.max_length)))

    def truncate(self, length: int) -> None:
        """Drop all positions from ``length`` on. Raises ValueError if fewer are filled."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate to {length}: {self.length} positions are filled")
        self.length = length

    @torch.inference_mode()
    def fork(self) -> Self:
        """An independent cache with the same content; copies the filled positions only."""
        twin = object.__new__(type(self))
        twin.max_length, twin.length = self.max_length, self.length
        twin._adopt(self._copy_used(min(self.length + _FORK_ROOM, self.max_length)))
        return twin

    def _copy_used(self, capacity: int) -> Tensor:
        old = self._data
        new = old.new_empty(*old.shape[:4], capacity, old.shape[5])
        new[..., : self.length, :] = old[..., : self.length, :]
        return new

    def _adopt(self, data: Tensor) -> None:
        """``data``: [layers, 2, 1, K, capacity, d], of which ``keys`` and ``values`` are views by layer."""
        self._data = data
        self.keys = list(data[:, 0].unbind())
        self.values = list(data[:, 1].unbind())


class _FusedLayer:
    """One layer's weights in as few matrices as possible: q, k and v are one, gate and up are one.

    The layer's own parameters become views of them, so no weight is stored twice.
    """

    __slots__ = ("attention_norm", "down", "gate_up", "mlp_norm", "output", "qkv", "qkv_bias")

    def __init__(self, layer: DecoderLayer) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        projections = [attention.q_proj, attention.k_proj, attention.v_proj]
        self.attention_norm = layer.input_layernorm.weight.detach()
        self.qkv = _fuse(projections, "weight")
        self.qkv_bias = _fuse(projections, "bias")
        self.output = attention.o_proj.weight.detach().T
        self.mlp_norm = layer.post_attention_layernorm.weight.detach()
        self.gate_up = _fuse([mlp.gate_proj, mlp.up_proj], "weight")
        self.down = mlp.down_proj.weight.detach().T


def _fuse(linears: Sequence[nn.Linear], name: str) -> Tensor:
    parts = [getattr(linear, name).detach() for linear in linears]
    fused = torch.cat(parts)
    for linear, view in zip(linears, torch.split(fused, [len(part) for part in parts]), strict=True):
        setattr(linear, name, nn.Parameter(view, requires_grad=False))
    return fused


class DecoderRuntime:
    """A `Decoder` prepared for serving: few operations per step, no masks, tables computed once.

    The weights are shared with ``decoder`` and frozen. Equal to `Decoder.forward` up to rounding.
    """

    PREFILL_CHUNK = 512
    """Positions per prefill pass; bounds the memory of the mask and the activations."""

    def __init__(self, decoder: Decoder) -> None:
        config = self.config = decoder.config
        decoder.eval().requires_grad_(False)
        self._decoder = decoder
        self._layers = [_FusedLayer(layer) for layer in decoder.model.layers if isinstance(layer, DecoderLayer)]
        self._embedding = decoder.model.embed_tokens.weight
        self._norm = decoder.model.norm.weight
        self._head = decoder.lm_head.weight
        self._shape = (config.hidden_size,)
        self._query_heads = config.num_attention_heads
        self._rotated_heads = config.num_attention_heads + config.num_key_value_heads
        self._all_heads = self._rotated_heads + config.num_key_value_heads
        self._group = config.num_attention_heads // config.num_key_value_heads
        cosines, sines = rope_table(config, torch.arange(config.max_position_embeddings, device=self.device))
        self._cosines, self._sines = cosines.to(self.dtype), sines.to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        return self._embedding.dtype

    @property
    def device(self) -> torch.device:
        return self._embedding.device

    def new_cache(self, capacity: int = 256, max_length: int | None = None) -> KVCache:
        """An empty cache with room for ``capacity`` positions. ``max_length`` is at most the model's."""
        longest = self.config.max_position_embeddings
        return KVCache(
            self.config,
            max_length=min(max_length or longest, longest),
            dtype=self.dtype,
            device=self.device,
            capacity=capacity,
        )

    @torch.inference_mode()
    def embed(self, ids: Tensor) -> Tensor:
        """Ids [...] -> embeddings [..., D]."""
        return F.embedding(ids, self._embedding)

    @torch.inference_mode()
    def prefill(self, embeds: Tensor, cache: KVCache, last: int = 1) -> Tensor:
        """Append T >= 1 positions [T, D] to the cache -> logits [last, V] of the last ones.

        Raises `CacheFull` (nothing appended) if they do not fit.
        """
        cache.reserve(cache.length + len(embeds))
        hidden = [self._prefill_chunk(chunk, cache) for chunk in torch.split(embeds, self.PREFILL_CHUNK)]
        return self._logits(torch.cat(hidden)[-last:] if last > len(hidden[-1]) else hidden[-1][-last:])

    @torch.inference_mode()
    def step(self, ids: Tensor, caches: Sequence[KVCache]) -> Tensor:
        """Append one id to each of B sequences: ids [B] -> logits [B, V]. The sequences may differ in length.

        Raises `CacheFull` (nothing appended) if one of them is full.
        """
        for cache in caches:
            cache.reserve(cache.length + 1)
        logits = self._logits(self._step(F.embedding(ids, self._embedding), caches))
        for cache in caches:
            cache.length += 1
        return logits

    def _step(self, x: Tensor, caches: Sequence[KVCache]) -> Tensor:
        """One position of B sequences through the layers: [B, D] -> [B, D]."""
        batch, width, queries = len(caches), self.config.head_dim, self._query_heads
        rope = self._rope([cache.length for cache in caches])
        for index, layer in enumerate(self._layers):
            h = F.rms_norm(x, self._shape, layer.attention_norm, self.config.rms_norm_eps)
            qkv = F.linear(h, layer.qkv, layer.qkv_bias).view(batch, self._all_heads, width)
            qk = rotate(qkv[:, : self._rotated_heads], rope)
            mixed = [
                self._attend(qk[i : i + 1, :queries], qk[i, queries:], qkv[i, self._rotated_heads :], cache, index)
                for i, cache in enumerate(caches)
            ]
            x = torch.addmm(x, mixed[0] if batch == 1 else torch.cat(mixed), layer.output)
            x = self._mlp(x, layer)
        return x

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, cache: KVCache, layer: int) -> Tensor:
        """Store one position's k, v [K, d] and attend to the whole cache: q [1, H, d] -> [1, H * d].

        Query heads that share a key head are treated as its query positions: no mask, no repeated keys.
        """
        end = cache.length + 1
        keys, values = cache.keys[layer][:, :, :end], cache.values[layer][:, :, :end]
        keys[0, :, -1] = k
        values[0, :, -1] = v
        grouped = q.view(1, -1, self._group, self.config.head_dim)
        return F.scaled_dot_product_attention(grouped, keys, values).reshape(1, -1)

    def _prefill_chunk(self, x: Tensor, cache: KVCache) -> Tensor:
        """Append T positions of one sequence: [T, D] -> [T, D] before the final norm."""
        count, start, width, queries = len(x), cache.length, self.config.head_dim, self._query_heads
        end = start + count
        rope = self._cosines[start:end, None], self._sines[start:end, None]
        mask = None
        if start and count > 1:
            mask = torch.ones(count, end, dtype=torch.bool, device=x.device).tril_(start)
        for index, layer in enumerate(self._layers):
            h = F.rms_norm(x, self._shape, layer.attention_norm, self.config.rms_norm_eps)
            qkv = F.linear(h, layer.qkv, layer.qkv_bias).view(count, self._all_heads, width)
            qk = rotate(qkv[:, : self._rotated_heads], rope).transpose(0, 1)
            keys, values = cache.keys[index][:, :, :end], cache.values[index][:, :, :end]
            keys[0, :, start:] = qk[queries:]
            values[0, :, start:] = qkv[:, self._rotated_heads :].transpose(0, 1)
            mixed = F.scaled_dot_product_attention(
                qk[None, :queries], keys, values, attn_mask=mask, is_causal=start == 0, enable_gqa=True
            )
            x = torch.addmm(x, mixed[0].transpose(0, 1).reshape(count, -1), layer.output)
            x = self._mlp(x, layer)
        cache.length = end
        return x

    def _mlp(self, x: Tensor, layer: _FusedLayer) -> Tensor:
        """[T, D] -> [T, D], including the residual."""
        h = F.rms_norm(x, self._shape, layer.mlp_norm, self.config.rms_norm_eps)
        gate, up = F.linear(h, layer.gate_up).chunk(2, -1)
        return torch.addmm(x, F.silu(gate).mul_(up), layer.down)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(F.rms_norm(x, self._shape, self._norm, self.config.rms_norm_eps), self._head)

    def _rope(self, positions: Sequence[int]) -> Rope:
        """Tables [B, 1, d] for one position per sequence."""
        if len(positions) == 1:
            row = slice(positions[0], positions[0] + 1)
            return self._cosines[row, None], self._sines[row, None]
        rows = torch.tensor(positions, device=self.device)
        return self._cosines[rows, None], self._sines[rows, None]
