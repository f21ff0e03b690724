"""End-of-turn models: their features, their files, and the packaged one where it is installed."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from realtime.errors import ConfigError
from realtime.turns.smart_turn import SmartTurn, features, load_end_of_turn_model, packaged_model


@pytest.mark.parametrize("seconds", [0.3, 3.0, 8.0, 11.0])
def test_features_are_whispers(seconds: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import WhisperFeatureExtractor
    samples = np.random.default_rng(0).normal(0.01, 0.1, int(seconds * 16_000)).astype(np.float32)[-128_000:]
    padded = np.concatenate((np.zeros(128_000 - len(samples), np.float32), samples))
    theirs = WhisperFeatureExtractor(chunk_length=8)(padded, sampling_rate=16_000, do_normalize=True)
    assert np.abs(features(samples) - np.asarray(theirs["input_features"][0])).max() < 1e-4


def test_only_the_last_eight_seconds_count() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 200_000).astype(np.float32)
    assert np.array_equal(features(samples), features(samples[-128_000:]))


def test_silence_has_finite_features() -> None:
    assert np.isfinite(features(np.zeros(0, np.float32))).all()


def model_file(path: Path, mels: int = 80) -> Path:
    """A model of the format that says how loud the last frame's first band is, as a probability."""
    nodes = [
        helper.make_node("ReduceMax", ["input_features"], ["loudest"], keepdims=0),
        helper.make_node("Sigmoid", ["loudest"], ["p"]),
        helper.make_node("Reshape", ["p", "shape"], ["logits"]),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 1])
    graph = helper.make_graph(
        nodes,
        "turn",
        [helper.make_tensor_value_info("input_features", TensorProto.FLOAT, ["batch", mels, 800])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_model_file_gives_a_probability(tmp_path: Path) -> None:
    model = load_end_of_turn_model(str(model_file(tmp_path / "turn.onnx")))
    assert model is not None
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    expected = 1 / (1 + np.exp(-features(samples).max()))
    assert model.probability(samples) == pytest.approx(expected, abs=1e-5)


def test_files_of_other_models_are_refused_with_reasons(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected"):
        SmartTurn(model_file(tmp_path / "other.onnx", mels=40))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigError, match="smart-turn v3"):
        SmartTurn(tmp_path / "broken.onnx")
    with pytest.raises(ConfigError, match="is no file"):
        load_end_of_turn_model(str(tmp_path / "missing.onnx"))


def test_the_newest_packaged_model_is_found_without_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pipecat" / "audio" / "turn" / "smart_turn" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "pipecat" / "__init__.py").write_text("raise RuntimeError('imported')")
    for name in ("smart-turn-v3.1-cpu.onnx", "smart-turn-v3.2-cpu.onnx"):
        model_file(folder / name)
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_model() == folder / "smart-turn-v3.2-cpu.onnx"
    assert load_end_of_turn_model("auto") is not None


def test_without_the_package_prosody_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert load_end_of_turn_model("auto") is None
    assert load_end_of_turn_model("none") is None


@pytest.mark.skipif(packaged_model() is None, reason="needs the extra smart-turn (pipecat-ai)")
def test_the_packaged_model_takes_our_features() -> None:
    model = load_end_of_turn_model("auto")
    assert model is not None
    assert 0 <= model.probability(np.zeros(16_000, np.float32)) <= 1
