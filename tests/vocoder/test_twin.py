"""A second vocoder on the same weights: the same sound, and no memory that the first one writes to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from streaming_vocoder.streaming import Samples, StreamState, Vocoder
from streaming_vocoder.voice import Voice
from tests.vocoder.conftest import make_vocoder

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4]

WRITTEN = ("_scratch", "positions", "pool", "_shapes", "_prompts", "fixed", "_residual")
"""Members that a step changes."""


def speak(vocoder: Vocoder, state: StreamState, tokens: list[int], *, last: bool) -> Samples:
    return vocoder.step([(state, tokens, last)])[0]


@pytest.mark.parametrize("options", [{}, {"trim": "prompt", "fixed_streams": 2}], ids=["ragged", "fixed"])
def test_twins_sound_the_same_in_turns(options: dict[str, Any], voice: Voice) -> None:
    first = make_vocoder(**options)
    second = first.twin()
    one, other = first.open(voice), second.open(voice)
    parts: list[tuple[Samples, Samples]] = []
    for start in range(0, len(TOKENS), 10):
        chunk, last = TOKENS[start : start + 10], start + 10 == len(TOKENS)
        parts.append((speak(first, one, chunk, last=last), speak(second, other, chunk, last=last)))
    for mine, its in parts:
        np.testing.assert_array_equal(mine, its)


def members(of: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What a vocoder consists of, by path."""
    for name, value in vars(of).items() if hasattr(of, "__dict__") else ():
        yield f"{path}.{name}", value
        if type(value).__module__.startswith("streaming_vocoder"):
            yield from members(value, f"{path}.{name}")


@pytest.mark.parametrize("options", [{}, {"trim": "prompt", "fixed_streams": 2}], ids=["ragged", "fixed"])
def test_twins_share_weights_and_nothing_they_write(options: dict[str, Any]) -> None:
    first = make_vocoder(**options)
    mine, its = dict(members(first)), dict(members(first.twin()))
    assert mine.keys() == its.keys()
    shared = {path for path in mine if mine[path] is its[path] and mine[path] is not None}
    assert not [path for path in shared if path.rsplit(".", 1)[1] in WRITTEN]
    tensors = {path for path, value in mine.items() if isinstance(value, torch.Tensor) and value.numel()}
    assert tensors and not [path for path in tensors - shared if path.rsplit(".", 1)[1] not in {"caches", "tails"}]


def test_a_twin_survives_writes_to_the_first(voice: Voice) -> None:
    first = make_vocoder()
    expected = speak(first, first.open(voice), TOKENS, last=True)
    second = first.twin()
    state = second.open(voice)
    with torch.inference_mode():
        spoil(first)
    np.testing.assert_array_equal(speak(second, state, TOKENS, last=True), expected)


def spoil(first: Vocoder) -> None:
    """Make the memory that it writes to unusable."""
    for tensor in (*first._flow.solver._scratch._buffers, first._flow.solver._scratch._residual):
        tensor.fill_(torch.nan)
    for stack in (first._flow.encoder.token_layers, first._flow.encoder.frame_layers):
        for table in stack.positions.table:
            table.fill_(torch.nan)
