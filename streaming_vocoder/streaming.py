"""Speech tokens -> samples, for any number of replies at once, each with its own state.

    vocoder = Vocoder.load(folder / "token2wav")
    stream = vocoder.open(voice)
    (samples,) = vocoder.step([(stream, tokens, False)])  # as tokens arrive; the first chunk needs 5 + 3
    (samples,) = vocoder.step([(stream, [], True)])       # the rest

A stream holds back the newest 3 tokens as look-ahead. All others passed to `step` become one chunk, so the number of
tokens passed determines the chunk length (`chunk_schedule`). Not thread-safe: call it from one thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streaming_vocoder.chunk_schedule import MAX_CHUNK_TOKENS, MIN_CHUNK_TOKENS
from streaming_vocoder.config import (
    FRAMES_PER_TOKEN,
    HOP_SAMPLES,
    SAMPLES_PER_TOKEN,
    VocoderConfig,
)
from streaming_vocoder.errors import StreamError, VoiceError
from streaming_vocoder.flow import NOISE_FRAMES, Flow
from streaming_vocoder.flow_stream import FlowState, StreamingFlow
from streaming_vocoder.hift import Hift
from streaming_vocoder.hift_stream import (
    HiftInput,
    HiftOutput,
    HiftState,
    StreamingHift,
    frames_of,
)
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.packing import turns
from streaming_vocoder.solver_cache import CHUNK_ROOM, RECENT_FRAMES
from streaming_vocoder.voice import Voice
from streaming_vocoder.weights import load_token2wav

logger = logging.getLogger(__name__)

SILENT_PEAK = 1e-3
"""A chunk is silent if no sample exceeds this (-60 dB of full scale)."""
SPEECH_CODES = 8
"""Pauses consist of few, repeated codes. A chunk with at least this many different codes, each used twice or less on
average, should be audible."""

Samples = NDArray[np.float32]


@dataclass(slots=True)
class StreamReport:
    """The report of one reply. All counters but the first two should stay 0."""

    tokens: int = 0
    samples: int = 0
    dropped_tokens: int = 0
    """Tokens that are not speech codes."""
    clipped_samples: int = 0
    """Samples at HiFT's output limit, or above full scale because of a seam."""
    broken_chunks: int = 0
    """Chunks with NaN or infinity: they were replaced by silence, and the stream restarted from its voice's state."""
    silent_tokens: int = 0
    """Tokens of silent chunks whose codes should be audible."""

    def faults(self) -> dict[str, int]:
        """The counters that should be 0 and are not."""
        counts = {item.name: getattr(self, item.name) for item in fields(self)[2:]}
        return {name: count for name, count in counts.items() if count}


@dataclass(slots=True, eq=False)
class StreamState:
    """The state of one reply. Created by `Vocoder.open`, updated by `Vocoder.step`; deleting it frees all memory of
    the reply."""

    prompt: FlowState = field(repr=False)
    """The voice's snapshot: shared, read-only."""
    flow: FlowState = field(repr=False)
    hift: HiftState | None = field(repr=False)
    noise: torch.Generator | None = field(repr=False)
    lookahead: int
    pending: list[int] = field(default_factory=list)
    report: StreamReport = field(default_factory=StreamReport)
    finished: bool = False

    @property
    def buffered(self) -> int:
        """Tokens that the next chunk already has, beyond the look-ahead. Negative while the look-ahead is
        incomplete."""
        return len(self.pending) - self.lookahead

    @property
    def owned_bytes(self) -> int:
        """Memory of this stream: its caches and seams, without the part shared by all streams of the voice."""
        tensors = self.flow.own_tensors()
        if self.hift is not None:
            tensors += [self.hift.mel, self.hift.source, self.hift.tail]
        return sum(tensor.nbytes for tensor in tensors)

    def wanted(self, chunk_tokens: int) -> int:
        """The number of further tokens with which `step` makes a chunk of ``chunk_tokens``."""
        return max(0, chunk_tokens - self.buffered)


