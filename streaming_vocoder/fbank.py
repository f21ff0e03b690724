"""Kaldi filter bank of the speaker embedding (CAM++): 16 kHz, 80 bins, no dither."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

RATE = 16_000
FRAME, SHIFT, FFT, BINS = 400, 160, 512, 80
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
FLOOR = 1.1920928955078125e-07
"""float32 epsilon."""


def fbank(samples: Tensor) -> Tensor:
    """16 kHz samples [n] in [-1, 1], n >= 400 -> natural log energies [1 + floor((n - 400) / 160), 80]."""
    frames: Tensor = samples.unfold(0, FRAME, SHIFT)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)
    window = torch.hann_window(FRAME, periodic=False).pow(0.85)  # Kaldi's "povey"
    frames = F.pad((frames - PREEMPHASIS * before) * window, (0, FFT - FRAME))
    power = torch.fft.rfft(frames).abs().square()
    energies: Tensor = (power[:, : FFT // 2] @ _triangles().T).clamp(min=FLOOR)
    return energies.log()


def centred_fbank(samples: Tensor) -> Tensor:
    """`fbank` less its mean over time: what CAM++ takes."""
    features = fbank(samples)
    return features - features.mean(dim=0)


@lru_cache(maxsize=1)
def _triangles() -> Tensor:
    """[80, 256]: triangles of height one, linear in Kaldi's mel from 20 Hz to 8 kHz."""
    edges = torch.linspace(float(_mel(torch.tensor(LOWEST_HZ))), float(_mel(torch.tensor(RATE / 2))), BINS + 2)
    mels = _mel(torch.arange(FFT // 2) * (RATE / FFT))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return torch.minimum((mels - low) / (centre - low), (high - mels) / (high - centre)).clamp(min=0.0)


def _mel(hz: Tensor) -> Tensor:
    return 1127.0 * torch.log(1.0 + hz / 700.0)
