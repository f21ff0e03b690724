"""What can be chosen about a vocoder, and which choices are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from streaming_vocoder.chunk_schedule import ChunkSchedule
from streaming_vocoder.errors import OptionError, VocoderError
from streaming_vocoder.options import VocoderOptions
from tests.vocoder.conftest import make_vocoder


@pytest.mark.parametrize(
    ("options", "option", "problem"),
    [
        ({"steps": 0}, "steps", "got 0, expected 1 to"),
        ({"steps": 1000}, "steps", "got 1000"),
        ({"trim": "everything"}, "trim", "got everything, expected one of upstream, prompt"),
        ({"fade": "linear"}, "fade", "expected one of upstream, amplitude"),
        ({"dtype": torch.int8}, "dtype", "expected one of torch.float32, torch.bfloat16"),
        ({"encoder_window_frames": 0}, "encoder_window_frames", "expected at least 16"),
        ({"fixed_streams": -1, "trim": "prompt"}, "fixed_streams", "got -1"),
        ({"fixed_streams": 8}, "fixed_streams", "got 8 with trim=upstream: fixed shapes need trim=prompt"),
        (
            {"fixed_streams": 8, "trim": "prompt", "ladder": ChunkSchedule((10, 50))},
            "fixed_streams",
            "ladder 10 → 50: a chunk of fixed shape has at most 25 tokens",
        ),
    ],
)
def test_invalid_options_report_value_and_expectation(options: dict[str, Any], option: str, problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        VocoderOptions(**options)
    assert caught.value.option == option and problem in str(caught.value)
    assert isinstance(caught.value, VocoderError)


@pytest.mark.parametrize("rungs", [(), (3, 10), (10, 5), (5, 5), (5, 201)])
def test_ladder_rungs_ascend_within_chunk_limits(rungs: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="chunks of 4 to 200 tokens, each larger than the one before"):
        ChunkSchedule(rungs)


def test_fixed_shapes_are_those_of_the_ladder() -> None:
    options = {"trim": "prompt", "fixed_streams": 1, "ladder": ChunkSchedule((6, 12))}
    fixed = make_vocoder(**options)._flow.fixed
    assert fixed is not None and fixed._frames == {12, 24}


def test_options_can_be_read() -> None:
    assert str(VocoderOptions(steps=6, dtype=torch.bfloat16)) == (
        "6 steps in bfloat16, trim upstream, fade upstream, chunks 5 → 10 → 25, no fixed shapes"
    )
