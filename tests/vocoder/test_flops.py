from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from streaming_vocoder.config import VocoderConfig
from streaming_vocoder.flops import flow_flops, hift_flops, solver_flops
from streaming_vocoder.streaming import Vocoder
from tests.vocoder.conftest import SIZES, STEPS, codes, make_hift, make_voice


def test_official_sizes_need_what_was_published_for_them() -> None:
    """GFLOP of a 25-token chunk after 150 prompt frames: 163 with the modulations, 35.5 for HiFT."""
    official = VocoderConfig()
    assert solver_flops(official.flow.estimator, 10, 50, 300) / 1e9 == pytest.approx(163 * 0.99, rel=0.01)
    assert hift_flops(official.hift, 58) / 1e9 == pytest.approx(35.5, rel=0.02)


def test_hift_is_counted_as_it_runs() -> None:
    with FlopCounterMode(display=False) as counter:
        make_hift()(torch.randn(1, 80, 58))
    assert hift_flops(SIZES.hift, 58) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_the_flow_is_counted_as_it_runs(vocoder: Vocoder) -> None:
    """PyTorch's counter does not know a product that is added in place, so it is told."""

    def added_product(_: torch.Size, left: torch.Size, right: torch.Size, **__: object) -> int:
        return 2 * left[0] * left[1] * left[2] * right[2]

    known = {torch.ops.aten.baddbmm_: added_product}
    stream = vocoder.open(make_voice(0, 30))
    for size in (28, 25, 25):
        vocoder.step([(stream, codes(size), False)])
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        vocoder.step([(stream, codes(25), False)])
    expected = flow_flops(SIZES.flow, STEPS, 25, 30 + 75, 60 + 100) + hift_flops(SIZES.hift, 58)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.03)
