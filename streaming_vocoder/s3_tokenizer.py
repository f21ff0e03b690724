"""S3 tokenizer v2: 16 kHz speech -> speech tokens at 25 Hz.

The checkpoint contains it as an ONNX file, which `voice.Voice.enroll` runs. This module is the same network in torch,
for training and for converted weights.

Letters: B batch, T frames of its log-mel (100 Hz), T' = tokens, D width, H heads. Module names are those of
the converted state dict.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

QUANTIZER_RANGE = 0.9990000128746033
LEVELS, DIGITS = 3, 8
ROTARY_BASE = 10_000.0


@dataclass(frozen=True, slots=True)
class S3TokenizerConfig:
    """Defaults: the official tokenizer."""

    n_mels: int = 128
    n_state: int = 1280
    n_head: int = 20
    n_layer: int = 6
    fsmn_kernel: int = 31


class FsmnAttention(nn.Module):
    """Bidirectional rotary attention, plus a depthwise convolution over the values in parallel."""

    def __init__(self, config: S3TokenizerConfig) -> None:
        super().__init__()
        width, kernel = config.n_state, config.fsmn_kernel
        self.heads = config.n_head
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.fsmn_block = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T', D] -> same."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        memory = self.fsmn_block(v.transpose(1, 2)).transpose(1, 2) + v
        q, k, v = (y.view(*y.shape[:2], self.heads, -1).transpose(1, 2) for y in (q, k, v))
        heard = F.scaled_dot_product_attention(_rotate(q), _rotate(k), v)
        return self.out(heard.transpose(1, 2).flatten(2)) + memory  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: S3TokenizerConfig) -> None:
        super().__init__()
        width = config.n_state
        self.attn = FsmnAttention(config)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp(self.mlp_ln(x))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Log-mel [B, 128, T] -> hidden [B, T', D]; two convolutions halve the rate each."""

    def __init__(self, config: S3TokenizerConfig) -> None:
        super().__init__()
        width = config.n_state
        self.conv1 = nn.Conv1d(config.n_mels, width, 3, stride=2, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))

    def forward(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return x


class Codebook(nn.Module):
    """Finite scalar quantizer: eight digits of three levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project_down = nn.Linear(width, DIGITS)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, T', D] -> ids int [B, T']."""
        digits = (self.project_down(hidden).tanh() * QUANTIZER_RANGE).round().long() + 1
        places = torch.pow(LEVELS, torch.arange(DIGITS, device=digits.device))
        ids: Tensor = (digits * places).sum(dim=-1)
        return ids


class Quantizer(nn.Module):
    """Contains the codebook under the name used in checkpoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._codebook = Codebook(width)

    def forward(self, hidden: Tensor) -> Tensor:
        return self._codebook(hidden)  # type: ignore[no-any-return]


class S3Tokenizer(nn.Module):
    """Log-mel [B, 128, T] (`mel.tokenizer_mel`) -> speech tokens int [B, ceil(ceil(T / 2) / 2)]."""

    def __init__(self, config: S3TokenizerConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.quantizer = Quantizer(config.n_state)

    def forward(self, mel: Tensor) -> Tensor:
        return self.quantizer(self.encoder(mel))  # type: ignore[no-any-return]


def _rotate(x: Tensor) -> Tensor:
    """Rotary positions on [B, H, T', K]: halves are rotated against each other."""
    length, size = x.shape[-2:]
    rates = ROTARY_BASE ** (-torch.arange(0, size, 2, device=x.device, dtype=torch.float32) / size)
    angles = torch.arange(length, device=x.device, dtype=torch.float32)[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
