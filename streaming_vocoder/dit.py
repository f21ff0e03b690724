"""DiT: the velocity field of the flow.

Letters: B batch, F mel frames (50 Hz), C hidden size, H heads, K head size. No positional encoding: order
enters through the causal convolutions. Differentiable; used for training and offline. The streaming path
(`flow_stream`) computes the same function from packed weights and caches. Module names are the checkpoint's
keys.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_vocoder.config import EstimatorConfig

TIME_CHANNELS = 256
NORM_EPS = 1e-6


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised x [B, F, C], scaled and shifted by [B, C]."""
    normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
    return normed * (1 + scale[:, None]) + shift[:, None]


class TimestepEmbedder(nn.Module):
    """Flow time [B] in [0, 1] -> [B, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_CHANNELS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        half = TIME_CHANNELS // 2
        rates = torch.exp(torch.arange(half, dtype=torch.float32, device=t.device) * (-math.log(10000.0) / half))
        angles = (t.float() * 1000.0)[:, None] * rates
        return self.mlp(torch.cat((angles.cos(), angles.sin()), dim=-1))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention with a LayerNorm over each head of q and k."""

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.num_heads * config.head_dim
        self.heads = config.num_heads
        self.to_q = nn.Linear(width, inner)
        self.to_k = nn.Linear(width, inner)
        self.to_v = nn.Linear(width, inner)
        self.q_norm = nn.LayerNorm(config.head_dim)
        self.k_norm = nn.LayerNorm(config.head_dim)
        self.proj = nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """mask [B|1, F, F]: True = visible."""
        q, k, v = (to(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v))
        mask = None if mask is None else mask[:, None]
        out = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v, attn_mask=mask)
        return self.proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Linear, GELU (tanh), Linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))  # type: ignore[no-any-return]


class CausalConv(nn.Module):
    """Two causal convolutions (kernel 3) with LayerNorm and Mish between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The indices are the checkpoint's; the modules between them only transpose and pad.
        self.block = nn.ModuleDict(
            {"1": nn.Conv1d(width, width, 3), "3": nn.LayerNorm(width), "6": nn.Conv1d(width, width, 3)}
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block["1"](F.pad(x.transpose(1, 2), (2, 0))).transpose(1, 2)
        x = F.mish(self.block["3"](x)).transpose(1, 2)
        return self.block["6"](F.pad(x, (2, 0))).transpose(1, 2)  # type: ignore[no-any-return]


class DiTBlock(nn.Module):
    """Attention, convolution, MLP: each modulated by the time, each gated."""

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.attn = Attention(config)
        self.mlp = Mlp(width, int(width * config.mlp_ratio))
        self.conv = CausalConv(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 9 * width))

    def forward(self, x: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, F, C], time [B, C]. The nine vectors are in the order attention, MLP, convolution, which differs
        from the order of execution."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m, shift_c, scale_c, gate_c = self.adaLN_modulation(
            time
        ).chunk(9, dim=-1)
        x = x + gate_a[:, None] * self.attn(modulate(x, shift_a, scale_a), mask)
        x = x + gate_c[:, None] * self.conv(modulate(x, shift_c, scale_c))
        return x + gate_m[:, None] * self.mlp(modulate(x, shift_m, scale_m))  # type: ignore[no-any-return]


class FinalLayer(nn.Module):
    """Modulated LayerNorm and projection to mel channels."""

    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.linear = nn.Linear(width, out_channels)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(time).chunk(2, dim=-1)
        return self.linear(modulate(x, shift, scale))  # type: ignore[no-any-return]


class DiT(nn.Module):
    """Velocity [B, F, 80] of x at time t."""

    def __init__(self, config: EstimatorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.t_embedder = TimestepEmbedder(width)
        self.in_proj = nn.Linear(config.in_channels, width)
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(width, config.out_channels)

    def forward(
        self, x: Tensor, mu: Tensor, t: Tensor, speaker: Tensor, cond: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """x, mu, cond [B, F, 80], t [B], speaker [B, 80] (projected), mask [B|1, F, F] (True = visible) ->
        [B, F, 80]."""
        time = self.t_embedder(t)
        h = self.in_proj(torch.cat((x, mu, speaker[:, None].expand_as(x), cond), dim=-1))
        for block in self.blocks:
            h = block(h, time, mask)
        return self.final_layer(h, time)  # type: ignore[no-any-return]
