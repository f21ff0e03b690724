"""The port of end-of-turn models, and smart-turn v3 models (ONNX) through onnxruntime.

The format of smart-turn v3: `input_features` float32 [1, 80, 800] -> `logits` [1, 1], the probability in [0, 1] that
the turn is complete (a sigmoid is inside). The features are Whisper's log-mel of the last 8 s at 16 kHz, with zeros
before a shorter turn, of samples scaled to mean 0 and variance 1. The model expects some 200 ms of silence after the
words.

The open model smart-turn-v3.2-cpu (BSD-2-Clause, 8.7 MB, int8) ships inside the ``pipecat-ai`` wheel. It is read from
there without importing that package.
"""

from __future__ import annotations

import importlib.util
import math
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from realtime.errors import ConfigError

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 8 * SAMPLE_RATE

_FFT, _HOP, _MELS = 400, 160, 80
_FRAMES = WINDOW_SAMPLES // _HOP
_INPUT = "input_features"
_PACKAGE, _FOLDER = "pipecat", Path("audio/turn/smart_turn/data")


class EndOfTurnModel(Protocol):
    """Tells whether a turn is complete. Shared by all sessions; called off the event loop, from any thread."""

    def probability(self, samples: NDArray[np.float32]) -> float:
        """Float32 [n] at 16 kHz, the turn until now -> probability that it is complete, in [0, 1]."""


class SmartTurn:
    """A model file in the smart-turn v3 format. Raises `ConfigError` for any other."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has an exception class for each kind of broken file
            raise ConfigError(f"end-of-turn model {path}: {error}; give a smart-turn v3 ONNX file") from error
        shapes = {put.name: list(put.shape[1:]) for put in self._session.get_inputs()}
        if shapes != {_INPUT: [_MELS, _FRAMES]}:
            raise ConfigError(
                f"end-of-turn model {path} takes {shapes}, expected {{'{_INPUT}': [{_MELS}, {_FRAMES}]}}; "
                "give a smart-turn v3 ONNX file"
            )

    def probability(self, samples: NDArray[np.float32]) -> float:
        """See `EndOfTurnModel`."""
        (output, *_) = self._session.run(None, {_INPUT: features(samples)[None]})
        return float(np.asarray(output).reshape(-1)[0])


def features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Float32 [n] at 16 kHz -> float32 [80, 800]: `WhisperFeatureExtractor(chunk_length=8)` with ``do_normalize``."""
    window = np.zeros(WINDOW_SAMPLES)
    tail = samples[-WINDOW_SAMPLES:]
    window[WINDOW_SAMPLES - len(tail) :] = tail
    window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
    frames = sliding_window_view(np.pad(window, _FFT // 2, mode="reflect"), _FFT)[::_HOP][:_FRAMES]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT + 1)[:-1])) ** 2
    mel = np.log10(np.maximum(power @ _mel_filters(), 1e-10)).T
    mel = np.maximum(mel, mel.max() - 8.0)
    scaled: NDArray[np.float32] = ((mel + 4.0) / 4.0).astype(np.float32)
    return scaled


@lru_cache(maxsize=1)
def _mel_filters() -> NDArray[np.float64]:
    """Triangles [201, 80] of equal area from 0 to 8 kHz on Slaney's mel scale."""
    edges = _hertz(np.linspace(_mel(0.0), _mel(SAMPLE_RATE / 2), _MELS + 2))
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return triangles


_LINEAR_HZ, _LINEAR_MELS, _STEP = 1000.0, 15.0, math.log(6.4) / 27  # linear below 1 kHz, then 27 mels a factor of 6.4


def _mel(hertz: float) -> float:
    if hertz < _LINEAR_HZ:
        return hertz * _LINEAR_MELS / _LINEAR_HZ
    return _LINEAR_MELS + math.log(hertz / _LINEAR_HZ) / _STEP


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(
        mel < _LINEAR_MELS, mel * _LINEAR_HZ / _LINEAR_MELS, _LINEAR_HZ * np.exp((mel - _LINEAR_MELS) * _STEP)
    )


def packaged_model() -> Path | None:
    """The newest model inside the installed ``pipecat-ai`` package; None without the package."""
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = [path for folder in folders for path in (Path(folder) / _FOLDER).glob("smart-turn-v3*.onnx")]
    return max(found, default=None)


def load_end_of_turn_model(choice: str) -> SmartTurn | None:
    """``auto`` and ``smart-turn``: the packaged model, None where it is not installed; ``none``; or a path.

    Raises `ConfigError`.
    """
    if choice == "none":
        return None
    if choice in ("auto", "smart-turn"):
        path = packaged_model()
        return SmartTurn(path) if path is not None else None
    if not Path(choice).is_file():
        raise ConfigError(
            f"end-of-turn model {choice!r} is no file; give the path of a smart-turn v3 ONNX file, `auto`, "
            "`smart-turn` (with the package pipecat-ai installed) or `none`"
        )
    return SmartTurn(Path(choice))
