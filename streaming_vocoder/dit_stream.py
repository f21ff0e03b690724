"""The flow's solver chunk by chunk, for any number of streams at once.

The same function as `dit` with the Euler solver of `flow`, from packed weights. The solver's times are fixed, so the
time embedding and all modulations are a table; q, k and v are one product; a causal convolution is one product. Both
halves of the guidance and the rows of all streams share every product; only attention and the edges of the convolutions
use a stream's own past (`Past`).

Each solver step has its own past, so the next chunk of a stream can start as soon as the one before has made its first
step. Chunks whose tokens are available in advance run as such a wavefront: one batch has chunks at several steps
(`Layer`).

Products, keys and values have the solver's ``dtype``; the mel, the residual stream and its norms stay float32.

Letters: F new frames of a stream, R frames of all streams, C hidden size, H heads, K head size, N solver steps. The
leading 2 is (with conditions, without); where the two halves are consecutive rows, it is 2R. In a wavefront this holds
for each of its layers, whose rows are consecutive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_vocoder.activations import gelu_tanh_, mish
from streaming_vocoder.attention import attend
from streaming_vocoder.dit import NORM_EPS, CausalConv, DiTBlock
from streaming_vocoder.flow import Flow, time_grid
from streaming_vocoder.packing import Product, conv_product, fused_product, product, spans, turns
from streaming_vocoder.solver_cache import SolverCache, SolverState, TrimRule

CONV_PAST = 2
TAPS = CONV_PAST + 1
WAVE_FRAMES = 400
"""A wavefront adds a layer only up to this many new frames: larger products gain nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class SolverInput:
    """One chunk of one stream: mu [F, 80], ``speaker`` [C] from `StreamingSolver.speaker_row`, cond [F, 80]
    or None for zeros."""

    state: SolverState
    mu: Tensor
    speaker: Tensor
    cond: Tensor | None = None


