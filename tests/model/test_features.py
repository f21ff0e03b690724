from __future__ import annotations

import pytest
import torch

from realtime.model.features import (
    SEGMENT_SAMPLES,
    feature_count,
    log_mel,
    mel_filterbank,
    mel_frame_count,
    split_segments,
)


@pytest.mark.parametrize("num_samples", [0, 1, 160, 161, 8005, 16000])
def test_mel_frame_count_equals_log_mel_length(num_samples: int) -> None:
    assert log_mel(torch.randn(num_samples) * 0.1).shape == (128, mel_frame_count(num_samples))


def test_silence_is_minus_one_and_a_half_everywhere() -> None:
    assert torch.equal(log_mel(torch.zeros(4000)), torch.full((128, 27), -1.5))


def test_the_floor_is_80_db_below_the_maximum() -> None:
    mel = log_mel(torch.cat((torch.randn(4000), torch.zeros(8000))))
    assert float(mel.max() - mel.min()) == pytest.approx(2.0)


def test_filters_have_unit_area_and_cover_every_band() -> None:
    filters = mel_filterbank(128)
    assert filters.shape == (128, 201)
    assert (filters.amax(1) > 0).all()
    wide = filters[100:]  # low filters are narrower than a bin: their sampled area is off
    assert torch.allclose(wide.sum(1) * 40, torch.ones(28), atol=0.02)


def test_a_recording_is_cut_into_25_second_segments() -> None:
    assert split_segments(0) == []
    assert split_segments(SEGMENT_SAMPLES) == [(0, SEGMENT_SAMPLES)]
    assert split_segments(SEGMENT_SAMPLES + 1) == [(0, SEGMENT_SAMPLES), (SEGMENT_SAMPLES, SEGMENT_SAMPLES + 1)]


def test_the_feature_rate_is_12_5_hz() -> None:
    assert [feature_count(n) for n in (0, 320, 321, 16000, SEGMENT_SAMPLES)] == [0, 0, 1, 13, 313]
