"""What a session needs of a vocoder: speech tokens in, samples at 24 kHz out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.ports.payer import NOBODY, Payer

OUTPUT_SAMPLE_RATE = 24_000
"""Rate of the audio that a vocoder gives, in Hz."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """Samples float32 [n] at 24 kHz in [-1, 1]; ``compute_seconds`` is what this chunk cost the vocoder.

    ``faults``: counts of what should not have happened in the reply so far, by name; those at zero are left out.
    """

    samples: NDArray[np.float32]
    compute_seconds: float
    faults: Mapping[str, int] = field(default_factory=dict)


class VocoderStream(Protocol):
    """One reply's speech. Push tokens as they come, `finish` after the last, iterate for the audio.

    `close` ends the iteration at once and frees the state; it may be called at any time, more than once.
    `confirm`: the speculative speech is wanted now.
    """

    @property
    def made_seconds(self) -> float:
        """Sound made so far, taken or not."""

    def confirm(self) -> None: ...

    def push(self, tokens: Sequence[int]) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[AudioChunk]: ...


class Vocoder(Protocol):
    """Many replies on one vocoder. ``voices``: names that `open` takes; the first is the default."""

    @property
    def voices(self) -> tuple[str, ...]: ...

    def open(
        self, voice: str, *, speculative: bool = False, aside: bool = False, payer: Payer = NOBODY
    ) -> VocoderStream:
        """``aside``: speech of a reply out of band, which conversations go before. ``speculative``: the speech may not
        be wanted. Until it is confirmed it is made only as far as `realtime.ports.engine.SPECULATIVE_SECONDS`, and only
        while no confirmed stream needs the vocoder."""
