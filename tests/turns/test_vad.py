"""Silero through onnxruntime, on the real model file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from realtime.errors import ConfigError
from realtime.turns import vad
from realtime.turns.vad import FRAME_SAMPLES, SileroVad

NOISE = np.random.default_rng(0).normal(0, 0.05, (40, FRAME_SAMPLES)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> SileroVad:
    return SileroVad()


def test_noise_is_no_speech(model: SileroVad) -> None:
    stream = model.open()
    assert max(stream.probability(frame) for frame in NOISE) < 0.3


def test_streams_of_one_model_do_not_mix(model: SileroVad) -> None:
    alone = model.open()
    expected = [alone.probability(frame) for frame in NOISE]
    first, second = model.open(), model.open()
    mixed = [(first.probability(frame), second.probability(-frame * 3))[0] for frame in NOISE]
    assert mixed == expected


def test_a_reset_stream_is_as_new(model: SileroVad) -> None:
    stream = model.open()
    fresh = [stream.probability(frame) for frame in NOISE[:5]]
    stream.reset()
    assert [stream.probability(frame) for frame in NOISE[:5]] == fresh


def test_the_model_loads_without_torch() -> None:
    code = "import sys; from realtime.turns.vad import SileroVad; SileroVad(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="silero-vad"):
        vad.packaged_model()


def test_the_packaged_model_is_a_file() -> None:
    assert isinstance(vad.packaged_model(), Path)
