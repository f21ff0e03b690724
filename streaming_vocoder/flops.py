"""Counts the operations of one chunk from the sizes, independent of the implementation.

Only products and convolutions count, a multiply-add as two operations. Constants (modulations at the solver's fixed
times, projected positions) do not count, because a chunk need not compute them.
"""

from __future__ import annotations

import math

from streaming_vocoder.config import FRAMES_PER_TOKEN, EncoderConfig, EstimatorConfig, FlowConfig, HiftConfig
from streaming_vocoder.hift import source_down_kernel


def flow_flops(config: FlowConfig, steps: int, tokens: int, past_tokens: int, past_frames: int) -> int:
    """A chunk of ``tokens`` through encoder and solver; the encoder sees ``past_tokens``, the solver
    ``past_frames`` before it."""
    frames = FRAMES_PER_TOKEN * tokens
    projection = 2 * frames * config.encoder.output_size * config.output_size
    encoder = encoder_flops(config.encoder, tokens, past_tokens) + projection
    return encoder + solver_flops(config.estimator, steps, frames, past_frames + frames)


def solver_flops(config: EstimatorConfig, steps: int, frames: int, seen: int) -> int:
    """All solver steps, both halves of the guidance; every frame attends to ``seen`` frames."""
    width, inner, mel = config.hidden_size, config.num_heads * config.head_dim, config.out_channels
    weights = 4 * width * inner + 6 * width * width + 2 * width * int(width * config.mlp_ratio)
    block = 2 * (2 * frames * weights + 4 * frames * seen * inner)
    # x enters and the velocity leaves once per step: the halves are joined before the last product
    return steps * (config.depth * block + 4 * frames * width * mel) + 2 * frames * width * mel


def encoder_flops(config: EncoderConfig, tokens: int, past: int) -> int:
    """Look-ahead, token layers, upsampling and frame layers."""
    width, up = config.output_size, config.up_stride
    ahead = 2 * tokens * width * width * (config.pre_lookahead_len + 1 + 3)
    upsample = 2 * tokens * (3 * width) * (up * width)
    layers = config.num_blocks * _encoder_layer(config, tokens, past)
    return ahead + upsample + layers + config.num_up_blocks * _encoder_layer(config, up * tokens, up * past)


def _encoder_layer(config: EncoderConfig, rows: int, past: int) -> int:
    width, seen = config.output_size, past + rows
    weights = 4 * width * width + 2 * width * config.linear_units
    return 2 * rows * weights + 4 * rows * seen * width + 2 * rows * (rows + seen - 1) * width


def hift_flops(config: HiftConfig, frames: int) -> int:
    """One call of HiFT on ``frames``, including those kept for the seam. Fourier transforms do not count."""
    width, bins = config.f0_cond_channels, config.istft_n_fft + 2
    total = 2 * frames * (3 * width * (config.in_channels + 4 * width) + width)
    total += 2 * frames * config.samples_per_frame * (config.nb_harmonics + 1)
    total += 2 * frames * 7 * config.in_channels * config.base_channels
    length = frames
    for stage, rate in enumerate(config.upsample_rates):
        channels = config.base_channels >> (stage + 1)
        total += 2 * length * (2 * channels) * channels * config.upsample_kernel_sizes[stage]
        length *= rate
        down = source_down_kernel(math.prod(config.upsample_rates[stage + 1 :]))
        total += 2 * length * bins * channels * down
        source = config.source_resblock_kernel_sizes[stage], config.source_resblock_dilation_sizes[stage]
        blocks = [source, *zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)]
        total += sum(4 * length * channels * channels * kernel * len(dilations) for kernel, dilations in blocks)
    return total + 2 * length * 7 * (config.base_channels >> len(config.upsample_rates)) * bins
