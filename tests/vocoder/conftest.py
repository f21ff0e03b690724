"""A vocoder of a few thousand weights, random and seeded: small enough that streams run in milliseconds."""

from __future__ import annotations

import pytest
import torch

from streaming_vocoder.config import EncoderConfig, EstimatorConfig, FlowConfig, HiftConfig, VocoderConfig
from streaming_vocoder.flow import Flow
from streaming_vocoder.hift import Hift
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.streaming import Vocoder
from streaming_vocoder.voice import Voice

STEPS = 3
SIZES = VocoderConfig(
    flow=FlowConfig(
        input_size=16,
        vocab_size=40,
        encoder=EncoderConfig(
            input_size=16, output_size=16, num_blocks=2, num_up_blocks=1, attention_heads=2, linear_units=24
        ),
        estimator=EstimatorConfig(depth=2, num_heads=2, head_dim=6, hidden_size=16, mlp_ratio=2.0),
    ),
    hift=HiftConfig(
        base_channels=8,
        f0_cond_channels=8,
        upsample_rates=(8,),
        upsample_kernel_sizes=(16,),
        istft_n_fft=240,
        istft_hop=60,
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
        source_resblock_kernel_sizes=(7,),
        source_resblock_dilation_sizes=((1,),),
    ),
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make_flow() -> Flow:
    torch.manual_seed(1)
    flow = Flow(SIZES.flow).eval()
    for weight in flow.parameters():
        weight.data += 0.1 * torch.randn_like(weight)  # no norm at one, no bias at zero
    return flow


def make_hift() -> Hift:
    torch.manual_seed(2)
    hift = Hift(SIZES.hift).eval()
    hift.f0_predictor.classifier.weight.data *= 500.0  # Hz
    return hift


def make_vocoder(noise: torch.Tensor | None = None, hift: Hift | None = None, **options: object) -> Vocoder:
    chosen = VocoderOptions(**{"steps": STEPS, **options})  # type: ignore[arg-type]
    return Vocoder(SIZES, make_flow(), hift or make_hift(), chosen, noise=noise)


def make_voice(seed: int = 0, tokens: int = 12) -> Voice:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, SIZES.flow.vocab_size, (tokens,), generator=generator)
    mel = torch.randn(2 * tokens, 80, generator=generator) - 5.0
    return Voice(f"voice-{seed}", codes, mel, torch.randn(192, generator=generator))


def codes(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(1000 + seed)
    drawn: list[int] = torch.randint(0, SIZES.flow.vocab_size, (count,), generator=generator).tolist()
    return drawn


@pytest.fixture(scope="session")
def vocoder() -> Vocoder:
    return make_vocoder()


@pytest.fixture(scope="session")
def voice() -> Voice:
    return make_voice()
