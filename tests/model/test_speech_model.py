from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from realtime.errors import CheckpointError
from realtime.model.prompt import render
from realtime.model.speech_model import SpeechModel
from realtime.ports.messages import Audio, Message, Text
from tests.model.samples import write_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder)
    return SpeechModel.load(folder)


def speech(seconds: float, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)


def test_long_recordings_are_encoded_by_segments(model: SpeechModel) -> None:
    samples = speech(26)
    features = model.encode_audio(samples)
    parts = [model.encode_audio(part) for part in (samples[:400_000], samples[400_000:])]
    assert features.shape == (326, 32)
    assert torch.equal(features, torch.cat(parts))


@pytest.mark.parametrize("count", [0, 1, 320])
def test_audio_too_short_for_a_feature_has_none(count: int, model: SpeechModel) -> None:
    assert model.encode_audio(np.zeros(count, np.float32)).shape == (0, 32)


def test_features_stand_at_the_patches_and_nowhere_else(model: SpeechModel) -> None:
    parts = (Text("hello"), Audio("a", speech(1)), Audio("b", speech(0.5, 1)))
    prompt = render([Message("human", parts)], model.tokenizer, model.tokens, speech=True)
    features = {part.id: model.encode_audio(part.samples) for part in parts if isinstance(part, Audio)}
    embeds = model.embed(prompt, features)
    ids = torch.tensor(prompt.ids)
    patches = ids == model.tokens.audio_patch
    assert torch.equal(embeds[patches], torch.cat((features["a"], features["b"])))
    assert torch.equal(embeds[~patches], model.decoder.embed(ids[~patches]))


@pytest.mark.parametrize("size", [1, 5, 16])
def test_a_prompt_embedded_in_pieces_equals_the_whole(size: int, model: SpeechModel) -> None:
    prompt = render([Message("human", (Audio("a", speech(2)),))], model.tokenizer, model.tokens, speech=True)
    features = {"a": model.encode_audio(speech(2))}
    pieces = [model.embed(prompt, features, i, i + size) for i in range(0, len(prompt.ids), size)]
    assert torch.equal(torch.cat(pieces), model.embed(prompt, features))


def test_features_outside_the_range_are_not_needed(model: SpeechModel) -> None:
    prompt = render([Message("human", (Audio("a", speech(1)),))], model.tokenizer, model.tokens, speech=True)
    assert len(model.embed(prompt, {}, 0, prompt.spans[0].offset)) == prompt.spans[0].offset


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    config = write_checkpoint(tmp_path).to_dict()
    config["text_config"]["vocab_size"] = 50
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="the model's vocabulary"):
        SpeechModel.load(tmp_path)
