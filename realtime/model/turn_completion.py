"""Is the user's turn complete? A small network on the rows of the audio encoder and on prosody.

The head reads the last seconds of a turn at 25 Hz: the encoder's rows, which say what is spoken, and level, pitch and
periodicity (`prosody_rows`), of which an encoder trained on words keeps little. It gives one probability. Its weights
are a file of the checkpoint folder that not every checkpoint has (`HEAD_FILE`); they fit the encoder of that checkpoint
only. `scripts/nano/train/train_turn_completion.py` trains them.

Letters: B turns, P encoder rows, d encoder width, k prosody values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from realtime.errors import CheckpointError
from realtime.model.encoder import AudioEncoder
from realtime.model.features import SAMPLE_RATE, feature_count, log_mel

HEAD_FILE = "turn_completion.safetensors"

WINDOW_SAMPLES = 6 * SAMPLE_RATE
"""The end of a turn that is read: a pause of up to 4 s and what was said before it."""

PROSODY = 3
"""k: level, pitch, periodicity."""

_WIDTH = 64
_HIDDEN = 32
_DROPOUT = 0.3
_ROW_SAMPLES = SAMPLE_RATE // 25
_PITCH_WINDOW, _FFT = 1024, 2048
_FIRST_LAG, _LAST_LAG = SAMPLE_RATE // 420, SAMPLE_RATE // 70  # the pitch of voices, from a child's to a low male one's
_VOICED = 0.6  # periodicity from which there is a pitch
_OCTAVE_COST = 0.9  # a peak at half the period counts when it is nearly as high


def prosody_rows(samples: Tensor, count: int) -> Tensor:
    """Float [N] at 16 kHz -> [count, k] at 25 Hz: level in 20 dB below the loudest row, pitch in half octaves from the
    median (0 where there is none), and periodicity."""
    padded = F.pad(samples.float(), ((_PITCH_WINDOW - _ROW_SAMPLES) // 2, _PITCH_WINDOW + count * _ROW_SAMPLES))
    frames = padded.unfold(0, _PITCH_WINDOW, _ROW_SAMPLES)[:count]
    frames = frames - frames.mean(1, keepdim=True)
    level = 10 * (frames.square().mean(1) + 1e-8).log10()
    window = torch.hann_window(_PITCH_WINDOW, device=samples.device)
    lags, shape = _autocorrelation(frames * window), _autocorrelation(window[None])
    searched = (lags / lags[:, :1].clamp(min=1e-8) / (shape / shape[:, :1]))[:, _FIRST_LAG : _LAST_LAG + 1]
    highest = searched.amax(1)
    middle = searched[:, 1:-1]
    peaks = (middle >= searched[:, :-2]) & (middle >= searched[:, 2:]) & (middle >= _OCTAVE_COST * highest[:, None])
    octaves = -(peaks.int().argmax(1) + _FIRST_LAG + 1).float().log2()
    periodicity = torch.where(peaks.any(1), highest.clamp(0, 1), 0)
    voiced = (periodicity > _VOICED) & (level > level.max() - 30)
    median = octaves[voiced].median() if bool(voiced.any()) else octaves.new_zeros(())
    pitch = torch.where(voiced, 2 * (octaves - median), 0).clamp(-2, 2)
    return torch.stack([((level - level.max()) / 20).clamp(min=-4), pitch, periodicity], 1)


def _autocorrelation(frames: Tensor) -> Tensor:
    lags: Tensor = torch.fft.irfft(torch.fft.rfft(frames, _FFT).abs().square())
    return lags[:, : _LAST_LAG + 2]


class TurnCompletionHead(nn.Module):
    """Encoder rows and prosody [B, P, d + k] of turns -> logits [B] of the probability that the turn is complete."""

    def __init__(self, encoder_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(encoder_width + PROSODY, _WIDTH)
        self.gru = nn.GRU(_WIDTH, _WIDTH, batch_first=True)
        self.hidden = nn.Linear(_WIDTH, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, 1)

    def forward(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """``counts``: the rows of each turn that are its own; what follows is padding. Each is 1 or more."""
        states, _ = self.gru(F.gelu(self.project(rows)))
        last = states[torch.arange(len(counts)), torch.tensor(counts) - 1]
        last = F.dropout(last, _DROPOUT, self.training)
        logits: Tensor = self.out(F.gelu(self.hidden(last)))
        return logits[:, 0]

    @classmethod
    def load(cls, path: Path, encoder_width: int, device: torch.device | str = "cpu") -> Self:
        """Read a file for inference. Raises `CheckpointError` where it is no head for an encoder of this width."""
        head = cls(encoder_width)
        try:
            state = {name: tensor.float() for name, tensor in load_file(path).items()}
            head.load_state_dict(state)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} is no turn completion head for an encoder of width {encoder_width}: {error}; train one by "
                "scripts/nano/train/train_turn_completion.py, or remove the file"
            ) from error
        return head.to(device).eval().requires_grad_(False)


class TurnCompletionModel:
    """Encoder and head of one checkpoint. Use from the thread that uses the encoder.

    Implements `realtime.turns.smart_turn.EndOfTurnModel`.
    """

    def __init__(self, encoder: AudioEncoder, head: TurnCompletionHead, n_mels: int) -> None:
        self._encoder = encoder
        self._head = head
        self._n_mels = n_mels

    @torch.inference_mode()
    def probability(self, samples: NDArray[np.float32]) -> float:
        """Float32 [n] at 16 kHz, the turn until now -> probability that it is complete, in [0, 1]."""
        tail = samples[-WINDOW_SAMPLES:]
        if not feature_count(len(tail)):
            return 0.5
        device = self._head.out.weight.device
        waveform = torch.from_numpy(np.ascontiguousarray(tail, dtype=np.float32)).to(device)
        rows = self._encoder(log_mel(waveform, self._n_mels)[None])[0].float()
        inputs = torch.cat([rows, prosody_rows(waveform, len(rows))], 1)
        return float(torch.sigmoid(self._head(inputs[None], [len(inputs)]))[0])
