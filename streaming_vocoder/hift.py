"""HiFT: mel -> waveform, by a harmonic source and an inverse STFT.

Letters: B batch, F mel frames (50 Hz), S = 480 F samples (24 kHz), H harmonics. Mels are [B, 80, F] here.
Differentiable: training calls `f0_predictor`, `m_source` (from a given F0) and `decode` apart. Weight
normalisation is folded at load (`weights.fold_weight_norm`). Module names are the checkpoint's keys
(`hift.pt`, without ``generator.``).
"""

from __future__ import annotations

import math
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_vocoder.config import HiftConfig

FINAL_SLOPE = 0.01
MAX_MAGNITUDE = 100.0
SNAKE_EPS = 1e-9


class Snake(nn.Module):
    """x + sin^2(alpha x) / alpha, an alpha per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, None]
        return torch.addcmul(x, (x * alpha).sin().square(), 1.0 / (alpha + SNAKE_EPS))


class ResBlock(nn.Module):
    """Per dilation: x += conv2(snake(conv1(snake(x)))), zero padding keeps the length. [B, C, F'] -> same."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for conv1, conv2, snake1, snake2 in zip(
            self.convs1, self.convs2, self.activations1, self.activations2, strict=True
        ):
            x = x + conv2(snake2(conv1(snake1(x))))
        return x


class F0Predictor(nn.Module):
    """mel [B, 80, F] -> fundamental frequency [B, F] in Hz, >= 0."""

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        width = config.f0_cond_channels
        layers: list[nn.Module] = []
        for index in range(5):
            layers += [nn.Conv1d(config.in_channels if index == 0 else width, width, 3, padding=1), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, 1)

    def forward(self, mel: Tensor) -> Tensor:
        return self.classifier(self.condnet(mel).transpose(1, 2)).squeeze(-1).abs()  # type: ignore[no-any-return]


class HarmonicSource(nn.Module):
    """F0 [B, F] in Hz -> excitation [B, 1, S]: harmonics where voiced, noise everywhere, mixed to one
    channel.

    The phase depends on the F0 alone and starts at 0 in each call; the noise is an argument.
    """

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        self.config = config
        self.l_linear = nn.Linear(config.nb_harmonics + 1, 1)

    def forward(self, f0: Tensor, noise: Tensor | None) -> Tensor:
        """noise: standard normal [B, S, H], or [B, S, 1] (one draw for the mixture of all harmonics: the same
        distribution, cheaper), or None for silence."""
        config, hop = self.config, self.config.samples_per_frame
        harmonics = torch.arange(1, config.nb_harmonics + 2, device=f0.device, dtype=f0.dtype)
        cycles = torch.remainder(f0[:, None] * harmonics[:, None] / config.sampling_rate, 1.0)
        phase = torch.cumsum(cycles, dim=-1) * (2.0 * math.pi) * hop
        phase = F.interpolate(phase, scale_factor=float(hop), mode="linear")
        voiced = (f0 > config.nsf_voiced_threshold).to(f0.dtype).repeat_interleave(hop, dim=1)[:, None]
        weight = self.l_linear.weight
        mixed = torch.einsum("bhs,h->bs", phase.sin(), weight[0])[:, None] * (voiced * config.nsf_alpha)
        if noise is not None:
            amplitude = voiced * config.nsf_sigma + (1.0 - voiced) * (config.nsf_alpha / 3.0)
            single = noise.shape[-1] == 1
            mixed = mixed + amplitude * (noise @ (weight.norm()[None, None] if single else weight.T)).transpose(1, 2)
        return torch.tanh(mixed + self.l_linear.bias)


