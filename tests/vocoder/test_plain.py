"""The fast path against the plainest: no state, no tables, every chunk computed from the prompt on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streaming_vocoder.plain import PlainVocoder, chunk_mask, trimmed_mask
from tests.vocoder.conftest import STEPS, codes, make_flow, make_hift, make_vocoder, make_voice

TOLERANCE = 2e-4
"""Products of other shapes round differently; the source's phase makes 1e-4 of that."""


@pytest.mark.parametrize("trim", ["upstream", "prompt"])
@pytest.mark.parametrize("sizes", [[8, 5, 10, 25, 25, 25, 7], [28, 25, 25, 25, 3], [9]], ids=["ladder", "even", "one"])
def test_the_fast_path_sounds_like_the_plain_one(trim: str, sizes: list[int]) -> None:
    """Long enough that both rules drop frames."""
    plain = PlainVocoder(make_flow(), make_hift(), steps=STEPS, trim=trim)  # type: ignore[arg-type]
    fast = make_vocoder(trim=trim)
    voice = make_voice()
    slow_stream, fast_stream = plain.open(voice, seed=3), fast.open(voice, seed=3)
    tokens = codes(sum(sizes))
    for index, size in enumerate(sizes):
        part, tokens, last = tokens[:size], tokens[size:], index == len(sizes) - 1
        expected = plain.step(slow_stream, part, last)
        (samples,) = fast.step([(fast_stream, part, last)])
        assert np.abs(expected).max() > 1e-2
        np.testing.assert_allclose(samples, expected, atol=TOLERANCE)


def test_a_chunk_sees_itself_and_the_past() -> None:
    assert chunk_mask([range(0, 2), range(2, 3)]).tolist() == [[True, True, False], [True, True, False], [True] * 3]


def test_the_rules_differ_in_what_they_keep() -> None:
    spans = [range(0, 4), range(4, 104), range(104, 110), range(110, 112)]
    kept = {rule: trimmed_mask(spans, rule)[0][111, :110].nonzero().flatten() for rule in ("upstream", "prompt")}
    assert kept["prompt"].tolist() == [0, 1, 2, 3, *range(10, 110)]
    assert len(kept["upstream"]) == 104 and set(range(104, 108)) <= set(kept["upstream"].tolist())
    assert not torch.equal(kept["upstream"], kept["prompt"])
