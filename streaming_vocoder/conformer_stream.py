"""The conformer encoder chunk by chunk, for any number of streams at once.

The same function as `conformer`, from packed weights: the token table contains embedded tokens, q, k and v are one
product, repeating, convolving and embedding the frames is one product, and the projected positions are a table. The
rows of all streams share every product; only attention and the edges of the convolutions run per stream.

Letters: T new tokens of a stream, R rows of all streams, D width, H heads, K = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_vocoder.attention import Part, attend
from streaming_vocoder.conformer import (
    LAYER_EPS,
    LOOKAHEAD_SLOPE,
    ConformerLayer,
    InputLayer,
    relative_positions,
    skew,
)
from streaming_vocoder.flow import Flow
from streaming_vocoder.packing import Product, conv_product, fused_product, sliding_rows, spans

CONV_PAST = 2
"""Past frames that a convolution of kernel 3 needs."""
ROOM = 256
"""Frames beyond its window that a cache takes before its content moves to the front of its memory."""


class SlidingCache:
    """Keys and values of the newest frames of one stream, oldest first: those of the prompt, shared by all streams of
    the voice, then the stream's own. Both [layers, 2, H, frames, K]. A chunk sees ``window`` past frames.
    """

    __slots__ = ("end", "own", "prompt", "prompt_start", "start", "window")

    def __init__(self, prompt: Tensor, own: Tensor, window: int) -> None:
        """``own``: unused memory to write to."""
        self.prompt, self.own = prompt, own
        self.window = window
        self.prompt_start = 0
        self.start = self.end = 0

    def __len__(self) -> int:
        """The number of past frames that the next chunk sees."""
        return self.prompt.shape[3] - self.prompt_start + self.end - self.start

    def reserve(self, count: int) -> None:
        """Drop frames outside the window and make room for ``count`` frames."""
        gone = max(0, len(self) - self.window)
        of_prompt = min(gone, self.prompt.shape[3] - self.prompt_start)
        self.prompt_start += of_prompt
        self.start += gone - of_prompt
        if self.end + count > self.own.shape[3]:
            self._make_room(count)

    def attend(self, layer: int, k: Tensor, v: Tensor) -> list[Part]:
        """Append k, v [H, T, K] -> the keys and values that this chunk sees, oldest first."""
        end = self.end + k.shape[1]
        keys, values = self.own[layer]
        keys[:, self.end : end] = k
        values[:, self.end : end] = v
        prompt_keys, prompt_values = self.prompt[layer, :, :, self.prompt_start :]
        return [(prompt_keys, prompt_values), (keys[:, self.start : end], values[:, self.start : end])]

    def frames(self) -> Tensor:
        """The past frames that the next chunk sees [layers, 2, H, len, K]; a copy."""
        return torch.cat((self.prompt[:, :, :, self.prompt_start :], self.own[:, :, :, self.start : self.end]), dim=3)

    def snapshot(self) -> SlidingCache:
        """The frames of the prompt's pass, as a prompt to share."""
        prompt = self.frames()
        return SlidingCache(prompt, prompt[:, :, :, :0].clone(), self.window)

    def fork(self) -> SlidingCache:
        """A stream's cache after the same prompt. The prompt is shared; the stream owns room for a whole window."""
        return SlidingCache(self.prompt, self._memory(self.window + ROOM), self.window)

    def _make_room(self, count: int) -> None:
        """Move the window to the front, into larger memory only if the chunk does not fit."""
        kept = self.end - self.start
        target = self.own if kept + count <= self.own.shape[3] else self._memory(kept + count)
        # Source and destination may overlap, so the frames are copied first.
        target[:, :, :, :kept] = self.own[:, :, :, self.start : self.end].clone()
        self.own, self.start, self.end = target, 0, kept

    def _memory(self, frames: int) -> Tensor:
        return self.own.new_empty((*self.own.shape[:3], frames, self.own.shape[4]))


@dataclass(slots=True, eq=False)
class EncoderState:
    """The encoder's state of one stream."""

    lookahead_tail: Tensor
    """[2, D]: last inputs of the second look-ahead convolution."""
    upsample_tail: Tensor
    """[2, D]: last tokens before they were repeated."""
    token_cache: SlidingCache
    frame_cache: SlidingCache

    def snapshot(self) -> EncoderState:
        """The state after a prompt, ready to be forked."""
        return EncoderState(
            self.lookahead_tail, self.upsample_tail, self.token_cache.snapshot(), self.frame_cache.snapshot()
        )

    def fork(self) -> EncoderState:
        """A stream's state after the same prompt."""
        return EncoderState(self.lookahead_tail, self.upsample_tail, self.token_cache.fork(), self.frame_cache.fork())