class Hift(nn.Module):
    """mel [B, 80, F] -> waveform [B, S] in [-0.99, 0.99]. Not causal: a sample depends on up to 19 frames to
    each side."""

    stft_window: Tensor

    def __init__(self, config: HiftConfig) -> None:
        super().__init__()
        self.config = config
        bins, base = config.istft_n_fft + 2, config.base_channels
        self.f0_predictor = F0Predictor(config)
        self.m_source = HarmonicSource(config)
        self.conv_pre = nn.Conv1d(config.in_channels, base, 7, padding=3)
        self.ups = nn.ModuleList()
        self.source_downs = nn.ModuleList()
        self.source_resblocks = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for stage, rate in enumerate(config.upsample_rates):
            channels = base >> (stage + 1)
            kernel = config.upsample_kernel_sizes[stage]
            self.ups.append(nn.ConvTranspose1d(2 * channels, channels, kernel, rate, padding=(kernel - rate) // 2))
            self.source_downs.append(_source_down(bins, channels, math.prod(config.upsample_rates[stage + 1 :])))
            self.source_resblocks.append(
                ResBlock(
                    channels,
                    config.source_resblock_kernel_sizes[stage],
                    config.source_resblock_dilation_sizes[stage],
                )
            )
            for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True):
                self.resblocks.append(ResBlock(channels, size, dilations))
        self.conv_post = nn.Conv1d(base >> len(config.upsample_rates), bins, 7, padding=3)
        self.register_buffer("stft_window", torch.hann_window(config.istft_n_fft), persistent=False)

    def forward(
        self, mel: Tensor, *, noise: Tensor | None = None, cached_source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """-> waveform [B, S], source used [B, 1, S]. ``cached_source`` [B, 1, n] replaces the first n samples
        of the source."""
        source = self.m_source(self.f0_predictor(mel), noise)
        if cached_source is not None:
            source = torch.cat((cached_source, source[:, :, cached_source.shape[2] :]), dim=2)
        return self.decode(mel, source), source

    def decode(self, mel: Tensor, source: Tensor) -> Tensor:
        """mel [B, 80, F], source [B, 1, S] -> waveform [B, S]."""
        config, last = self.config, len(self.ups) - 1
        spectrum = self._source_spectrum(source)
        x = self.conv_pre(mel)
        kernels = len(config.resblock_kernel_sizes)
        for stage, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, config.lrelu_slope))
            if stage == last:
                x = F.pad(x, (1, 0), mode="reflect")
            x = x + self.source_resblocks[stage](self.source_downs[stage](spectrum))
            blocks = self.resblocks[stage * kernels : (stage + 1) * kernels]
            x = _sum([block(x) for block in blocks]) / kernels
        x = self.conv_post(F.leaky_relu(x, FINAL_SLOPE))
        return self._waveform(x, source.shape[2])

    def _source_spectrum(self, source: Tensor) -> Tensor:
        """[B, 1, S] -> real and imaginary parts [B, n_fft + 2, S / hop + 1]."""
        config = self.config
        spectrum = torch.stft(
            source.squeeze(1),
            config.istft_n_fft,
            config.istft_hop,
            window=self.stft_window,
            return_complex=True,
        )
        return torch.cat((spectrum.real, spectrum.imag), dim=1)

    def _waveform(self, x: Tensor, samples: int) -> Tensor:
        """Log magnitude and phase (as its sine) [B, n_fft + 2, S / hop + 1] -> [B, S]."""
        config = self.config
        log_magnitude, phase = x.chunk(2, dim=1)
        magnitude, phase = log_magnitude.exp().clamp(max=MAX_MAGNITUDE), phase.sin()
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        wave = torch.istft(spectrum, config.istft_n_fft, config.istft_hop, window=self.stft_window, length=samples)
        return wave.clamp(-config.audio_limit, config.audio_limit)


def source_down_kernel(factor: int) -> int:
    """The kernel that reduces the source's spectrum to a rate ``factor`` below that of the last stage."""
    return 1 if factor == 1 else 2 * factor


def _source_down(bins: int, channels: int, factor: int) -> nn.Conv1d:
    """Reduces the source's spectrum to the rate of one stage, ``factor`` below that of the last."""
    return nn.Conv1d(bins, channels, source_down_kernel(factor), factor, padding=factor // 2)


def _sum(values: list[Tensor]) -> Tensor:
    return list(accumulate(values))[-1]
