from __future__ import annotations

import pytest
import torch
from torch import Tensor

from realtime.model.encoder import encode_batch, encode_segment, encoder_rows, pad_mels
from realtime.model.features import feature_count_of_frames
from tests.model.samples import AUDIO, encoder_and_adapter


def mels(*frames: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(AUDIO.n_mels, count, generator=generator) for count in frames]


@pytest.mark.parametrize("frames", [(53, 92), (40, 41, 42, 43, 44, 45, 46, 47), (30, 30), (3, 90)])
def test_batched_segments_equal_single_ones(frames: tuple[int, ...]) -> None:
    encoder, adapter = encoder_and_adapter()
    segments = mels(*frames)
    batch = encode_batch(encoder, adapter, *pad_mels(segments))
    for i, mel in enumerate(segments):
        alone = encode_segment(encoder, adapter, mel)
        assert batch.feature_counts[i] == len(alone)
        torch.testing.assert_close(batch.features[i, : len(alone)], alone, atol=2e-5, rtol=0)
        rows = encoder(mel[None])[0]
        assert batch.row_counts[i] == len(rows)
        torch.testing.assert_close(batch.rows[i, : len(rows)], rows, atol=2e-5, rtol=0)


def test_padding_content_does_not_matter() -> None:
    """Except in mel space, where padding is zeros by definition."""
    encoder, adapter = encoder_and_adapter()
    mel, frames = pad_mels(mels(37, 80))
    longer = torch.nn.functional.pad(mel, (0, 24))
    short, long = (encode_batch(encoder, adapter, padded, frames) for padded in (mel, longer))
    count = short.feature_counts[0]
    torch.testing.assert_close(short.features[0, :count], long.features[0, :count], atol=2e-5, rtol=0)


def test_rows_behind_a_segment_are_zero() -> None:
    encoder, adapter = encoder_and_adapter()
    batch = encode_batch(encoder, adapter, *pad_mels(mels(30, 90)))
    assert not batch.rows[0, encoder_rows(30) :].any()


def test_the_last_position_is_not_attended_to() -> None:
    """Upstream's key mask: the last conv2 position is computed, and pooled, but is no key."""
    encoder, _ = encoder_and_adapter()
    (mel,) = mels(40)
    seen = encoder(mel[None], valid_frames=[40])
    assert not torch.allclose(encoder(mel[None]), seen, atol=1e-3)


def test_gradients_reach_every_weight_through_a_batch() -> None:
    encoder, adapter = encoder_and_adapter()
    batch = encode_batch(encoder, adapter, *pad_mels(mels(30, 53)))
    loss = sum(batch.features[i, :count].square().sum() for i, count in enumerate(batch.feature_counts))
    assert isinstance(loss, Tensor)
    loss.backward()
    for parameter in (*encoder.parameters(), *adapter.parameters()):
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("frames", range(3, 40))
def test_feature_count_never_exceeds_what_the_adapter_gives(frames: int) -> None:
    encoder, adapter = encoder_and_adapter()
    assert len(encode_segment(encoder, adapter, mels(frames)[0])) == feature_count_of_frames(frames)


def test_a_segment_beyond_the_position_table_is_refused() -> None:
    encoder, _ = encoder_and_adapter()
    with pytest.raises(ValueError, match="split the audio"):
        encoder(torch.zeros(1, AUDIO.n_mels, 3001))