class Past(Protocol):
    """The pasts of a batch's streams, for one block. ``step``: of the solver; ``index``: of the block."""

    def attention(self, step: int, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k, v of the new frames and return the attention output: all [2, R, H, K], q divided by sqrt(K)."""

    def windows(self, step: int, index: int, conv: int, x: Tensor, taps: Tensor) -> None:
        """Fill ``taps`` [2, R, TAPS, C] with the input window of a convolution over x [2, R, C], oldest first."""


@dataclass(slots=True, eq=False)
class Layer:
    """Chunks of different streams at the same step: x [R, 80] becomes the mel in place; ``conditioned`` [R, C]: the
    contribution of mu, speaker and condition."""

    x: Tensor
    conditioned: Tensor
    past: Past
    step: int = 0
    rows: slice = field(init=False)
    """Its 2R rows of the batch."""

    def halves(self, batch: Tensor) -> Tensor:
        """Its rows of ``batch`` [all rows, ...] as [2, R, ...]."""
        own = _part(batch, self.rows)
        return own.view(2, len(own) // 2, *own.shape[1:])


class StreamingSolver:
    """mu of many streams -> their mels (in the flow's own range). Packed from a `Flow`, which it does not reference
    afterwards."""

    def __init__(
        self, flow: Flow, steps: int, noise: Tensor, rule: TrimRule, dtype: torch.dtype = torch.float32
    ) -> None:
        """``noise``: buffer [1, 80, frames]; a chunk starts from the slice at its stream's cache length."""
        estimator = flow.decoder.estimator
        config = estimator.config
        self.config, self.rule, self.steps, self.dtype = config, rule, steps, dtype
        self.noise = noise[0].T.contiguous()
        grid = time_grid(steps)
        self.step_sizes: list[float] = (grid[1:] - grid[:-1]).tolist()
        times = estimator.t_embedder(grid[:-1].to(self.noise.device))
        self.blocks = [SolverBlock(block, times, dtype) for block in estimator.blocks if isinstance(block, DiTBlock)]
        self.blend = 1.0 + flow.decoder.guidance
        mel = config.out_channels
        weight = estimator.in_proj.weight
        self.in_x, self.in_mu, self.in_speaker, self.in_cond = (
            weight[:, start : start + mel].T.contiguous() for start in range(0, 4 * mel, mel)
        )
        self.in_bias = estimator.in_proj.bias
        final = estimator.final_layer
        shift, scale = final.adaLN_modulation(times).chunk(2, dim=-1)
        self.final_norms = list(zip((1 + scale).unbind(0), shift.contiguous().unbind(0), strict=True))
        self.final_weight = final.linear.weight.T.contiguous()
        self.final_biases = [final.linear.bias * size for size in self.step_sizes]
        self._scratch = self.scratch()

    def twin(self) -> StreamingSolver:
        """See `streaming_vocoder.streaming.Vocoder.twin`."""
        twin = copy(self)
        twin._scratch = twin.scratch()
        return twin

    def fresh_state(self) -> SolverState:
        """The state before any frame."""
        config = self.config
        shape = (self.steps, config.depth)
        empty = self.noise.new_empty((*shape, 2, 2, config.num_heads, 0, config.head_dim), dtype=self.dtype)
        tails = self.noise.new_zeros((*shape, 2, 2, CONV_PAST, config.hidden_size), dtype=self.dtype)
        return SolverState(SolverCache(empty, empty, self.rule), tails)

    def speaker_row(self, speaker: Tensor) -> Tensor:
        """Projected speaker [80] -> its constant part of the input layer [C]."""
        return speaker @ self.in_speaker + self.in_bias

    def step(self, inputs: Sequence[SolverInput]) -> list[Tensor]:
        """Chunks of streams -> mels [F, 80]; updates the states. Several chunks of one state must be consecutive."""
        members = turns([item.state for item in inputs])
        layers = [self._layer([inputs[index] for index in turn]) for turn in members]
        self.solve(layers, self._scratch)
        mels: dict[int, Tensor] = {}
        for turn, layer in zip(members, layers, strict=True):
            mels.update(zip(turn, torch.split(layer.x, [len(inputs[index].mu) for index in turn]), strict=True))
        return [mels[index] for index in range(len(inputs))]

    def _layer(self, inputs: Sequence[SolverInput]) -> Layer:
        """One chunk per stream. Counts its frames as made, so that the next layer can follow."""
        x = torch.cat([self.start(item) for item in inputs])
        places = spans([len(item.mu) for item in inputs])
        streams = [_Stream(item.state, rows) for item, rows in zip(inputs, places, strict=True)]
        for stream in streams:
            stream.cache.commit(stream.slots)
        return Layer(x, torch.cat([self.condition(item) for item in inputs]), _RaggedPast(streams))

    def solve(self, layers: Sequence[Layer], scratch: Scratch) -> None:
        """Noise -> mel, in place. A layer starts one step after the one before, or later while the batch is full."""
        waiting, wave = deque(layers), list[Layer]()
        while waiting or wave:
            if waiting and sum(len(layer.x) for layer in (*wave, waiting[0])) <= (WAVE_FRAMES if wave else torch.inf):
                wave.append(waiting.popleft())
            self._advance(wave, scratch)
            wave = [layer for layer in wave if layer.step < self.steps]

    def _advance(self, wave: Sequence[Layer], scratch: Scratch) -> None:
        """One step of each layer."""
        for layer, rows in zip(wave, spans([2 * len(layer.x) for layer in wave]), strict=True):
            layer.rows = rows
        h = scratch.residual(wave[-1].rows.stop, len(self.in_bias))
        for layer in wave:
            projected, (conditioned, plain) = layer.x @ self.in_x, layer.halves(h)
            torch.add(projected, layer.conditioned, out=conditioned)
            torch.add(projected, self.in_bias, out=plain)
        for index, block in enumerate(self.blocks):
            block.run(h, index, wave, scratch)
        for layer in wave:
            step = layer.step
            conditioned, plain = F.layer_norm(layer.halves(h), h.shape[1:], *self.final_norms[step], NORM_EPS)
            velocity = torch.lerp(plain, conditioned, self.blend)
            layer.x.addmm_(velocity, self.final_weight, alpha=self.step_sizes[step]).add_(self.final_biases[step])
            layer.step += 1

    def scratch(self) -> Scratch:
        """New memory for `solve`."""
        return Scratch(self.noise.new_empty(0, dtype=self.dtype), self.config.hidden_size, self.blocks[0].widest)

    def start(self, item: SolverInput) -> Tensor:
        """The noise that a chunk starts from [F, 80]."""
        first = len(item.state.cache)
        return self.noise[first : first + len(item.mu)]

    def condition(self, item: SolverInput) -> Tensor:
        """The contribution of mu, speaker and cond to the first layer [F, C]."""
        row = item.mu @ self.in_mu + item.speaker
        return row if item.cond is None else row + item.cond @ self.in_cond


class Scratch:
    """Memory for temporaries of a block, so that a step allocates almost nothing."""

    def __init__(self, like: Tensor, narrow: int, wide: int) -> None:
        self._sizes = narrow, wide
        self._buffers = [like, like]
        self._residual = like.new_empty((0, narrow), dtype=torch.float32)

    def residual(self, rows: int, width: int) -> Tensor:
        """The residual stream float32 [rows, width]. Makes room for a batch of ``rows``; it never shrinks."""
        if rows > len(self._residual):
            self._residual = self._residual.new_empty(rows, width)
            self._buffers = [old.new_empty(rows * size) for old, size in zip(self._buffers, self._sizes, strict=True)]
        return self._residual[:rows]

    def narrow(self, rows: int, width: int) -> Tensor:
        """[rows, width]; the next call gives the same memory."""
        return self._buffers[0][: rows * width].view(rows, width)

    def wide(self, rows: int, width: int) -> Tensor:
        """[rows, width]; the next call gives the same memory."""
        return self._buffers[1][: rows * width].view(rows, width)


class SolverBlock:
    """One DiT block: packed weights and, for every solver step, its modulations."""

    def __init__(self, block: DiTBlock, times: Tensor, dtype: torch.dtype) -> None:
        attention = block.attn
        self.dtype, self.heads = dtype, attention.heads
        self.qkv = fused_product(attention.to_q, attention.to_k, attention.to_v, dtype=dtype)
        self.head_size = attention.q_norm.normalized_shape
        scale = self.head_size[0] ** -0.5  # of the scores
        self.q_norm = _norm(attention.q_norm, dtype, scale)
        self.k_norm = _norm(attention.k_norm, dtype)
        self.proj = fused_product(attention.proj, dtype=dtype)
        self.convs, self.conv_norm = _conv(block.conv, dtype)
        self.fc1, self.fc2 = (fused_product(layer, dtype=dtype) for layer in (block.mlp.fc1, block.mlp.fc2))
        self.modulations = [_Modulation(row) for row in block.adaLN_modulation(times)]
        products = self.qkv, self.proj, *self.convs, self.fc1, self.fc2
        self.widest = max(max(weight.shape) for weight, _ in products)

    def run(self, h: Tensor, index: int, wave: Sequence[Layer], scratch: Scratch) -> None:
        """h [all rows, C], in place."""
        now = [(layer.rows, self.modulations[layer.step]) for layer in wave]
        normed = self._normed(h, [(rows, at.attention) for rows, at in now])
        _add(h, self._attention(normed, index, wave, scratch), [(rows, at.attention_gate) for rows, at in now])
        normed = self._normed(h, [(rows, at.conv) for rows, at in now])
        _add(h, self._convolution(normed, index, wave, scratch), [(rows, at.conv_gate) for rows, at in now])
        normed = self._normed(h, [(rows, at.mlp) for rows, at in now])
        inner = gelu_tanh_(product(normed, self.fc1, scratch.wide))
        _add(h, product(inner, self.fc2, scratch.narrow), [(rows, at.mlp_gate) for rows, at in now])

    def _normed(self, h: Tensor, modulations: Sequence[tuple[slice, tuple[Tensor, Tensor]]]) -> Tensor:
        """Each layer's rows, modulated for its own step."""
        width = h.shape[1:]
        normed = [F.layer_norm(_part(h, rows), width, scale, shift, NORM_EPS) for rows, (scale, shift) in modulations]
        return _joined(normed).to(self.dtype)

    def _attention(self, x: Tensor, index: int, wave: Sequence[Layer], scratch: Scratch) -> Tensor:
        q, k, v = product(x, self.qkv, scratch.wide).view(len(x), 3, self.heads, -1).unbind(1)
        q = F.layer_norm(q, self.head_size, *self.q_norm)
        k = F.layer_norm(k, self.head_size, *self.k_norm)
        heard = [
            layer.past.attention(layer.step, index, *(layer.halves(rows) for rows in (q, k, v))).flatten(0, 1)
            for layer in wave
        ]
        return product(_joined(heard).flatten(1), self.proj, scratch.narrow)

    def _convolution(self, x: Tensor, index: int, wave: Sequence[Layer], scratch: Scratch) -> Tensor:
        for conv, weights in enumerate(self.convs):
            windows = scratch.wide(len(x), TAPS * x.shape[1])
            taps = windows.view(len(x), TAPS, -1)
            for layer in wave:
                layer.past.windows(layer.step, index, conv, layer.halves(x), layer.halves(taps))
            x = product(windows, weights, scratch.narrow)
            if conv == 0:
                x = mish(F.layer_norm(x, x.shape[-1:], *self.conv_norm))
        return x


def _add(h: Tensor, y: Tensor, gates: Sequence[tuple[slice, Tensor]]) -> None:
    """Add each layer's rows through the gate of its own step."""
    y = y.to(h.dtype)
    for rows, gate in gates:
        _part(h, rows).addcmul_(_part(y, rows), gate)


def _part(batch: Tensor, rows: slice) -> Tensor:
    """A view; the batch itself if it is complete, because views cost time in small batches."""
    return batch if rows.stop - rows.start == len(batch) else batch[rows]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Without a copy if there is one part."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


class _RaggedPast:
    """The pasts of streams of any voice and length: attention runs per stream."""

    def __init__(self, streams: Sequence[_Stream]) -> None:
        self.streams = streams

    def attention(self, step: int, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        heard = q.new_empty(2, q.shape[2], q.shape[1], q.shape[3])
        for stream in self.streams:
            own, slots = stream.cache.own[step, index], stream.slots
            if slots.origins:
                own[..., slots.targets, :] = own[..., slots.origins, :]
            own[0, :, :, stream.place] = k[:, :, stream.rows]
            own[1, :, :, stream.place] = v[:, :, stream.rows]
            prompt_keys, prompt_values = stream.cache.prompt[step, index, ..., : stream.prompt_seen, :].flatten(1, 2)
            own_keys, own_values = own[..., : stream.own_seen, :].flatten(1, 2)
            queries = q[:, :, stream.rows].flatten(0, 1)
            out = attend(queries, [(prompt_keys, prompt_values), (own_keys, own_values)])
            heard[:, stream.rows] = out.view(2, -1, *out.shape[1:]).transpose(1, 2)
        return heard

    def windows(self, step: int, index: int, conv: int, x: Tensor, taps: Tensor) -> None:
        taps[:, :, 2] = x
        taps[:, 1:, 1] = x[:, :-1]
        taps[:, 2:, 0] = x[:, :-2]
        for stream in self.streams:  # at the start of a stream, the rows before belong to another stream
            start, tail = stream.rows.start, stream.tails[step, index, conv]
            taps[:, start : start + CONV_PAST, 0] = tail
            taps[:, start, 1] = tail[:, 1]
            tail.copy_(x[:, stream.rows.stop - CONV_PAST : stream.rows.stop])


class _Stream:
    """One stream during one step: its state, its rows in the batch, and the slots of its new frames."""

    __slots__ = ("cache", "frames", "own_seen", "place", "prompt_seen", "rows", "slots", "tails")

    def __init__(self, state: SolverState, rows: slice) -> None:
        self.cache, self.tails = state.cache, state.tails
        self.rows, self.frames = rows, rows.stop - rows.start
        self.slots = self.cache.reserve(self.frames)
        self.prompt_seen = self.cache.prompt_seen
        self.own_seen = len(self.cache) - self.prompt_seen + self.frames
        first, last = self.slots.new[0], self.slots.new[-1]
        joined = last - first + 1 == self.frames
        self.place = slice(first, last + 1) if joined else torch.tensor(self.slots.new, device=self.tails.device)


class _Modulation:
    """The nine vectors of one block at one time: (1 + scale, shift) replace a LayerNorm's weight and
    bias."""

    __slots__ = ("attention", "attention_gate", "conv", "conv_gate", "mlp", "mlp_gate")

    def __init__(self, row: Tensor) -> None:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m, shift_c, scale_c, gate_c = row.chunk(9)
        self.attention, self.attention_gate = (1 + scale_a, shift_a), gate_a
        self.mlp, self.mlp_gate = (1 + scale_m, shift_m), gate_m
        self.conv, self.conv_gate = (1 + scale_c, shift_c), gate_c


def _conv(conv: CausalConv, dtype: torch.dtype) -> tuple[tuple[Product, Product], tuple[Tensor, Tensor, float]]:
    first, norm, second = conv.block["1"], conv.block["3"], conv.block["6"]
    assert isinstance(first, nn.Conv1d) and isinstance(norm, nn.LayerNorm) and isinstance(second, nn.Conv1d)
    return (conv_product(first, dtype), conv_product(second, dtype)), _norm(norm, dtype)


def _norm(norm: nn.LayerNorm, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor, float]:
    return (norm.weight * scale).to(dtype), (norm.bias * scale).to(dtype), norm.eps
