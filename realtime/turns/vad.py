"""Frame -> probability of speech: Silero VAD through onnxruntime.

One `SileroVad` serves all callers: a model per caller starves the event loop with threads. The state of a stream is in
its `SileroStream`. The model file is read from the ``silero_vad`` package without importing that package, which would
load torch.

Measured: 0.1 to 0.2 ms a frame of 32 ms on one core, so it runs on the event loop.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from realtime.errors import ConfigError

VAD_SAMPLE_RATE = 16_000
FRAME_SAMPLES = 512
"""Samples of a frame, 32 ms: the only length the model takes at 16 kHz."""

_CONTEXT_SAMPLES = 64  # the model reads the end of the previous frame as well
_STATE_SHAPE = (2, 1, 128)


class VoiceDetector(Protocol):
    """Detects speech in one stream."""

    def probability(self, frame: NDArray[np.float32]) -> float:
        """Float32 [512] at 16 kHz -> probability of speech in [0, 1]. Frames come in order, none left out."""

    def reset(self) -> None:
        """Forget the stream so far."""


class VoiceModel(Protocol):
    """Opens a detector for each stream."""

    def open(self) -> VoiceDetector: ...


class SileroVad:
    """The shared model. Stateless: streams may call it from different threads."""

    def __init__(self, path: Path | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path or packaged_model()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(VAD_SAMPLE_RATE, np.int64)

    def open(self) -> SileroStream:
        """A detector for one stream."""
        return SileroStream(self)

    def step(self, samples: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Context and frame [1, 576], state [2, 1, 128] -> probability, next state."""
        output, state = self._session.run(None, {"input": samples, "state": state, "sr": self._rate})
        return float(output[0, 0]), state


class SileroStream:
    """One stream's state: 64 samples of context and the recurrent state."""

    def __init__(self, model: SileroVad) -> None:
        self._model = model
        self._window = np.zeros((1, _CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
        self._state = np.zeros(_STATE_SHAPE, np.float32)

    def probability(self, frame: NDArray[np.float32]) -> float:
        """See `VoiceDetector`."""
        self._window[0, :_CONTEXT_SAMPLES] = self._window[0, -_CONTEXT_SAMPLES:]
        self._window[0, _CONTEXT_SAMPLES:] = frame
        probability, self._state = self._model.step(self._window, self._state)
        return probability

    def reset(self) -> None:
        """See `VoiceDetector`."""
        self._window.fill(0)
        self._state = np.zeros(_STATE_SHAPE, np.float32)


def packaged_model() -> Path:
    """The ONNX file inside the installed ``silero_vad`` package. Raises `ConfigError` when there is none."""
    spec = importlib.util.find_spec("silero_vad")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    path = folder / "data" / "silero_vad.onnx" if folder else None
    if path is None or not path.is_file():
        raise ConfigError("no voice activity model: install the package silero-vad (it holds silero_vad.onnx)")
    return path
