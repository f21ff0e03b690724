"""Discriminators for the training of nano's HiFT: what tells synthesized speech from the original.

Two families, as in the published vocoders of this kind (HiFi-GAN's periods, UnivNet's spectrograms), at a size that a
processor core can train: the waveform folded by prime periods, and log magnitudes at three resolutions.

Letters: B batch, S samples (24 kHz), C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PERIODS = (2, 3, 5, 7, 11)
WINDOWS = (256, 640, 1536)
SLOPE = 0.1

Features = list[Tensor]
"""What the layers of a discriminator gave; the last is its verdict."""


class _Layers(nn.Module):
    """Convolutions with leaky ReLU between them."""

    def __init__(self, convolutions: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.utils.parametrizations.weight_norm(c) for c in convolutions)

    def forward(self, x: Tensor) -> Features:
        features = []
        for convolution in self.convolutions[:-1]:
            x = F.leaky_relu(convolution(x), SLOPE)
            features.append(x)
        features.append(self.convolutions[-1](x))
        return features


class PeriodDiscriminator(nn.Module):
    """Looks at every `period`-th sample, side by side. [B, S] -> features."""

    def __init__(self, period: int, widths: Sequence[int] = (12, 24, 48, 64)) -> None:
        super().__init__()
        self.period = period
        pairs = zip((1, *widths[:-1]), widths, strict=True)
        self.layers = _Layers(
            [
                *(nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in pairs),
                nn.Conv2d(widths[-1], widths[-1], (5, 1), padding=(2, 0)),
                nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)),
            ]
        )

    def forward(self, audio: Tensor) -> Features:
        folded = F.pad(audio[:, None], (0, -audio.shape[1] % self.period), mode="reflect")
        features: Features = self.layers(folded.unflatten(2, (-1, self.period)))
        return features


class SpectrogramDiscriminator(nn.Module):
    """Looks at the log magnitudes of windows of one length. [B, S] -> features."""

    window: Tensor

    def __init__(self, size: int, width: int = 12) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.layers = _Layers(
            [
                nn.Conv2d(1, width, (7, 3), (2, 1), padding=(3, 1)),
                nn.Conv2d(width, width, (5, 3), (2, 2), padding=(2, 1)),
                nn.Conv2d(width, 2 * width, (5, 3), (2, 1), padding=(2, 1)),
                nn.Conv2d(2 * width, 2 * width, (3, 3), (2, 2), padding=1),
                nn.Conv2d(2 * width, 1, (3, 3), padding=1),
            ]
        )

    def forward(self, audio: Tensor) -> Features:
        size = len(self.window)
        spectrum = torch.stft(audio, size, size // 4, window=self.window, return_complex=True)
        features: Features = self.layers(spectrum.abs().clamp(min=1e-4).log()[:, None] * 0.3 + 1.0)
        return features


class Discriminators(nn.Module):
    """All of them. [B, S] -> the features of each."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.ModuleList(
            [*(PeriodDiscriminator(p) for p in PERIODS), *(SpectrogramDiscriminator(w) for w in WINDOWS)]
        )

    def forward(self, audio: Tensor) -> list[Features]:
        return [discriminator(audio) for discriminator in self.each]


def discrimination_loss(true: list[Features], made: list[Features]) -> Tensor:
    """Least squares: verdicts on the original to 1, on the copy to 0. Scalar, mean over discriminators."""
    terms = [(t[-1] - 1).square().mean() + m[-1].square().mean() for t, m in zip(true, made, strict=True)]
    return torch.stack(terms).mean()


def generation_losses(true: list[Features], made: list[Features]) -> tuple[Tensor, Tensor]:
    """Of the copy: (verdicts to 1, relative L1 of the features to those of the original), means over discriminators."""
    verdict = torch.stack([(m[-1] - 1).square().mean() for m in made]).mean()
    matches = [
        (a - b).abs().mean() / a.abs().mean().clamp(min=1e-3)
        for t, m in zip(true, made, strict=True)
        for a, b in zip((f.detach() for f in t[:-1]), m[:-1], strict=True)
    ]
    return verdict, torch.stack(matches).mean()
