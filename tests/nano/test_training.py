"""Nano's training from nothing to a checkpoint, with next to no data (`make test-training`)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from realtime.model.speech_model import SpeechModel
from streaming_vocoder import Vocoder, Voice

NANO = Path(__file__).parents[2] / "scripts" / "nano"
PROGRAMS = ("espeak-ng", "flite", "festival")
MODULES = ("transformers", "tokenizers", "scipy", "pyworld", "pocketsphinx", "ttspico")
MINUTES = 30


@pytest.mark.training
def test_all_stages_run_and_their_checkpoint_loads(tmp_path: Path) -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    missing += [name for name in MODULES if importlib.util.find_spec(name) is None]
    try:
        importlib.metadata.distribution("pipecat-ai")
    except importlib.metadata.PackageNotFoundError:
        missing.append("pipecat-ai")
    if missing:
        pytest.skip(f"training needs {', '.join(missing)}: see scripts/nano/README.md")
    amounts = tomllib.loads((NANO / "train" / "train.toml").read_text("utf-8"))["smoke"]
    amounts |= {"work": str(tmp_path / "work"), "checkpoint": str(tmp_path / "checkpoint")}
    config = tmp_path / "train.toml"
    config.write_text("[smoke]\n" + "".join(f"{name} = {value!r}\n" for name, value in amounts.items()), "utf-8")
    command = [sys.executable, str(NANO / "train" / "train.py"), "--smoke", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MINUTES * 60)
    assert done.returncode == 0, done.stderr[-3000:]
    SpeechModel.load(tmp_path / "checkpoint")
    Vocoder.load(tmp_path / "checkpoint" / "token2wav")
    Voice.load(tmp_path / "checkpoint" / "voices" / "default.safetensors")


@pytest.mark.training
def test_voices_that_are_not_installed_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy", reason="training needs scipy: see scripts/nano/README.md")
    from scripts.nano.data import input_speech

    drawn: list[str] = []

    def synthesize(_text: str, voice: str, _rng: np.random.Generator) -> input_speech.Samples:
        drawn.append(voice)
        return np.ones(1600, np.float32)

    monkeypatch.setattr(input_speech, "NATURAL", {"rhvoice:bdl": 0.5, "flite:slt": 0.3})
    monkeypatch.setattr(input_speech, "VOICES_TRAIN", ("rhvoice:bdl", "flite:slt", "espeak:en+f1"))
    monkeypatch.setattr(input_speech, "synthesize", synthesize)
    monkeypatch.setattr(input_speech, "common_words", lambda: ("red", "water"))
    monkeypatch.setattr(input_speech.rhvoice, "missing", lambda: ["the Debian package htsengine"])
    input_speech._installed.cache_clear()
    try:
        rng = np.random.default_rng(0)
        drawn += [input_speech.sample_voice(rng) for _ in range(50)]
        for _ in range(40):
            input_speech.non_speech(rng, 0.1)
    finally:
        input_speech._installed.cache_clear()
    assert len(drawn) > 50 and set(drawn) == {"flite:slt", "espeak:en+f1"}
