"""Audio encoder (Whisper-large-v3 shape) and adapter: log-mel frames -> embeddings for the decoder.

Parameter names are those of the official checkpoint below ``encoder.`` and ``adapter.``.
Letters: B segments, T mel frames (100 Hz), S = ceil(T / 2) positions (50 Hz), P = S // 2 rows (25 Hz),
n features (12.5 Hz), d encoder width, D decoder width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.model.config import AudioEncoderConfig
from realtime.model.features import feature_count_of_frames


class SelfAttention(nn.Module):
    """Bidirectional attention over one segment."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: int, key_mask: Tensor | None) -> Tensor:
        """[B, S, d] -> [B, S, d]; attends to those of the first ``keys`` positions that ``key_mask`` allows."""
        visible = x[:, :keys]
        q, k, v = self._split(self.query(x)), self._split(self.key(visible)), self._split(self.value(visible))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, keys: int, key_mask: Tensor | None) -> Tensor:
        """[B, S, d] -> [B, S, d]."""
        x = x + self.attn(self.attn_ln(x), keys, key_mask)
        x = x + self.mlp(self.mlp_ln(x))
        return x


class AudioEncoder(nn.Module):
    """Mel [B, n_mels, T] -> rows [B, P, d] at 25 Hz."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        width = config.n_audio_state
        self.conv1 = nn.Conv1d(config.n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.positional_embedding = nn.Embedding(config.n_audio_ctx, width)
        self.blocks = nn.ModuleList(EncoderBlock(width, config.n_audio_head) for _ in range(config.n_audio_layer))
        self.after_norm = nn.LayerNorm(width)

    def forward(
        self, mel: Tensor, frames: Sequence[int] | None = None, valid_frames: Sequence[int] | None = None
    ) -> Tensor:
        """Rows [B, P, d] of zero-padded segments, each equal to the rows of the segment alone; the rest is 0.

        ``frames``: T of each segment; None: all segments fill the batch. ``valid_frames``: L of each; None:
        T - 2, the official rule (the HTTP server uses T). Raises ValueError beyond ``n_audio_ctx`` positions.
        """
        frames = [mel.shape[2]] * mel.shape[0] if frames is None else frames
        valid_frames = [t - 2 for t in frames] if valid_frames is None else valid_frames
        x = self.embed_frames(mel, frames)
        keys = [(length + 1) // 2 for length in valid_frames]
        key_mask = None if min(keys) == max(keys) else _mask(keys, max(keys), x.device)[:, None, None]
        for block in self.blocks:
            x = block(x, max(keys), key_mask)
        rows = self.after_norm(F.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2))
        return _zero_from(rows, [encoder_rows(t) for t in frames])

    def embed_frames(self, mel: Tensor, frames: Sequence[int]) -> Tensor:
        """Convolutions and positions: [B, n_mels, T] -> [B, S, d], the input of the first block."""
        x = F.gelu(self.conv1(mel.to(self.conv1.weight.dtype)))
        # A single segment ends in conv2's zero padding, so conv1's bias must not be there.
        x = _zero_from(x.transpose(1, 2), frames).transpose(1, 2)
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        positions = self.positional_embedding.weight
        if x.shape[1] > positions.shape[0]:
            raise ValueError(
                f"segment of {mel.shape[2]} mel frames needs {x.shape[1]} positions, the encoder has "
                f"{positions.shape[0]}: split the audio into 25 s segments"
            )
        return x + positions[: x.shape[1]]


class Adapter(nn.Module):
    """Encoder rows [B, P, d] at 25 Hz -> decoder embeddings [B, floor((P - 1) / 2) + 1, D] at 12.5 Hz."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        width = config.n_audio_state
        self.conv = nn.Conv1d(width, width, config.kernel_size, stride=config.adapter_stride, padding=1)
        self.linear1 = nn.Linear(width, config.adapter_hidden)
        self.linear2 = nn.Linear(config.adapter_hidden, config.llm_dim)

    def forward(self, rows: Tensor) -> Tensor:
        x = F.gelu(self.conv(rows.transpose(1, 2))).transpose(1, 2)
        y: Tensor = self.linear2(F.relu(self.linear1(x)))
        return y


@dataclass(frozen=True, slots=True, eq=False)
class EncodedBatch:
    """Zero-padded segments after the encoder (``rows`` [B, P, d], 25 Hz) and the adapter (``features``
    [B, R, D], 12.5 Hz). The first ``row_counts[i]`` rows, ``feature_counts[i]`` features are segment i's."""

    rows: Tensor
    row_counts: tuple[int, ...]
    features: Tensor
    feature_counts: tuple[int, ...]


def encode_batch(encoder: AudioEncoder, adapter: Adapter, mel: Tensor, frames: Sequence[int]) -> EncodedBatch:
    """Segments zero-padded in mel space [B, n_mels, T] with own lengths ``frames``; differentiable.

    Every segment gets the same result as alone. (In upstream's own batching the result depends on the batch.)
    """
    rows = encoder(mel, frames)
    return EncodedBatch(
        rows=rows,
        row_counts=tuple(encoder_rows(t) for t in frames),
        features=adapter(rows),
        feature_counts=tuple(feature_count_of_frames(t) for t in frames),
    )


def encode_segment(encoder: AudioEncoder, adapter: Adapter, mel: Tensor) -> Tensor:
    """One segment's mel [n_mels, T] -> its features [n, D], which replace its ``<audio_patch>`` ids."""
    features: Tensor = adapter(encoder(mel[None]))[0]
    return features[: feature_count_of_frames(mel.shape[1])]


def pad_mels(mels: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Mels [n_mels, T_i] -> one zero-padded batch [B, n_mels, T] and the T_i, for `encode_batch`."""
    padded = nn.utils.rnn.pad_sequence([mel.T for mel in mels], batch_first=True).transpose(1, 2)
    return padded, [mel.shape[1] for mel in mels]


def encoder_rows(mel_frames: int) -> int:
    """P of a segment of T mel frames."""
    return (mel_frames + 1) // 2 // 2


def _mask(counts: Sequence[int], size: int, device: torch.device) -> Tensor:
    """[B, size] bool: True for the first ``counts[i]`` positions."""
    return torch.arange(size, device=device) < torch.tensor(counts, device=device)[:, None]


def _zero_from(x: Tensor, counts: Sequence[int]) -> Tensor:
    """[B, S, d] with positions >= ``counts[i]`` set to 0; no copy if every segment fills the batch."""
    if min(counts) >= x.shape[1]:
        return x
    return x * _mask(counts, x.shape[1], x.device)[..., None]
