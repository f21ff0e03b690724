from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streaming_vocoder.errors import CheckpointError, VoiceError
from streaming_vocoder.voice import TOKENIZER_FILE, Voice, fit_mel
from tests.vocoder.conftest import make_voice
from tests.vocoder.enrolment import recording, save_stand_ins, wav


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("token2wav")
    save_stand_ins(folder)
    return folder


def test_a_voice_survives_saving(tmp_path: Path) -> None:
    voice = make_voice(4)
    voice.save(tmp_path / "x.safetensors")
    loaded = Voice.load(tmp_path / "x.safetensors")
    assert loaded.name == voice.name
    for part in ("tokens", "mel", "speaker"):
        assert torch.equal(getattr(loaded, part), getattr(voice, part))


def test_files_that_are_no_voice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    save_file({"tokens": torch.zeros(3)}, tmp_path / "other")
    for name in ("missing", "text", "other"):
        with pytest.raises(VoiceError, match=name):
            Voice.load(tmp_path / name)


@pytest.mark.parametrize(
    ("tokens", "mel", "speaker"),
    [
        (torch.zeros(2).long(), torch.zeros(4, 80), torch.zeros(192)),
        (torch.zeros(5).long(), torch.zeros(9, 80), torch.zeros(192)),
        (torch.zeros(5).long(), torch.full((10, 80), torch.nan), torch.zeros(192)),
        (torch.zeros(5).long(), torch.zeros(10, 80), torch.full((192,), torch.inf)),
    ],
)
def test_parts_that_do_not_fit_are_refused(tokens: torch.Tensor, mel: torch.Tensor, speaker: torch.Tensor) -> None:
    with pytest.raises(VoiceError, match="voice x"):
        Voice("x", tokens, mel, speaker)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_enrolling_gives_two_mel_frames_a_token(models: Path, rate: int) -> None:
    voice = Voice.enroll(recording(2.03, rate), models, "tone")
    assert voice.name == "tone"
    assert len(voice.tokens) in (50, 51)
    assert voice.mel.shape == (2 * len(voice.tokens), 80)
    assert voice.speaker.shape == (192,)


def test_a_file_is_enrolled_under_its_own_name(models: Path, tmp_path: Path) -> None:
    (tmp_path / "anna.wav").write_bytes(recording(1.5))
    assert Voice.enroll(tmp_path / "anna.wav", models).name == "anna"


def test_more_than_17_seconds_are_fine(models: Path) -> None:
    assert len(Voice.enroll(recording(25.0, 16000), models).tokens) == 625


def test_tokens_use_the_first_channel_mel_all(models: Path) -> None:
    rate = 16000
    left, right = (np.random.default_rng(seed).normal(0, 0.1, 2 * rate) for seed in (0, 1))
    stereo = Voice.enroll(wav(np.stack((left, right), axis=1), rate), models)
    mono = Voice.enroll(wav(left[:, None], rate), models)
    assert torch.equal(stereo.tokens, mono.tokens)
    assert torch.equal(stereo.speaker, mono.speaker)
    assert not torch.equal(stereo.mel, mono.mel)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"this is no sound", "not a readable audio file"),
        (b"", "not a readable audio file"),
        (recording(0.5), "0.5 s"),
        (recording(31.0, 16000), "31.0 s"),
        (recording(2.0, level=0.0), "silent"),
        (wav(np.clip(np.random.default_rng(0).normal(0, 2, 32000), -1, 1)[:, None], 16000), "clipped"),
        (wav(np.full((32000, 1), np.nan), 16000), "invalid samples"),
    ],
    ids=["text", "empty", "short", "long", "silent", "clipped", "nan"],
)
def test_recordings_that_will_not_do_are_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(VoiceError, match=problem):
        Voice.enroll(content, tmp_path)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match=r"nowhere\.wav"):
        Voice.enroll(tmp_path / "nowhere.wav", tmp_path)


def test_missing_model_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=TOKENIZER_FILE):
        Voice.enroll(recording(2.0), tmp_path)


def test_a_broken_model_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / TOKENIZER_FILE).write_bytes(b"no model")
    with pytest.raises(CheckpointError, match=TOKENIZER_FILE):
        Voice.enroll(recording(2.0), tmp_path)


def test_missing_onnxruntime_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return real_import(name, *rest)

    (tmp_path / TOKENIZER_FILE).write_bytes(b"")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CheckpointError, match="pip install onnxruntime"):
        Voice.enroll(recording(2.0), tmp_path)


def test_a_mel_is_cropped_or_padded() -> None:
    mel = torch.arange(3.0)[:, None]
    assert fit_mel(mel, 1)[:, 0].tolist() == [0, 1]
    assert fit_mel(mel, 2)[:, 0].tolist() == [0, 1, 2, 2]
