"""HiFT chunk by chunk: mels of many streams -> samples that join without a click.

HiFT is not causal, so a chunk is computed with the last 8 frames of the one before, its last 160 ms are held
back, and the overlap is cross-faded.

Letters: F new frames of a stream, S = 480 * frames samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from streaming_vocoder.config import HOP_SAMPLES, SAMPLE_RATE
from streaming_vocoder.hift import Hift

SEAM_FRAMES = 8
SEAM_SAMPLES = SEAM_FRAMES * HOP_SAMPLES
SEAM_SECONDS = SEAM_SAMPLES / SAMPLE_RATE
SILENT_MEL = -11.512925
"""ln 1e-5: the floor of the prompt mel."""

CrossFade = Literal["upstream", "amplitude"]
"""``upstream``: the reference's Hamming window, 8 % louder inside the seam. ``amplitude``: the halves sum to
one."""


@dataclass(slots=True, eq=False)
class HiftState:
    """HiFT's state of one stream; ``None`` before the first chunk."""

    mel: Tensor
    """[80, 8]: the last frames."""
    source: Tensor
    """[1, SEAM_SAMPLES]: the end of the source."""
    tail: Tensor
    """[SEAM_SAMPLES]: the last samples, held back."""


@dataclass(frozen=True, slots=True, eq=False)
class HiftInput:
    """One chunk of one stream: mel [80, F]; ``noise`` [S, 1 or harmonics] of the source (including kept frames)
    or None."""

    state: HiftState | None
    mel: Tensor
    noise: Tensor | None
    last: bool


@dataclass(frozen=True, slots=True, eq=False)
class HiftOutput:
    """Samples to emit [n] (may exceed 1 by 8 % inside a seam), the source of the call, and the next state."""

    samples: Tensor
    source: Tensor
    state: HiftState


class StreamingHift:
    """Runs streams whose calls have the same length as one batch."""

    def __init__(self, hift: Hift, fade: CrossFade) -> None:
        self.hift = hift
        self.fade_in, self.fade_out = (half.to(hift.stft_window) for half in _fade(fade))

    @torch.inference_mode()
    def step(self, inputs: Sequence[HiftInput]) -> list[HiftOutput]:
        """One chunk per stream, in the order of ``inputs``."""
        groups: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
        for index, item in enumerate(inputs):
            groups[frames_of(item.state, item.mel.shape[1]), item.state is None, item.noise is None].append(index)
        outputs: dict[int, HiftOutput] = {}
        for members in groups.values():
            made = self._batch([inputs[index] for index in members])
            outputs.update(zip(members, made, strict=True))
        return [outputs[index] for index in range(len(inputs))]

    def _batch(self, inputs: Sequence[HiftInput]) -> list[HiftOutput]:
        mel = torch.stack(
            [item.mel if item.state is None else torch.cat((item.state.mel, item.mel), dim=1) for item in inputs]
        )
        cached = [item.state.source for item in inputs if item.state is not None]
        noise = [item.noise for item in inputs if item.noise is not None]
        waves, sources = self.hift(
            mel,
            noise=torch.stack(noise) if noise else None,
            cached_source=torch.stack(cached) if cached else None,
        )
        return [self._join(item, *rows) for item, *rows in zip(inputs, mel, waves, sources, strict=True)]

    def _join(self, item: HiftInput, mel: Tensor, wave: Tensor, source: Tensor) -> HiftOutput:
        if item.state is not None:
            wave[:SEAM_SAMPLES].mul_(self.fade_in).addcmul_(item.state.tail, self.fade_out)
        state = HiftState(
            mel[:, -SEAM_FRAMES:].clone(), source[:, -SEAM_SAMPLES:].clone(), wave[-SEAM_SAMPLES:].clone()
        )
        return HiftOutput(wave if item.last else wave[:-SEAM_SAMPLES], source, state)

    def silent_state(self) -> HiftState:
        """A silent state, to continue from when a chunk had to be discarded."""
        like = self.fade_in
        return HiftState(
            like.new_full((self.hift.config.in_channels, SEAM_FRAMES), SILENT_MEL),
            like.new_zeros(1, SEAM_SAMPLES),
            like.new_zeros(SEAM_SAMPLES),
        )


def frames_of(state: HiftState | None, new_frames: int) -> int:
    """The frames of the next HiFT call: the new ones and those kept for the seam."""
    return new_frames if state is None else SEAM_FRAMES + new_frames


def _fade(kind: CrossFade) -> tuple[Tensor, Tensor]:
    """The weights [SEAM_SAMPLES] of the new samples and of those held back."""
    window = (
        torch.hamming_window(2 * SEAM_SAMPLES, periodic=False, dtype=torch.float64)
        if kind == "upstream"
        else torch.hann_window(2 * SEAM_SAMPLES, periodic=True, dtype=torch.float64)
    ).float()
    return window[:SEAM_SAMPLES], window[SEAM_SAMPLES:]
