"""The turn completion head: padding, window, files that fit and files that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from realtime.config import EMBEDDED_CHECKPOINT
from realtime.errors import CheckpointError
from realtime.model.speech_model import SpeechModel
from realtime.model.turn_completion import HEAD_FILE, PROSODY, WINDOW_SAMPLES, TurnCompletionHead, TurnCompletionModel


@pytest.fixture(scope="module")
def model() -> TurnCompletionModel:
    speech = SpeechModel.load(EMBEDDED_CHECKPOINT)
    head = TurnCompletionHead.load(EMBEDDED_CHECKPOINT / HEAD_FILE, speech.config.audio.n_audio_state)
    return TurnCompletionModel(speech.encoder, head, speech.config.audio.n_mels)


def saved(path: Path, width: int) -> Path:
    save_file(TurnCompletionHead(width).state_dict(), path)
    return path


def test_padding_changes_no_logit() -> None:
    torch.manual_seed(0)
    head, rows = TurnCompletionHead(12).eval(), torch.randn(3, 40, 12 + PROSODY)
    counts = [40, 7, 1]
    alone = [head(rows[i : i + 1, :count], [count])[0] for i, count in enumerate(counts)]
    assert torch.allclose(head(rows, counts), torch.stack(alone), atol=1e-6)


def test_only_the_window_counts(model: TurnCompletionModel) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, WINDOW_SAMPLES + 32_000).astype(np.float32)
    assert model.probability(samples) == model.probability(samples[-WINDOW_SAMPLES:])


@pytest.mark.parametrize("count", [0, 1, 320, 321, 1600])
def test_the_shortest_turns_have_a_probability(model: TurnCompletionModel, count: int) -> None:
    assert 0.0 <= model.probability(np.zeros(count, np.float32)) <= 1.0


def test_a_saved_head_is_the_same_head(tmp_path: Path) -> None:
    path = saved(tmp_path / HEAD_FILE, 12)
    rows = torch.randn(1, 9, 12 + PROSODY)
    assert torch.equal(TurnCompletionHead.load(path, 12)(rows, [9]), TurnCompletionHead.load(path, 12)(rows, [9]))


def test_a_head_for_another_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="encoder of width 16"):
        TurnCompletionHead.load(saved(tmp_path / HEAD_FILE, 12), 16)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / HEAD_FILE).write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="no turn completion head"):
        TurnCompletionHead.load(tmp_path / HEAD_FILE, 12)