class StreamingEncoder:
    """Tokens of many streams -> their mu. Packed from a `Flow`, which it does not reference afterwards."""

    def __init__(self, flow: Flow, window_frames: int) -> None:
        encoder = flow.encoder
        self.config = encoder.config
        self.window_frames = window_frames
        self.lookahead = self.config.pre_lookahead_len
        self.tokens = encoder.embed(flow.input_embedding.weight)
        self.lookahead_convs = [
            conv_product(encoder.pre_lookahead_layer.conv1),
            conv_product(encoder.pre_lookahead_layer.conv2),
        ]
        self.upsample = _upsample_rows(encoder.up_layer.conv, encoder.up_embed, self.config.up_stride)
        self.up_norm = _norm(encoder.up_embed.out[1], encoder.up_embed.scale)
        self.token_layers = _LayerStack(encoder.encoders, self.config.attention_heads)
        self.frame_layers = _LayerStack(encoder.up_encoders, self.config.attention_heads)
        self.after_norm = _norm(encoder.after_norm)
        self.projection = fused_product(flow.encoder_proj)

    def twin(self) -> StreamingEncoder:
        """See `streaming_vocoder.streaming.Vocoder.twin`."""
        twin = copy(self)
        twin.token_layers, twin.frame_layers = self.token_layers.twin(), self.frame_layers.twin()
        return twin

    def fresh_state(self) -> EncoderState:
        """The state before any token."""
        empty = self.tokens.new_zeros(CONV_PAST, self.config.output_size)
        return EncoderState(
            empty,
            empty,
            self.token_layers.fresh_cache(self.window_frames // self.config.up_stride),
            self.frame_layers.fresh_cache(self.window_frames),
        )

    def step(self, states: Sequence[EncoderState], tokens: Sequence[Tensor], last: Sequence[bool]) -> list[Tensor]:
        """One chunk per stream: tokens int [T] -> mu [2 (T - lookahead), 80]; for a ``last`` chunk mu [2 T, 80]."""
        embedded = [self._embed(ids, is_last) for ids, is_last in zip(tokens, last, strict=True)]
        counts = [len(rows) - self.lookahead for rows in embedded]
        x = self._look_ahead(states, embedded, counts)
        x = self.token_layers.run(x, [state.token_cache for state in states], counts)
        x = self._upsample(states, x, counts)
        frames = [self.config.up_stride * count for count in counts]
        x = self.frame_layers.run(x, [state.frame_cache for state in states], frames)
        mu = _product(F.layer_norm(x, x.shape[-1:], *self.after_norm, 1e-5), self.projection)
        return list(torch.split(mu, frames))

    def _embed(self, ids: Tensor, last: bool) -> Tensor:
        rows = self.tokens[ids]
        return F.pad(rows, (0, 0, 0, self.lookahead)) if last else rows

    def _look_ahead(self, states: Sequence[EncoderState], embedded: list[Tensor], counts: list[int]) -> Tensor:
        first, second = self.lookahead_convs
        x = torch.cat([sliding_rows(rows, self.lookahead + 1) for rows in embedded])
        x = F.leaky_relu(_product(x, first), LOOKAHEAD_SLOPE)
        windows = []
        for state, rows in zip(states, torch.split(x, counts), strict=True):
            joined = torch.cat((state.lookahead_tail, rows))
            state.lookahead_tail = joined[-CONV_PAST:].clone()
            windows.append(sliding_rows(joined, CONV_PAST + 1))
        now = [rows[:count] for rows, count in zip(embedded, counts, strict=True)]
        return torch.cat(now) + _product(torch.cat(windows), second)

    def _upsample(self, states: Sequence[EncoderState], x: Tensor, counts: list[int]) -> Tensor:
        windows = []
        for state, rows in zip(states, torch.split(x, counts), strict=True):
            joined = torch.cat((state.upsample_tail, rows))
            state.upsample_tail = joined[-CONV_PAST:].clone()
            windows.append(sliding_rows(joined, CONV_PAST + 1))
        x = _product(torch.cat(windows), self.upsample).view(-1, self.config.output_size)
        return F.layer_norm(x, x.shape[-1:], *self.up_norm, 1e-5)


class _LayerStack:
    """The layers of one frame rate and the table of their projected positions."""

    def __init__(self, layers: nn.ModuleList, heads: int) -> None:
        self.heads = heads
        self.layers = [_Layer(layer) for layer in layers if isinstance(layer, ConformerLayer)]
        self.positions = _PositionTable(self.layers, heads)

    def twin(self) -> _LayerStack:
        """The same weights with a table of positions of its own: that grows."""
        twin = copy(self)
        twin.positions = _PositionTable(self.layers, self.heads)
        return twin

    def fresh_cache(self, window: int) -> SlidingCache:
        first = self.layers[0]
        width = first.out[0].shape[0]
        empty = first.out[0].new_empty((len(self.layers), 2, self.heads, 0, width // self.heads))
        return SlidingCache(empty, empty, window)

    def run(self, x: Tensor, caches: Sequence[SlidingCache], counts: Sequence[int]) -> Tensor:
        """x [R, D], with ``counts`` rows per stream."""
        for cache, count in zip(caches, counts, strict=True):
            cache.reserve(count)
        for index, layer in enumerate(self.layers):
            x = self._layer(index, layer, x, caches, counts)
        for cache, count in zip(caches, counts, strict=True):
            cache.end += count
        return x

    def _layer(
        self, index: int, layer: _Layer, x: Tensor, caches: Sequence[SlidingCache], counts: Sequence[int]
    ) -> Tensor:
        normed = F.layer_norm(x, x.shape[-1:], *layer.norm_mha, LAYER_EPS)
        qkv = _product(normed, layer.qkv).view(len(x), 3, self.heads, -1).permute(1, 2, 0, 3)
        heard = [
            self._attend(index, layer, qkv[:, :, rows], cache)
            for cache, rows in zip(caches, spans(counts), strict=True)
        ]
        x = x + _product(heard[0] if len(heard) == 1 else torch.cat(heard), layer.out)
        inner = F.silu(_product(F.layer_norm(x, x.shape[-1:], *layer.norm_ff, LAYER_EPS), layer.w_1), inplace=True)
        return x + _product(inner, layer.w_2)

    def _attend(self, index: int, layer: _Layer, qkv: Tensor, cache: SlidingCache) -> Tensor:
        """qkv [3, H, T, K] of one stream -> [T, D]."""
        q, k, v = qkv.unbind(0)
        parts = cache.attend(index, k, v)
        queries, keys = q.shape[1], sum(part.shape[1] for part, _ in parts)
        by_distance = (q + layer.v) @ self.positions.rows(index, queries, keys).transpose(1, 2)
        out = attend(q + layer.u, parts, skew(by_distance, queries, keys))
        return out.transpose(0, 1).flatten(1)


class _Layer:
    """Weights of one layer, ready for `F.linear` and `F.layer_norm`."""

    def __init__(self, layer: ConformerLayer) -> None:
        attention, feed_forward = layer.self_attn, layer.feed_forward
        weight, bias = fused_product(attention.linear_q, attention.linear_k, attention.linear_v)
        width = weight.shape[0]
        scale = (width // attention.heads) ** -0.5  # of the scores
        weight[:, :width] *= scale
        bias[:width] *= scale
        self.qkv = weight, bias
        self.out = fused_product(attention.linear_out)
        self.position_weight = attention.linear_pos.weight
        self.u, self.v = attention.pos_bias_u[:, None] * scale, attention.pos_bias_v[:, None] * scale
        self.w_1, self.w_2 = fused_product(feed_forward.w_1), fused_product(feed_forward.w_2)
        self.norm_mha, self.norm_ff = _norm(layer.norm_mha), _norm(layer.norm_ff)


class _PositionTable:
    """Projected positions of the distances needed so far. It grows on demand and is shared by all streams."""

    def __init__(self, layers: list[_Layer], heads: int) -> None:
        self.layers = layers
        self.heads = heads
        self.farthest = self.nearest = -1  # distances farthest ... -nearest are in the table
        self.table: list[Tensor] = []

    def rows(self, layer: int, queries: int, keys: int) -> Tensor:
        """[H, queries + keys - 1, K]: distances keys - 1 ... 1 - queries."""
        if keys - 1 > self.farthest or queries - 1 > self.nearest:
            self._build(max(self.farthest, 2 * keys), max(self.nearest, 2 * queries))
        first = self.farthest - (keys - 1)
        return self.table[layer][:, first : first + queries + keys - 1]

    def _build(self, farthest: int, nearest: int) -> None:
        self.farthest, self.nearest = farthest, nearest
        weights = [layer.position_weight for layer in self.layers]
        width = weights[0].shape[1]
        distances = relative_positions(farthest, -nearest, width).to(weights[0])
        self.table = [
            F.linear(distances, weight).view(len(distances), self.heads, -1).transpose(0, 1).contiguous()
            for weight in weights
        ]


def _product(x: Tensor, weights: Product) -> Tensor:
    weight, bias = weights
    return torch.addmm(bias, x, weight)


def _norm(norm: nn.Module, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    assert isinstance(norm, nn.LayerNorm)
    return norm.weight * scale, norm.bias * scale


def _upsample_rows(conv: nn.Conv1d, embed: InputLayer, stride: int) -> tuple[Tensor, Tensor]:
    """Repeat, convolve and embed as one product: rows of three tokens [3 D] -> ``stride`` frames [stride *
    D].

    Frame j of a token sees the repeated frames j - 2 stride ... j, i.e. this token and the two before.
    """
    linear = embed.out[0]
    assert isinstance(linear, nn.Linear) and conv.bias is not None
    weight = conv.weight.double()  # [D, D, 2 stride + 1]
    folded = weight.new_zeros(stride, weight.shape[0], CONV_PAST + 1, weight.shape[1])
    for frame in range(stride):
        for tap in range(weight.shape[2]):
            folded[frame, :, (frame + tap) // stride] += weight[:, :, tap]
    embedding = linear.weight.double()
    rows = torch.einsum("ed,sdki->seki", embedding, folded).flatten(2).flatten(0, 1)
    bias = embedding @ conv.bias.double() + linear.bias.double()
    return rows.T.float().contiguous(), bias.float().repeat(stride)
