"""Windowed-sinc resampling with the defaults of torchaudio (Hann window, 6 zero crossings, rolloff 0.99)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

ZERO_CROSSINGS = 6
ROLLOFF = 0.99


def resample(samples: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """[..., n] at ``source_rate`` Hz -> float32 [..., ceil(n * target_rate / source_rate)]."""
    if source_rate == target_rate:
        return samples
    divisor = math.gcd(source_rate, target_rate)
    source, target = source_rate // divisor, target_rate // divisor
    kernels, reach = _kernels(source, target)
    flat = F.pad(samples.reshape(-1, 1, samples.shape[-1]), (reach, reach + source))
    phases = F.conv1d(flat, kernels, stride=source)  # [B, target, blocks]
    length = math.ceil(target * samples.shape[-1] / source)
    return phases.transpose(1, 2).flatten(1)[:, :length].view(*samples.shape[:-1], length)


@lru_cache(maxsize=8)
def _kernels(source: int, target: int) -> tuple[Tensor, int]:
    """A low-pass kernel for each of the ``target`` phases between two blocks of ``source`` samples, and its half width
    in samples."""
    cutoff = min(source, target) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * source / cutoff)
    places = torch.arange(-reach, reach + source, dtype=torch.float64) / source
    offsets = torch.arange(target, dtype=torch.float64) / target
    crossings = ((places - offsets[:, None]) * cutoff).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(crossings * (math.pi / ZERO_CROSSINGS / 2)).square()
    kernels = torch.sinc(crossings) * window * (cutoff / source)
    return kernels.float()[:, None], reach