class Vocoder:
    """The weights, packed for streaming, and the snapshots of the voices used so far."""

    def __init__(
        self,
        config: VocoderConfig,
        flow: Flow,
        hift: Hift,
        options: VocoderOptions | None = None,
        *,
        noise: Tensor | None = None,
        source_noise: bool = True,
    ) -> None:
        """Pack the weights of the modules on their device; do not train them afterwards.

        ``noise``: buffer [1, 80, frames] that every chunk starts from; default: seeded. ``source_noise``: breath noise
        of HiFT, seeded per stream.
        """
        self.config = config
        self.options = options or VocoderOptions()
        self.device = hift.stft_window.device
        self.source_noise = source_noise
        self._noise_frames = NOISE_FRAMES if noise is None else noise.shape[2]
        self._flow = StreamingFlow(flow, self.options, noise)
        self._hift = StreamingHift(hift, self.options.fade)
        self._prompts: WeakKeyDictionary[Voice, FlowState] = WeakKeyDictionary()

    @classmethod
    def load(
        cls,
        folder: Path,
        device: torch.device | str = "cpu",
        options: VocoderOptions | None = None,
        *,
        steps: int | None = None,
    ) -> Vocoder:
        """Load a checkpoint's ``token2wav/`` folder. ``steps`` overrides that of ``options``. Raises `CheckpointError`
        with everything that is missing or wrong."""
        chosen = options or VocoderOptions()
        chosen = chosen if steps is None else replace(chosen, steps=steps)
        config, flow, hift = load_token2wav(folder)
        return cls(config, flow.to(device), hift.to(device), chosen)

    def twin(self) -> Vocoder:
        """Another vocoder with the same weights, without snapshots of voices. It may run in another thread at the same
        time: weights and tables are shared and read-only, all memory that a step writes to is its own."""
        twin = copy(self)
        twin._flow, twin._prompts = self._flow.twin(self.options), WeakKeyDictionary()
        return twin

    @property
    def lookahead(self) -> int:
        """Look-ahead tokens that a chunk needs in addition to those that become audio."""
        return self._flow.lookahead

    def prepare(self, voice: Voice) -> None:
        """Compute the voice's snapshot, unless it exists, and with ``fixed_streams`` all graphs. This takes seconds at
        the official size, so call it before the first reply."""
        self._flow.prepare(self._prompt(voice))

    def open(self, voice: Voice, seed: int = 0) -> StreamState:
        """A new reply in ``voice``; ``seed``: of its breath noise."""
        prompt = self._prompt(voice)
        noise = torch.Generator(self.device).manual_seed(seed) if self.source_noise else None
        return StreamState(prompt, self._flow.fork(prompt), None, noise, self.lookahead)

    def step(self, requests: Sequence[tuple[StreamState, Sequence[int], bool]]) -> list[Samples]:
        """Per stream, its new tokens and whether they are the last -> float32 [n] at 24 kHz in [-1, 1]; n may be 0.

        A stream may occur several times in ``requests`` with consecutive chunks: the solver runs them as a wavefront,
        which is faster than separate steps and gives the same samples. It must not occur after its last tokens. The
        total output is 960 samples per token. Raises `StreamError` for a stream that has ended.
        """
        chunks: list[_Chunk] = []
        for index, (state, tokens, last) in enumerate(requests):
            self._accept(state, tokens, last)
            chunks += self._take_chunks(state, index, sum(chunk.frames for chunk in chunks if chunk.state is state))
        made: list[list[Samples]] = [[] for _ in requests]
        for chunk, samples in zip(chunks, self._run(chunks), strict=True):
            made[chunk.request].append(samples)
        _warn_of_faults(requests)
        return [np.concatenate(parts) if len(parts) != 1 else parts[0] for parts in map(_or_empty, made)]

    def _prompt(self, voice: Voice) -> FlowState:
        prompt = self._prompts.get(voice)
        if prompt is None:
            if len(voice.mel) + RECENT_FRAMES + CHUNK_ROOM > self._noise_frames:
                raise VoiceError(f"voice {voice.name}: its prompt of {len(voice.mel)} mel frames is too long")
            prompt = self._flow.prompt_state(
                voice.tokens.to(self.device), voice.mel.to(self.device), voice.speaker.to(self.device)
            )
            self._prompts[voice] = prompt
        return prompt

    def _accept(self, state: StreamState, tokens: Sequence[int], last: bool) -> None:
        if state.finished:
            raise StreamError("this stream has had its last tokens; open a new one for the next reply")
        codes = [token for token in tokens if 0 <= token < self.config.flow.vocab_size]
        state.report.dropped_tokens += len(tokens) - len(codes)
        state.report.tokens += len(codes)
        state.pending += codes
        state.finished = last

    def _take_chunks(self, state: StreamState, request: int, frames_before: int) -> Iterator[_Chunk]:
        """Take chunks from the buffer. ``frames_before``: of chunks taken and not yet computed."""
        cache = state.flow.solver.cache
        while True:
            past = min(len(cache) + frames_before, cache.prompt_frames + RECENT_FRAMES)
            most = min(MAX_CHUNK_TOKENS, (self._noise_frames - past) // FRAMES_PER_TOKEN - self.lookahead)
            if state.finished and 0 < len(state.pending) <= most + self.lookahead:
                tokens, state.pending = state.pending, []
                yield _Chunk(state, request, tokens, len(tokens), last=True)
                return
            count = min(state.buffered, most)
            if count < MIN_CHUNK_TOKENS:
                return
            tokens, state.pending = state.pending[: count + self.lookahead], state.pending[count:]
            yield (chunk := _Chunk(state, request, tokens, count))
            frames_before += chunk.frames

    def _run(self, chunks: Sequence[_Chunk]) -> list[Samples]:
        if not chunks:
            return []
        mels = self._flow.step(
            [chunk.state.flow for chunk in chunks],
            [torch.tensor(chunk.tokens, device=self.device) for chunk in chunks],
            [chunk.last for chunk in chunks],
        )
        made: dict[int, Samples] = {}
        for members in turns([chunk.state for chunk in chunks]):
            pairs = [(chunks[index], mels[index]) for index in members]
            inputs = [
                HiftInput(chunk.state.hift, mel.T, self._source_noise(chunk.state, len(mel)), chunk.last)
                for chunk, mel in pairs
            ]
            for index, (chunk, _), output in zip(members, pairs, self._hift.step(inputs), strict=True):
                made[index] = self._finish(chunk, output)
        return [made[index] for index in range(len(chunks))]

    def _source_noise(self, state: StreamState, frames: int) -> Tensor | None:
        if state.noise is None:
            return None
        samples = HOP_SAMPLES * frames_of(state.hift, frames)
        return torch.randn(samples, 1, generator=state.noise, device=self.device)

    def _finish(self, chunk: _Chunk, output: HiftOutput) -> Samples:
        state = chunk.state
        samples: Samples = output.samples.cpu().numpy()
        state.hift = output.state
        # The largest magnitude shows all faults: at HiFT's limit or above 1 the chunk is clipped, NaN or infinity mean
        # that it is broken.
        peak = float(np.abs(samples).max(initial=0.0))
        held = float(output.state.tail.abs().max())
        if not np.isfinite(peak + held):
            state.report.broken_chunks += 1
            state.flow, state.hift = self._flow.fork(state.prompt), self._hift.silent_state()
            samples = np.zeros_like(samples)
        elif peak >= self.config.hift.audio_limit:
            state.report.clipped_samples += int((np.abs(samples) >= self.config.hift.audio_limit).sum())
            samples = samples.clip(-1.0, 1.0)
        elif peak < SILENT_PEAK and _say_something(chunk.tokens, len(samples)):
            state.report.silent_tokens += len(chunk.tokens)
        if chunk.last:  # free the caches now, even if the caller keeps the stream
            state.flow, state.hift = state.prompt, None
        state.report.samples += len(samples)
        return samples


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """``tokens``: including the look-ahead; ``count`` of them become audio now."""

    state: StreamState
    request: int
    tokens: list[int]
    count: int
    last: bool = False

    @property
    def frames(self) -> int:
        return FRAMES_PER_TOKEN * self.count


def _say_something(tokens: list[int], samples: int) -> bool:
    """Whether a chunk of so many samples should be audible by its tokens. A first chunk is too short to decide, because
    its seam is held back."""
    different = len(set(tokens))
    return samples >= SPEECH_CODES * SAMPLES_PER_TOKEN and different >= SPEECH_CODES and 2 * different >= len(tokens)


def _warn_of_faults(requests: Sequence[tuple[StreamState, Sequence[int], bool]]) -> None:
    """Log the faults once per reply, at its last request."""
    for state, _, last in requests:
        if last and (faults := state.report.faults()):
            words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in faults.items())
            logger.warning("a reply of %d tokens had %s", state.report.tokens, words)


def _or_empty(parts: list[Samples]) -> list[Samples]:
    return parts or [np.zeros(0, dtype=np.float32)]


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """Float samples -> PCM as in the reference: clipped to +-1, times 32767, truncated toward zero."""
    return (samples.clip(-1.0, 1.0) * np.float32(32767.0)).astype(np.int16)
