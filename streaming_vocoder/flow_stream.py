"""Flow matching chunk by chunk: tokens of many streams -> their mels. Each stream has its own `FlowState`; only the
weights are shared."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from streaming_vocoder.config import FRAMES_PER_TOKEN
from streaming_vocoder.conformer_stream import EncoderState, StreamingEncoder
from streaming_vocoder.dit_stream import SolverInput, StreamingSolver
from streaming_vocoder.fixed_solver import FixedSolver
from streaming_vocoder.flow import Flow, default_noise
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.packing import turns
from streaming_vocoder.solver_cache import SolverState


@dataclass(slots=True, eq=False)
class FlowState:
    """The flow's state of one stream. Made by `StreamingFlow.prompt_state` and `StreamingFlow.fork`."""

    encoder: EncoderState
    solver: SolverState
    speaker: Tensor

    def snapshot(self) -> FlowState:
        """The state after a prompt, ready to be forked; read-only from here on."""
        return FlowState(self.encoder.snapshot(), self.solver.snapshot(), self.speaker)

    def own_tensors(self) -> list[Tensor]:
        """The tensors that only this stream uses."""
        encoder, solver = self.encoder, self.solver
        caches = [encoder.token_cache.own, encoder.frame_cache.own, solver.cache.own]
        return [encoder.lookahead_tail, encoder.upsample_tail, *caches, solver.tails]

    def shared_tensors(self) -> list[Tensor]:
        """The tensors shared with all streams of the voice."""
        return [self.encoder.token_cache.prompt, self.encoder.frame_cache.prompt, self.solver.cache.prompt]


class StreamingFlow:
    """Packed from a `Flow`; later changes of its weights have no effect."""

    def __init__(self, flow: Flow, options: VocoderOptions, noise: Tensor | None = None) -> None:
        """``noise``: buffer [1, 80, frames] that all streams start from; default: `flow.default_noise`, seeded."""
        with torch.inference_mode():
            buffer = default_noise(channels=flow.config.output_size) if noise is None else noise
            self._speaker, self._mel = flow.spk_embed_affine_layer, flow.config.mel
            self.encoder = StreamingEncoder(flow, options.encoder_window_frames)
            self.solver = StreamingSolver(
                flow, options.steps, buffer.to(self.encoder.tokens), options.trim, options.dtype
            )
            self.fixed = self._fixed(options)

    def _fixed(self, options: VocoderOptions) -> FixedSolver | None:
        frames = [FRAMES_PER_TOKEN * tokens for tokens in options.ladder.rungs]
        return FixedSolver(self.solver, options.fixed_streams, frames) if options.fixed_streams else None

    @torch.inference_mode()
    def twin(self, options: VocoderOptions) -> StreamingFlow:
        """See `streaming_vocoder.streaming.Vocoder.twin`."""
        twin = copy(self)
        twin.encoder, twin.solver = self.encoder.twin(), self.solver.twin()
        twin.fixed = twin._fixed(options)
        return twin

    @property
    def lookahead(self) -> int:
        """Look-ahead tokens that a chunk needs in addition to those that become mel."""
        return self.encoder.lookahead

    @torch.inference_mode()
    def prompt_state(self, tokens: Tensor, mel: Tensor, speaker: Tensor) -> FlowState:
        """The state after a voice's prompt: tokens int [n], ln mel [2 n, 80], raw speaker embedding [192].

        `fork` it for each reply. The prompt's own first tokens are its look-ahead, as in the reference.
        """
        return self.prompt_pass(tokens, mel, speaker)[0]

    @torch.inference_mode()
    def prompt_pass(self, tokens: Tensor, mel: Tensor, speaker: Tensor) -> tuple[FlowState, Tensor, Tensor]:
        """`prompt_state`, with the mu and the mel (in the flow's own range) of the prompt."""
        row = self.solver.speaker_row(self._speaker(F.normalize(speaker, dim=0)))
        state = FlowState(self.encoder.fresh_state(), self.solver.fresh_state(), row)
        (mu,) = self.encoder.step([state.encoder], [torch.cat((tokens, tokens[: self.lookahead]))], [False])
        (made,) = self.solver.step([SolverInput(state.solver, mu, row, self._mel.apply(mel))])
        return state.snapshot(), mu, made

    @torch.inference_mode()
    def prepare(self, prompt: FlowState) -> None:
        """Precompute what the first reply after this prompt would otherwise wait for."""
        if self.fixed is not None:
            self.fixed.prepare(prompt.solver)

    @torch.inference_mode()
    def fork(self, prompt: FlowState) -> FlowState:
        """A reply's state after a prompt. The prompt's part is shared, not copied."""
        solver = prompt.solver.fork() if self.fixed is None else self.fixed.pool.fork(prompt.solver)
        return FlowState(prompt.encoder.fork(), solver, prompt.speaker)

    @torch.inference_mode()
    def step(self, states: Sequence[FlowState], tokens: Sequence[Tensor], last: Sequence[bool]) -> list[Tensor]:
        """Chunks of streams: tokens int [T], including the look-ahead unless ``last`` -> ln mel [F, 80].

        A state may occur several times, with consecutive chunks.
        """
        return self.step_from_mu(states, self.encode(states, tokens, last))

    @torch.inference_mode()
    def encode(self, states: Sequence[FlowState], tokens: Sequence[Tensor], last: Sequence[bool]) -> list[Tensor]:
        """First half of `step`: -> mu [F, 80]."""
        mus: dict[int, Tensor] = {}
        for members in turns(states):
            encoders = [states[index].encoder for index in members]
            made = self.encoder.step(encoders, [tokens[index] for index in members], [last[index] for index in members])
            mus.update(zip(members, made, strict=True))
        return [mus[index] for index in range(len(states))]

    @torch.inference_mode()
    def step_from_mu(self, states: Sequence[FlowState], mus: Sequence[Tensor]) -> list[Tensor]:
        """Second half of `step`."""
        inputs = [SolverInput(state.solver, mu, state.speaker) for state, mu in zip(states, mus, strict=True)]
        return [self._mel.undo(mel) for mel in (self.fixed or self.solver).step(inputs)]
