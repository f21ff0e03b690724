"""Recordings that the engine keeps, and the parts of messages that refer to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from realtime.ports.messages import Audio, AudioRef


class Recording:
    """Speech that grows at its end: float32 at 16 kHz, kept in the pieces that came."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.float32]] = []
        self.length = 0

    def append(self, samples: NDArray[np.float32]) -> None:
        self._pieces.append(np.array(samples, np.float32))  # a copy: a view would keep the caller's whole turn
        self.length += len(samples)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, as far as there are any."""
        ends = accumulate(map(len, self._pieces))
        parts = [
            piece[max(0, start - (end - len(piece))) : max(0, stop - (end - len(piece)))]
            for piece, end in zip(self._pieces, ends, strict=True)
            if end > start and end - len(piece) < stop
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class HeldAudio(AudioRef):
    """An `AudioRef` with the recording it refers to."""

    recording: Recording = field(default_factory=Recording, compare=False, repr=False)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, the silence included."""
        samples = self.recording.read(start, min(stop, self.recorded))
        return np.pad(samples, (0, stop - start - len(samples)))

    @property
    def audio(self) -> Audio:
        """With its content."""
        return Audio(self.id, self.read(0, self.length), self.silence)
