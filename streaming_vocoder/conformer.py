"""Conformer encoder of the flow: speech tokens (25 Hz) -> frames (50 Hz), with relative positions.

Letters: B batch, T tokens, F = 2 T frames, D width, H heads, K = D / H. Differentiable; used for training and
offline. The streaming path (`flow_stream`) computes the same function from packed weights and caches. Module
names are the checkpoint's keys.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_vocoder.config import EncoderConfig

LOOKAHEAD_SLOPE = 0.01
LAYER_EPS = 1e-12


def relative_positions(first: int, last: int, width: int) -> Tensor:
    """Sinusoids [first - last + 1, width] of the distances first, first - 1, ..., last (query minus key)."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    angles = torch.arange(first, last - 1, -1, dtype=torch.float64)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).float()


def skew(scores: Tensor, queries: int, keys: int) -> Tensor:
    """Scores by distance [..., queries, queries + keys - 1], largest distance first -> scores by key [...,
    queries, keys].

    Distances run from keys - 1 down to 1 - queries, because the queries are the newest keys. A view, not a copy.
    """
    scores = scores.contiguous()
    columns = queries + keys - 1
    strides = scores.stride()
    return scores.as_strided(
        (*scores.shape[:-2], queries, keys),
        (*strides[:-2], columns - 1, 1),
        scores.storage_offset() + queries - 1,
    )


class RelativeAttention(nn.Module):
    """Self-attention whose score is (q + u) k + (q + v) p[i - j], p a projection of the distance's
    sinusoid."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, self.heads = config.output_size, config.attention_heads
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width, bias=config.key_bias)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(self.heads, width // self.heads))
        self.pos_bias_v = nn.Parameter(torch.empty(self.heads, width // self.heads))
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, T, D], positions [2 T - 1, D] of the distances T - 1 ... 1 - T, mask [B|1, T, T] (True =
        visible)."""
        q, k, v = self.linear_q(x), self._split(self.linear_k(x)), self._split(self.linear_v(x))
        q = q.unflatten(-1, (self.heads, -1))
        p = self.linear_pos(positions).unflatten(-1, (self.heads, -1))
        scale = k.shape[-1] ** -0.5
        by_distance = torch.einsum("bthk,rhk->bhtr", q + self.pos_bias_v, p) * scale
        bias = skew(by_distance, x.shape[1], x.shape[1])
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None], -torch.inf)
        out = F.scaled_dot_product_attention((q + self.pos_bias_u).transpose(1, 2), k, v, attn_mask=bias)
        return self.linear_out(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear, SiLU, Linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, inner)
        self.w_2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(F.silu(self.w_1(x)))  # type: ignore[no-any-return]


class ConformerLayer(nn.Module):
    """Pre-norm attention and feed-forward. (The reference's convolution and macaron halves are disabled.)"""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.output_size
        self.self_attn = RelativeAttention(config)
        self.feed_forward = FeedForward(width, config.linear_units)
        self.norm_mha = nn.LayerNorm(width, eps=LAYER_EPS)
        self.norm_ff = nn.LayerNorm(width, eps=LAYER_EPS)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), positions, mask)
        return x + self.feed_forward(self.norm_ff(x))  # type: ignore[no-any-return]


class InputLayer(nn.Module):
    """LayerNorm(Linear(x)) * sqrt(D)."""

    def __init__(self, input_size: int, width: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Linear(input_size, width), nn.LayerNorm(width, eps=1e-5))
        self.scale = math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) * self.scale  # type: ignore[no-any-return]


class PreLookahead(nn.Module):
    """Adds ``lookahead`` future tokens to each token: x + conv2(leaky_relu(conv1(x))) on [B, T,
    D]."""

    def __init__(self, width: int, lookahead: int) -> None:
        super().__init__()
        self.lookahead = lookahead
        self.conv1 = nn.Conv1d(width, width, lookahead + 1)
        self.conv2 = nn.Conv1d(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.pad(x.transpose(1, 2), (0, self.lookahead)))
        y = self.conv2(F.pad(F.leaky_relu(y, LOOKAHEAD_SLOPE), (2, 0)))
        return x + y.transpose(1, 2)  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Repeats each frame ``stride`` times, then a causal convolution: [B, T, D] -> [B, stride * T, D]."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(width, width, 2 * stride + 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x.repeat_interleave(self.stride, dim=1).transpose(1, 2)
        return self.conv(F.pad(y, (2 * self.stride, 0))).transpose(1, 2)  # type: ignore[no-any-return]


class UpsampleConformerEncoder(nn.Module):
    """Embedded tokens [B, T, input_size] -> frames [B, 2 T, D]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.output_size
        self.config = config
        self.embed = InputLayer(config.input_size, width)
        self.pre_lookahead_layer = PreLookahead(width, config.pre_lookahead_len)
        self.encoders = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_blocks))
        self.up_layer = Upsample(width, config.up_stride)
        self.up_embed = InputLayer(width, width)
        self.up_encoders = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_up_blocks))
        self.after_norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask`` [B|1, 2 T, 2 T] over frames (True = visible); None: all. Token i sees token j if frame 2 i sees
        frame 2 j."""
        return self.after_lookahead(self.pre_lookahead_layer(self.embed(x)), mask)

    def after_lookahead(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The layers after the look-ahead layer: tokens [B, T, D] -> frames [B, 2 T, D]."""
        stride = self.config.up_stride
        token_mask = None if mask is None else mask[:, ::stride, ::stride]
        x = self._run(self.encoders, x, token_mask)
        x = self.up_embed(self.up_layer(x))
        return self.after_norm(self._run(self.up_encoders, x, mask))  # type: ignore[no-any-return]

    def _run(self, layers: nn.ModuleList, x: Tensor, mask: Tensor | None) -> Tensor:
        length = x.shape[1]
        positions = relative_positions(length - 1, 1 - length, x.shape[2]).to(x)
        for layer in layers:
            x = layer(x, positions, mask)
        return x
