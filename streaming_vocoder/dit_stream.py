"""The flow's solver chunk by chunk, for any number of streams at once.

Same function as `dit` with the Euler solver of `flow`, from packed weights: the solver's times are fixed, so
the time embedding and all modulations are a table; q, k and v are one product; a causal convolution is one
product. Both halves of the guidance and the rows of all streams run through every product together; only
attention and the edges of the convolutions look at one stream at a time.

Letters: F new frames of a stream, R frames of all streams, L frames that attention sees, C hidden size, H
heads, K head size, N solver steps. The leading 2 is (with conditions, without).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streaming_vocoder.dit import NORM_EPS, CausalConv, DiTBlock
from streaming_vocoder.flow import Flow, time_grid
from streaming_vocoder.packing import fused_linear, sliding_rows, spans

RECENT_FRAMES = 100
"""Frames that stay in the cache beyond as many as the prompt has (the reference's constant)."""
CHUNK_ROOM = 50
"""Frames for which a stream's cache has room from the start: a chunk of 25 tokens."""
CONV_PAST = 2

TrimRule = Literal["upstream", "prompt"]
"""What stays of the solver's cache once it holds more than prompt + 100 frames.

``upstream``: what the reference keeps, the newest frames (as many as the prompt has) and the 100 oldest kept
ones, which are the end of the prompt. ``prompt``: the whole prompt and the newest 100 frames.
"""


class SlotCache:
    """Keys and values of one stream for every solver step, in slots: [N, depth, 2 (k, v), 2, H, slots, K].

    Attention knows no positions, so a frame may lie in any slot: new frames are written into the slots that
    trimming freed, and nothing else moves.
    """

    __slots__ = ("buffer", "order", "prompt_frames", "rule")

    def __init__(self, buffer: Tensor, rule: TrimRule) -> None:
        self.buffer = buffer
        self.rule = rule
        self.prompt_frames = 0
        self.order: list[int] = []
        """Slots in use: newest chunk first (`upstream`), oldest frame first (`prompt`)."""

    def __len__(self) -> int:
        return len(self.order)

    def reserve(self, count: int) -> list[int]:
        """Slots for ``count`` new frames, such that afterwards all frames fill the slots from 0 without a
        hole."""
        total = len(self.order) + count
        if total > self.buffer.shape[5]:
            self._grow(total)
        used = set(self.order)
        holes = [slot for slot in range(total) if slot not in used]
        strays = [slot for slot in self.order if slot >= total]
        if strays:  # a larger chunk came before
            moved = dict(zip(strays, holes, strict=False))
            self.buffer[..., list(moved.values()), :] = self.buffer[..., strays, :]
            self.order = [moved.get(slot, slot) for slot in self.order]
            holes = holes[len(strays) :]
        return holes

    def commit(self, slots: list[int]) -> None:
        """Counts the frames in ``slots`` as the newest, and forgets what the rule drops."""
        keep = self.prompt_frames + RECENT_FRAMES
        if self.rule == "upstream":
            self.order = slots + self.order
            if self.prompt_frames and len(self.order) > keep:
                self.order = self.order[: self.prompt_frames] + self.order[-RECENT_FRAMES:]
        else:
            self.order = self.order + slots
            if self.prompt_frames and len(self.order) > keep:
                self.order = self.order[: self.prompt_frames] + self.order[-RECENT_FRAMES:]

    def fork(self) -> SlotCache:
        """A copy with room for a chunk."""
        copy = SlotCache(self.buffer, self.rule)
        copy.prompt_frames, copy.order = self.prompt_frames, list(self.order)
        copy._grow(max(len(self.order), self.prompt_frames + RECENT_FRAMES) + CHUNK_ROOM)
        return copy

    def _grow(self, slots: int) -> None:
        old, used = self.buffer, max(self.order, default=-1) + 1
        self.buffer = old.new_empty((*old.shape[:5], slots, old.shape[6]))
        self.buffer[..., :used, :] = old[..., :used, :]


@dataclass(slots=True, eq=False)
class SolverState:
    """What the solver remembers of one stream."""

    cache: SlotCache
    tails: Tensor
    """[N, depth, 2 (convolution), 2, 2, C]: last two inputs of every convolution."""

    def fork(self) -> SolverState:
        """A copy that goes its own way."""
        return SolverState(self.cache.fork(), self.tails.clone())


@dataclass(frozen=True, slots=True, eq=False)
class SolverInput:
    """One chunk of one stream: mu [F, 80], ``speaker`` [C] from `StreamingSolver.speaker_row`, cond [F, 80]
    or None for zeros."""

    state: SolverState
    mu: Tensor
    speaker: Tensor
    cond: Tensor | None = None


class StreamingSolver:
    """mu of many streams -> their mels (in the flow's own range). Packed from a `Flow`, which it does not
    keep."""

    def __init__(self, flow: Flow, steps: int, noise: Tensor, rule: TrimRule) -> None:
        """noise: buffer [1, 80, frames]; a chunk starts from the slice that begins at its stream's cache
        length."""
        estimator = flow.decoder.estimator
        config = estimator.config
        self.config, self.rule, self.steps = config, rule, steps
        self.noise = noise[0].T.contiguous()
        grid = time_grid(steps)
        self.step_sizes: list[float] = (grid[1:] - grid[:-1]).tolist()
        times = estimator.t_embedder(grid[:-1].to(self.noise.device))
        self.blocks = [_Block(block, times) for block in estimator.blocks if isinstance(block, DiTBlock)]
        self.blend = 1.0 + flow.decoder.guidance
        mel = config.out_channels
        weight = estimator.in_proj.weight
        self.in_x, self.in_mu, self.in_speaker, self.in_cond = (
            weight[:, start : start + mel].contiguous() for start in range(0, 4 * mel, mel)
        )
        self.in_bias = estimator.in_proj.bias
        final = estimator.final_layer
        shift, scale = final.adaLN_modulation(times).chunk(2, dim=-1)
        self.final_norms = list(zip((1 + scale).unbind(0), shift.contiguous().unbind(0), strict=True))
        self.final_weight = final.linear.weight.T
        self.final_biases = [final.linear.bias * size for size in self.step_sizes]

    def fresh_state(self) -> SolverState:
        """The state before any frame."""
        config = self.config
        shape = (self.steps, config.depth)
        buffer = self.noise.new_empty((*shape, 2, 2, config.num_heads, 0, config.head_dim))
        tails = self.noise.new_zeros((*shape, 2, 2, CONV_PAST, config.hidden_size))
        return SolverState(SlotCache(buffer, self.rule), tails)

    def speaker_row(self, speaker: Tensor) -> Tensor:
        """Projected speaker [80] -> its constant part of the input layer [C]."""
        return F.linear(speaker, self.in_speaker, self.in_bias)

    def step(self, inputs: Sequence[SolverInput]) -> list[Tensor]:
        """One chunk a stream -> mels [F, 80]; the states move on."""
        streams = [_Stream(item.state, len(item.mu)) for item in inputs]
        counts = [stream.frames for stream in streams]
        x = torch.cat([self._noise(stream) for stream in streams])
        conditioned = torch.cat([self._condition(item) for item in inputs])
        rows, width = conditioned.shape
        h = conditioned.new_empty(2, rows, width)
        for step, size in enumerate(self.step_sizes):
            projected = F.linear(x, self.in_x)
            torch.add(projected, conditioned, out=h[0])
            torch.add(projected, self.in_bias, out=h[1])
            for index, block in enumerate(self.blocks):
                block.run(h, step, index, streams)
            y = F.layer_norm(h, (width,), *self.final_norms[step], NORM_EPS)
            velocity = torch.lerp(y[1], y[0], self.blend)
            x.addmm_(velocity, self.final_weight, alpha=size).add_(self.final_biases[step])
        for stream in streams:
            stream.state.cache.commit(stream.slots)
        return list(torch.split(x, counts))

    def _noise(self, stream: _Stream) -> Tensor:
        start = len(stream.state.cache)
        return self.noise[start : start + stream.frames]

    def _condition(self, item: SolverInput) -> Tensor:
        row = F.linear(item.mu, self.in_mu) + item.speaker
        return row if item.cond is None else row + F.linear(item.cond, self.in_cond)


class _Stream:
    """One stream during one step: its state and where its new frames go."""

    __slots__ = ("frames", "length", "place", "slots", "state")

    def __init__(self, state: SolverState, frames: int) -> None:
        self.state = state
        self.frames = frames
        self.slots = state.cache.reserve(frames)
        self.length = len(state.cache) + frames
        first, last = self.slots[0], self.slots[-1]
        joined = last - first + 1 == frames
        self.place = slice(first, last + 1) if joined else torch.tensor(self.slots, device=state.tails.device)


class _Block:
    """One DiT block: packed weights and, for every solver step, its modulations."""

    def __init__(self, block: DiTBlock, times: Tensor) -> None:
        attention = block.attn
        self.heads = attention.heads
        self.qkv = fused_linear(attention.to_q, attention.to_k, attention.to_v)
        self.head_size = attention.q_norm.normalized_shape
        self.q_norm = attention.q_norm.weight, attention.q_norm.bias, attention.q_norm.eps
        self.k_norm = attention.k_norm.weight, attention.k_norm.bias, attention.k_norm.eps
        self.proj = attention.proj.weight, attention.proj.bias
        self.convs, self.conv_norm = _conv(block.conv)
        self.fc1 = block.mlp.fc1.weight, block.mlp.fc1.bias
        self.fc2 = block.mlp.fc2.weight, block.mlp.fc2.bias
        self.modulations = [_Modulation(row) for row in block.adaLN_modulation(times)]

    def run(self, h: Tensor, step: int, index: int, streams: Sequence[_Stream]) -> None:
        """h [2, R, C], in place."""
        now, width = self.modulations[step], h.shape[-1:]
        normed = F.layer_norm(h, width, *now.attention, NORM_EPS)
        h.addcmul_(self._attention(normed, step, index, streams), now.attention_gate)
        normed = F.layer_norm(h, width, *now.conv, NORM_EPS)
        h.addcmul_(self._convolution(normed, step, index, streams), now.conv_gate)
        normed = F.layer_norm(h, width, *now.mlp, NORM_EPS)
        inner = F.gelu(F.linear(normed, *self.fc1), approximate="tanh")
        h.addcmul_(F.linear(inner, *self.fc2), now.mlp_gate)

    def _attention(self, x: Tensor, step: int, index: int, streams: Sequence[_Stream]) -> Tensor:
        q, k, v = F.linear(x, *self.qkv).view(*x.shape[:2], 3, self.heads, -1).unbind(2)
        q = F.layer_norm(q, self.head_size, *self.q_norm).transpose(1, 2)
        k = F.layer_norm(k, self.head_size, *self.k_norm).transpose(1, 2)
        v = v.transpose(1, 2)
        heard = []
        for stream, rows in zip(streams, spans([stream.frames for stream in streams]), strict=True):
            keys, values = stream.state.cache.buffer[step, index].unbind(0)
            keys[:, :, stream.place] = k[:, :, rows]
            values[:, :, stream.place] = v[:, :, rows]
            seen = slice(0, stream.length)
            out = F.scaled_dot_product_attention(q[:, :, rows], keys[:, :, seen], values[:, :, seen])
            heard.append(out.transpose(1, 2).flatten(2))
        return F.linear(heard[0] if len(heard) == 1 else torch.cat(heard, dim=1), *self.proj)

    def _convolution(self, x: Tensor, step: int, index: int, streams: Sequence[_Stream]) -> Tensor:
        (first, second), width = self.convs, x.shape[-1:]
        x = F.linear(self._windows(x, step, index, 0, streams), *first)
        x = F.mish(F.layer_norm(x, width, *self.conv_norm), inplace=True)
        return F.linear(self._windows(x, step, index, 1, streams), *second)

    def _windows(self, x: Tensor, step: int, index: int, conv: int, streams: Sequence[_Stream]) -> Tensor:
        """[2, R, C] -> what the convolution sees at each place [2, R, 3 C]; keeps each stream's last two
        inputs."""
        windows = []
        for stream, rows in zip(streams, spans([stream.frames for stream in streams]), strict=True):
            tail = stream.state.tails[step, index, conv]
            joined = torch.cat((tail, x[:, rows]), dim=1)
            tail.copy_(joined[:, -CONV_PAST:])
            windows.append(sliding_rows(joined, CONV_PAST + 1))
        return windows[0] if len(windows) == 1 else torch.cat(windows, dim=1)


class _Modulation:
    """The nine vectors of one block at one time: (1 + scale, shift) stand in for a LayerNorm's weight and
    bias."""

    __slots__ = ("attention", "attention_gate", "conv", "conv_gate", "mlp", "mlp_gate")

    def __init__(self, row: Tensor) -> None:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m, shift_c, scale_c, gate_c = row.chunk(9)
        self.attention, self.attention_gate = (1 + scale_a, shift_a), gate_a
        self.mlp, self.mlp_gate = (1 + scale_m, shift_m), gate_m
        self.conv, self.conv_gate = (1 + scale_c, shift_c), gate_c


def _conv(
    conv: CausalConv,
) -> tuple[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]], tuple[Tensor, Tensor, float]]:
    first, norm, second = conv.block["1"], conv.block["3"], conv.block["6"]
    assert isinstance(first, nn.Conv1d) and isinstance(norm, nn.LayerNorm) and isinstance(second, nn.Conv1d)
    assert first.bias is not None and second.bias is not None
    rows = [layer.weight.transpose(1, 2).flatten(1).contiguous() for layer in (first, second)]
    return ((rows[0], first.bias), (rows[1], second.bias)), (norm.weight, norm.bias, norm.eps)
