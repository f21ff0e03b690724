"""A voice: what the vocoder needs of a speaker, extracted once from a recording.

Enrolling a recording needs the checkpoint's two ONNX files and onnxruntime; loading a saved voice needs neither.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from streaming_vocoder.config import FRAMES_PER_TOKEN, SAMPLE_RATE
from streaming_vocoder.errors import CheckpointError, VoiceError
from streaming_vocoder.fbank import centred_fbank
from streaming_vocoder.mel import TOKENIZER_RATE, prompt_mel, tokenizer_mel
from streaming_vocoder.resample import resample

__all__ = ["Voice", "VoiceError"]

FORMAT = "streaming_vocoder.voice.1"
TOKENIZER_FILE = "speech_tokenizer_v2_25hz.onnx"
SPEAKER_FILE = "campplus.onnx"

MIN_SECONDS = 1.0
MAX_SECONDS = 30.0
"""The longest recording that the speech tokenizer was trained on."""
SILENCE_PEAK = 1e-3
CLIPPED_LEVEL, CLIPPED_SHARE = 0.999, 0.01
MIN_TOKENS = 3
"""The first tokens of a prompt are its look-ahead, so it needs at least these."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Voice:
    """``tokens`` int64 [n], ``mel``: ln mel float32 [2 n, 80] at 50 Hz, ``speaker``: raw embedding float32
    [192]."""

    name: str
    tokens: Tensor
    mel: Tensor
    speaker: Tensor

    def __post_init__(self) -> None:
        """Raises `VoiceError` if the parts do not match."""
        count = len(self.tokens)
        if self.tokens.dim() != 1 or count < MIN_TOKENS:
            raise VoiceError(f"voice {self.name}: expected at least {MIN_TOKENS} prompt tokens, got {count}")
        if self.mel.dim() != 2 or len(self.mel) != FRAMES_PER_TOKEN * count:
            raise VoiceError(
                f"voice {self.name}: expected {FRAMES_PER_TOKEN * count} mel frames for {count} tokens, "
                f"got {tuple(self.mel.shape)}"
            )
        if self.speaker.dim() != 1 or not self.speaker.isfinite().all() or not self.mel.isfinite().all():
            raise VoiceError(f"voice {self.name}: the speaker embedding or the mel is invalid")

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        tensors = {"tokens": self.tokens.int(), "mel": self.mel, "speaker": self.speaker}
        contiguous = {name: value.cpu().contiguous() for name, value in tensors.items()}
        save_file(contiguous, path, metadata={"format": FORMAT, "name": self.name})

    @classmethod
    def load(cls, path: Path) -> Voice:
        """Read a file of `save`. Raises `VoiceError` with the file and its fault."""
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, SafetensorError) as error:
            raise VoiceError(f"{path}: not a readable voice file: {error}") from error
        missing = [name for name in ("tokens", "mel", "speaker") if name not in tensors]
        if missing or metadata.get("format") != FORMAT:
            raise VoiceError(f"{path}: not a voice file (format {FORMAT}; missing: {', '.join(missing) or 'none'})")
        return cls(
            metadata.get("name", path.stem),
            tensors["tokens"].long(),
            tensors["mel"].float(),
            tensors["speaker"].float(),
        )

    @classmethod
    def enroll(cls, recording: Path | bytes, folder: Path, name: str | None = None) -> Voice:
        """Make a voice from a recording of one speaker of 1 to 30 s, in any format and rate that libsndfile reads.

        ``folder``: the checkpoint's ``token2wav/``. Raises `VoiceError` for an unusable recording, `CheckpointError` if
        a model file or onnxruntime is missing. As in the reference, tokens and speaker are from the first channel, the
        mel from the mean of all channels.
        """
        samples, rate = read_recording(recording)
        label = name or (recording.stem if isinstance(recording, Path) else "voice")
        check_recording(samples, rate)
        models = [_onnx_session(folder / file) for file in (TOKENIZER_FILE, SPEAKER_FILE)]
        tokenizer, speaker = models
        first = resample(samples[0], rate, TOKENIZER_RATE)
        tokens = _speech_tokens(tokenizer, first)
        mel = prompt_mel(resample(samples.mean(dim=0), rate, SAMPLE_RATE))
        return cls(label, tokens, fit_mel(mel, len(tokens)), _speaker_embedding(speaker, first))


def fit_mel(mel: Tensor, tokens: int) -> Tensor:
    """Make a prompt mel [F, 80] ``2 * tokens`` frames long: repeat the last frame, or crop."""
    missing = FRAMES_PER_TOKEN * tokens - len(mel)
    return torch.cat((mel, mel[-1:].expand(missing, -1))) if missing > 0 else mel[: FRAMES_PER_TOKEN * tokens]


def read_recording(recording: Path | bytes) -> tuple[Tensor, int]:
    """-> float32 [channels, n] in [-1, 1] and the sample rate in Hz. Raises `VoiceError` if it is not audio."""
    try:
        import soundfile  # only needed for enrolling
    except (ImportError, OSError) as error:
        raise VoiceError("reading a recording needs the package soundfile: pip install soundfile") from error
    label = recording if isinstance(recording, Path) else "the recording"
    try:
        samples, rate = soundfile.read(
            io.BytesIO(recording) if isinstance(recording, bytes) else recording,
            dtype="float32",
            always_2d=True,
        )
    except (OSError, RuntimeError) as error:
        raise VoiceError(f"{label}: not a readable audio file: {error}") from error
    return torch.from_numpy(np.ascontiguousarray(samples.T)), int(rate)


def check_recording(samples: Tensor, rate: int) -> None:
    """Raises `VoiceError` if samples [channels, n] are too short, too long, silent, clipped or invalid."""
    seconds = samples.shape[1] / rate
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise VoiceError(
            f"the recording has {seconds:.1f} s; use {MIN_SECONDS:.0f} to {MAX_SECONDS:.0f} s of one speaker "
            "(about 10 is best)"
        )
    if not samples.isfinite().all():
        raise VoiceError("the recording has invalid samples (NaN or infinity)")
    loudness = samples.abs()
    if min(float(loudness[0].max()), float(samples.mean(dim=0).abs().max())) < SILENCE_PEAK:
        raise VoiceError("the recording is silent (or its channels cancel out)")
    if float((loudness > CLIPPED_LEVEL).float().mean()) > CLIPPED_SHARE:
        raise VoiceError("the recording is clipped: record it at a lower level")


def _speech_tokens(session: Any, samples: Tensor) -> Tensor:
    mel = tokenizer_mel(samples)[None]
    names = [item.name for item in session.get_inputs()]
    (tokens, *_) = session.run(None, {names[0]: mel.numpy(), names[1]: np.array([mel.shape[2]], dtype=np.int32)})
    return torch.from_numpy(np.asarray(tokens)).flatten().long()


def _speaker_embedding(session: Any, samples: Tensor) -> Tensor:
    features: NDArray[np.float32] = centred_fbank(samples)[None].numpy()
    (embedding, *_) = session.run(None, {session.get_inputs()[0].name: features})
    return torch.from_numpy(np.asarray(embedding)).flatten().float()


def _onnx_session(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: enrolling a recording needs {TOKENIZER_FILE} and {SPEAKER_FILE}")
    try:
        import onnxruntime  # an extra that saved voices do not need
    except ImportError as error:
        raise CheckpointError(
            "enrolling a recording needs onnxruntime: pip install onnxruntime (or onnxruntime-gpu)"
        ) from error
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own exceptions for unreadable models
        raise CheckpointError(f"{path}: onnxruntime cannot load it: {error}") from error
