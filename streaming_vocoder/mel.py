"""Mel spectrograms of the voice prompt (24 kHz, 80 bins) and of the speech tokenizer (16 kHz, 128 bins)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from streaming_vocoder.config import HOP_SAMPLES, SAMPLE_RATE

PROMPT_FFT = 1920
PROMPT_BINS = 80
PROMPT_TOP_HZ = 8000.0
TOKENIZER_RATE = 16_000
TOKENIZER_FFT = 400
TOKENIZER_HOP = 160


def prompt_mel(samples: Tensor) -> Tensor:
    """24 kHz samples [n] in [-1, 1], n > 720 -> ln mel [floor(n / 480), 80], floor ln 1e-5."""
    edge = (PROMPT_FFT - HOP_SAMPLES) // 2
    padded = F.pad(samples[None], (edge, edge), mode="reflect")
    spectrum = torch.stft(
        padded,
        PROMPT_FFT,
        HOP_SAMPLES,
        window=torch.hann_window(PROMPT_FFT),
        center=False,
        return_complex=True,
    )[0]
    magnitude = torch.view_as_real(spectrum).square().sum(dim=-1).add(1e-9).sqrt()
    filters = mel_filters(SAMPLE_RATE, PROMPT_FFT, PROMPT_BINS, PROMPT_TOP_HZ)
    return (filters @ magnitude).clamp(min=1e-5).log().T


def tokenizer_mel(samples: Tensor, bins: int = 128) -> Tensor:
    """16 kHz samples [n] in [-1, 1] -> log-mel [bins, floor(n / 160)] for the speech tokenizer."""
    spectrum = torch.stft(
        samples, TOKENIZER_FFT, TOKENIZER_HOP, window=torch.hann_window(TOKENIZER_FFT), return_complex=True
    )
    power = spectrum[:, :-1].abs().square()
    filters = mel_filters(TOKENIZER_RATE, TOKENIZER_FFT, bins, TOKENIZER_RATE / 2)
    log_mel = (filters @ power).clamp(min=1e-10).log10()
    return (log_mel.maximum(log_mel.max() - 8.0) + 4.0) / 4.0


@lru_cache(maxsize=4)
def mel_filters(rate: int, n_fft: int, bins: int, top_hz: float) -> Tensor:
    """Slaney's mel triangles of unit area [bins, n_fft / 2 + 1], from 0 Hz to ``top_hz``."""
    edges = _slaney_hz(torch.linspace(0.0, float(_slaney_mel(top_hz)), bins + 2, dtype=torch.float64))
    frequencies = torch.linspace(0.0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    return (torch.minimum(rising, falling).clamp(min=0.0) * (2.0 / (high - low))).float()


# Slaney's scale: linear to 1 kHz (3 mel per 200 Hz), then 27 mel per factor of 6.4.
_BREAK_HZ, _BREAK_MEL, _LOG_STEP = 1000.0, 15.0, math.log(6.4) / 27.0


def _slaney_mel(hz: float) -> float:
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP if hz >= _BREAK_HZ else hz * 3.0 / 200.0


def _slaney_hz(mel: Tensor) -> Tensor:
    above = _BREAK_HZ * ((mel - _BREAK_MEL) * _LOG_STEP).exp()
    return torch.where(mel < _BREAK_MEL, mel * 200.0 / 3.0, above)
