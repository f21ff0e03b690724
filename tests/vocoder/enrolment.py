"""What enrolling a voice needs: recordings, and two ONNX files in place of the real ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streaming_vocoder.voice import SPEAKER_FILE, TOKENIZER_FILE


def recording(seconds: float, rate: int = 22050, channels: int = 1, level: float = 0.3) -> bytes:
    """A wav of a gliding tone."""
    time = np.arange(int(seconds * rate)) / rate
    tone = level * np.sin(2 * np.pi * (200 + 40 * time) * time)
    return wav(np.repeat(tone[:, None], channels, axis=1), rate)


def wav(samples: NDArray[np.float64], rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def save_stand_ins(folder: Path) -> None:
    """Two ONNX files with the inputs and outputs of the real ones: a token for every four frames, 192
    numbers for all."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto

    def save(name: str, nodes: list[Any], inputs: list[Any], output: Any, constants: list[Any]) -> None:
        graph = helper.make_graph(nodes, name, inputs, [output], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, folder / name)

    node = helper.make_node
    save(
        TOKENIZER_FILE,
        [
            node("AveragePool", ["mel"], ["pooled"], kernel_shape=[4], strides=[4], ceil_mode=1),
            node("ReduceMean", ["pooled"], ["level"], axes=[1], keepdims=0),
            node("Mul", ["level", "ten"], ["large"]),
            node("Abs", ["large"], ["positive"]),
            node("Cast", ["positive"], ["codes"], to=kinds.INT32),
        ],
        [
            helper.make_tensor_value_info("mel", kinds.FLOAT, [1, 128, "T"]),
            helper.make_tensor_value_info("mel_length", kinds.INT32, [1]),
        ],
        helper.make_tensor_value_info("codes", kinds.INT32, [1, "N"]),
        [helper.make_tensor("ten", kinds.FLOAT, [1], [10.0])],
    )
    save(
        SPEAKER_FILE,
        [
            node("ReduceMax", ["fbank"], ["level"], axes=[1, 2], keepdims=0),
            node("Reshape", ["level", "shape"], ["column"]),
            node("Expand", ["column", "wide"], ["embedding"]),
        ],
        [helper.make_tensor_value_info("fbank", kinds.FLOAT, [1, "T", 80])],
        helper.make_tensor_value_info("embedding", kinds.FLOAT, [1, 192]),
        [
            helper.make_tensor("shape", kinds.INT64, [2], [1, 1]),
            helper.make_tensor("wide", kinds.INT64, [2], [1, 192]),
        ],
    )
