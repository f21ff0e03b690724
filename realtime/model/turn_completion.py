"""Is the user's turn complete? A small network on the rows of the audio encoder.

The head reads the encoder's rows (25 Hz) of the last seconds of a turn, words and intonation alike, and gives one
probability. Its weights are a file of the checkpoint folder that not every checkpoint has (`HEAD_FILE`); they fit the
encoder of that checkpoint only. `scripts/nano/train/train_turn_completion.py` trains them.

Letters: B turns, P encoder rows, d encoder width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
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

_WIDTH = 64
_HIDDEN = 32


class TurnCompletionHead(nn.Module):
    """Rows [B, P, d] of turns -> logits [B] of the probability that the turn is complete."""

    def __init__(self, encoder_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(encoder_width, _WIDTH)
        self.gru = nn.GRU(_WIDTH, _WIDTH, batch_first=True)
        self.hidden = nn.Linear(_WIDTH, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, 1)

    def forward(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """``counts``: the rows of each turn that are its own; what follows is padding. Each is 1 or more."""
        states, _ = self.gru(nn.functional.gelu(self.project(rows)))
        last = states[torch.arange(len(counts)), torch.tensor(counts) - 1]
        logits: Tensor = self.out(nn.functional.gelu(self.hidden(last)))
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
        mel = log_mel(torch.from_numpy(np.ascontiguousarray(tail, dtype=np.float32)).to(device), self._n_mels)
        rows = self._encoder(mel[None]).float()
        return float(torch.sigmoid(self._head(rows, [rows.shape[1]]))[0])
