"""Speech samples -> log-mel frames, and the counts that follow from them (Step-Audio 2 ``utils.py``).

Letters: N samples at 16 kHz, T mel frames (100 Hz), L = T - 2 valid frames, n features (12.5 Hz).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from realtime.ports.messages import SEGMENT_SAMPLES as SEGMENT_SAMPLES

SAMPLE_RATE = 16_000
N_FFT = 400
HOP = 160
PAD_RIGHT = 479  # zeros that upstream appends: two more frames than the audio fills


def mel_frame_count(num_samples: int) -> int:
    """T of a segment of ``num_samples``: ceil(N / 160) + 2."""
    return (num_samples + PAD_RIGHT) // HOP


def feature_count(num_samples: int) -> int:
    """n, the decoder positions of a segment (12.5 per second); 0 for less than 321 samples."""
    return feature_count_of_frames(mel_frame_count(num_samples))


def feature_count_of_frames(mel_frames: int) -> int:
    """n for a segment of T mel frames."""
    valid_frames = mel_frames - 2
    return (valid_frames + 5) // 8


def split_segments(num_samples: int) -> list[tuple[int, int]]:
    """(start, stop) of the consecutive 25 s segments of a recording; the last one is shorter."""
    return [(i, min(i + SEGMENT_SAMPLES, num_samples)) for i in range(0, num_samples, SEGMENT_SAMPLES)]


def log_mel(samples: Tensor, n_mels: int = 128) -> Tensor:
    """One segment: float [N] at 16 kHz in [-1, 1] -> float32 [n_mels, T]. Zeros give -1.5 everywhere.

    The floor is 8 (80 dB) below the maximum of the segment, so every frame depends on the whole segment.
    """
    padded = F.pad(samples.float(), (0, PAD_RIGHT))
    spectrum = torch.stft(
        padded,
        N_FFT,
        HOP,
        window=_window(samples.device),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = spectrum[:, :-1].abs() ** 2
    log_power = (_filters(n_mels, samples.device) @ power).clamp_(min=1e-10).log10_()
    floored = torch.maximum(log_power, log_power.max() - 8.0)
    return (floored + 4.0) / 4.0


def mel_filterbank(n_mels: int, sample_rate: int = SAMPLE_RATE, n_fft: int = N_FFT) -> Tensor:
    """Triangular filters [n_mels, n_fft // 2 + 1] float32 from 0 Hz to Nyquist: Slaney's scale, area 1 each.

    The same matrix as librosa's default ``filters.mel``.
    """
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    top = _hertz_to_mel(sample_rate / 2)
    edges = _mel_to_hertz(torch.linspace(0, top, n_mels + 2, dtype=torch.float64))
    widths = edges.diff()
    offsets = edges[:, None] - bins[None, :]
    rising = -offsets[:-2] / widths[:-1, None]
    falling = offsets[2:] / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    area_norm = 2.0 / (edges[2:] - edges[:-2])
    return (triangles * area_norm[:, None]).float()


# Slaney's Auditory Toolbox: linear below 1 kHz (66.7 Hz per mel), above it 27 mels per factor of 6.4.
_HERTZ_PER_MEL = 200.0 / 3
_LOG_START_HERTZ = 1000.0
_LOG_START_MEL = _LOG_START_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _LOG_START_HERTZ:
        return hertz / _HERTZ_PER_MEL
    return _LOG_START_MEL + math.log(hertz / _LOG_START_HERTZ) / _LOG_STEP


def _mel_to_hertz(mel: Tensor) -> Tensor:
    logarithmic = _LOG_START_HERTZ * torch.exp(_LOG_STEP * (mel - _LOG_START_MEL))
    return torch.where(mel < _LOG_START_MEL, mel * _HERTZ_PER_MEL, logarithmic)


@lru_cache
def _filters(n_mels: int, device: torch.device) -> Tensor:
    return mel_filterbank(n_mels).to(device)


@lru_cache
def _window(device: torch.device) -> Tensor:
    return torch.hann_window(N_FFT, periodic=True, device=device)
