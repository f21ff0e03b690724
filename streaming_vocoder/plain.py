"""A simple reference implementation of `streaming`, for tests and as the baseline of the benchmark.

It runs one stream at a time and recomputes prompt and reply for each chunk with the training modules: no state, no
snapshot, no table of constants. Masks reproduce the chunks: which frames were visible when a chunk was made. Only
HiFT's seam is kept between chunks, because it is part of the definition of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from streaming_vocoder.config import FRAMES_PER_TOKEN, HOP_SAMPLES
from streaming_vocoder.conformer import LOOKAHEAD_SLOPE
from streaming_vocoder.flow import Flow, default_noise
from streaming_vocoder.hift import Hift
from streaming_vocoder.hift_stream import CrossFade, HiftInput, HiftState, StreamingHift, frames_of
from streaming_vocoder.solver_cache import RECENT_FRAMES, TrimRule
from streaming_vocoder.streaming import Samples
from streaming_vocoder.voice import Voice


@dataclass(slots=True, eq=False)
class PlainStream:
    """One reply: its tokens so far, and the ends of its chunks in tokens."""

    voice: Voice
    noise: torch.Generator
    tokens: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    hift: HiftState | None = None


class PlainVocoder:
    """`Vocoder` without optimizations. Pass whole chunks: it holds back only the look-ahead."""

    def __init__(
        self,
        flow: Flow,
        hift: Hift,
        *,
        steps: int = 10,
        trim: TrimRule = "upstream",
        fade: CrossFade = "upstream",
        noise: Tensor | None = None,
    ) -> None:
        self._flow = flow
        self._hift = StreamingHift(hift, fade)
        self._steps = steps
        self._trim = trim
        self._noise = default_noise(channels=flow.config.output_size) if noise is None else noise
        self._device = hift.stft_window.device
        self._lookahead = flow.config.encoder.pre_lookahead_len

    def open(self, voice: Voice, seed: int = 0) -> PlainStream:
        """A new reply in ``voice``; ``seed``: of its breath noise."""
        return PlainStream(voice, torch.Generator(self._device).manual_seed(seed))

    @torch.inference_mode()
    def step(self, stream: PlainStream, tokens: Sequence[int], last: bool) -> Samples:
        """The stream's next tokens (all of them speech codes) as one chunk -> float32 [n] at 24 kHz in [-1, 1]."""
        stream.tokens += tokens
        before = stream.ends[-1] if stream.ends else 0
        stream.ends.append(len(stream.tokens) - (0 if last else self._lookahead))
        mel = self._mel(stream, last)[FRAMES_PER_TOKEN * (before - stream.ends[-1]) :]
        samples = HOP_SAMPLES * frames_of(stream.hift, len(mel))
        noise = torch.randn(samples, 1, generator=stream.noise, device=self._device)
        (output,) = self._hift.step([HiftInput(stream.hift, mel.T, noise, last)])
        stream.hift = output.state
        made: Samples = output.samples.cpu().numpy().clip(-1.0, 1.0)
        return np.asarray(made)

    def _mel(self, stream: PlainStream, last: bool) -> Tensor:
        """Prompt and reply so far -> their ln mel [F, 80]."""
        voice, flow = stream.voice, self._flow
        spans = _chunk_frames(len(voice.mel), stream.ends)
        seen = chunk_mask(spans)[None].to(self._device)
        mu = flow.encoder_proj(flow.encoder.after_lookahead(self._look_ahead(stream, last)[None], seen))
        prompt = flow.config.mel.apply(voice.mel.to(self._device))
        cond = F.pad(prompt, (0, 0, 0, mu.shape[1] - len(prompt)))[None]
        visible, starts = trimmed_mask(spans, self._trim)
        noise = torch.cat(
            [self._noise[0, :, start : start + len(span)] for start, span in zip(starts, spans, strict=True)], 1
        )
        x = flow.decoder.solve(
            noise.T[None].to(mu),
            mu,
            flow.project_speaker(voice.speaker.to(self._device)[None]),
            cond,
            self._steps,
            visible[None].to(self._device),
        )
        return flow.config.mel.undo(x[0])

    def _look_ahead(self, stream: PlainStream, last: bool) -> Tensor:
        """Prompt and reply -> the input of the encoder's layers [T, D].

        The prompt does not see the reply: its own first tokens are its look-ahead, as in the reference. The end of a
        reply is followed by zeros.
        """
        encoder, ahead = self._flow.encoder, self._lookahead
        prompt = stream.voice.tokens.to(self._device)
        reply = torch.tensor(stream.tokens, dtype=torch.long, device=self._device)
        parts = [encoder.embed(self._flow.input_embedding(ids)) for ids in (torch.cat((prompt, prompt[:ahead])), reply)]
        if last:
            parts[1] = F.pad(parts[1], (0, 0, 0, ahead))
        layer = encoder.pre_lookahead_layer
        looked = torch.cat([layer.conv1(part.T[None]) for part in parts], dim=2)
        kept = torch.cat([part[: len(part) - ahead] for part in parts])
        past = layer.conv2.kernel_size[0] - 1
        seen: Tensor = layer.conv2(F.pad(F.leaky_relu(looked, LOOKAHEAD_SLOPE), (past, 0)))
        return kept + seen[0].T


def chunk_mask(spans: Sequence[range]) -> Tensor:
    """The mask without trimming, bool [F, F]: a frame sees its own chunk and all chunks before."""
    chunk = torch.cat([torch.full((len(span),), index) for index, span in enumerate(spans)])
    return chunk[None, :] <= chunk[:, None]


def trimmed_mask(spans: Sequence[range], rule: TrimRule) -> tuple[Tensor, list[int]]:
    """The mask with trimming by ``rule``, bool [F, F], and the number of past frames that each chunk saw.

    ``spans``: the frames of the prompt, then those of each chunk.
    """
    total, prompt = spans[-1].stop, len(spans[0])
    mask = torch.zeros(total, total, dtype=torch.bool)
    kept: list[int] = []
    starts = []
    for span in spans:
        starts.append(len(kept))
        rows = slice(span.start, span.stop)
        mask[rows, rows] = True
        mask[rows, kept] = True
        kept = [*span, *kept] if rule == "upstream" else [*kept, *span]
        if len(kept) > prompt + RECENT_FRAMES:
            kept = kept[:prompt] + kept[-RECENT_FRAMES:]
    return mask, starts


def _chunk_frames(prompt: int, ends: Sequence[int]) -> list[range]:
    """The frames of the prompt and of each chunk."""
    edges = [0, prompt, *(prompt + FRAMES_PER_TOKEN * end for end in ends)]
    return [range(start, stop) for start, stop in pairwise(edges)]
