"""The solver with fixed shapes: streams of one voice and one chunk length as one batch, on CUDA as a graph.

The ragged path (`dit_stream`) processes one stream after the other, which on a GPU costs more in kernel launches than
in arithmetic. Here the streams' pasts are in one `Pool`, a step finds them by index, and missing frames are masked, so
every step runs the same operations on the same memory. On CUDA they are captured once per shape and replayed; elsewhere
(in tests) they run directly.

Letters: S streams of a batch, F frames of a chunk, P prompt frames, L slots of a stream; others as in `dit_stream`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary, finalize

import torch
from torch import Tensor

from streaming_vocoder.dit_stream import CONV_PAST, TAPS, Layer, Scratch, SolverInput, StreamingSolver
from streaming_vocoder.packing import turns
from streaming_vocoder.solver_cache import CHUNK_ROOM, RECENT_FRAMES, SolverCache, SolverState

BATCHES = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256)
"""Batches are padded to one of these sizes: few graphs, little waste."""
DUMMY = 0
"""The pool's row used for padding."""


class Pool:
    """Memory of a number of streams, and one row for padding: keys and values [row, N, depth, 2 (k, v), 2, H,
    L, K], convolutions' tails [row, N, depth, 2, 2, 2, C]."""

    def __init__(self, solver: StreamingSolver, streams: int) -> None:
        config, shape = solver.config, (streams + 1, solver.steps, solver.config.depth)
        like = solver.noise.new_empty(0, dtype=solver.dtype)
        slots = RECENT_FRAMES + CHUNK_ROOM
        self.caches = like.new_zeros((*shape, 2, 2, config.num_heads, slots, config.head_dim))
        self.tails = like.new_zeros((*shape, 2, 2, CONV_PAST, config.hidden_size))
        self._free = list(range(streams, DUMMY, -1))
        self._rows: WeakKeyDictionary[SolverState, int] = WeakKeyDictionary()

    def fork(self, prompt: SolverState) -> SolverState:
        """Like `SolverState.fork`, in the pool while it has a free row. A deleted stream returns its row."""
        if not self._free:
            return prompt.fork()
        row = self._free.pop()
        self.caches[row].zero_()  # masked values are multiplied with zero and must not be NaN
        self.tails[row].copy_(prompt.tails)
        state = SolverState(prompt.cache.fork(self.caches[row]), self.tails[row])
        self._rows[state] = row
        finalize(state, self._free.append, row).atexit = False
        return state

    def row(self, state: SolverState) -> int | None:
        """The stream's row; None if it is not in the pool."""
        row = self._rows.get(state)
        return None if row is None or state.cache.own.data_ptr() != self.caches[row].data_ptr() else row


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """The rows of a batch's streams in the pool and what they see of it: tensors that a graph reads."""

    rows: Tensor
    """int64 [S]."""
    slots: Tensor
    """int64 [S, F]: slots of the new frames."""
    mask: Tensor
    """[S, 1, 1, 1, L]: 0 for visible slots, else minus infinity."""


class _PooledPast:
    """`dit_stream.Past` of streams in a pool, all with F new frames."""

    def __init__(self, pool: Pool, prompt: Tensor, place: _Place) -> None:
        self.pool, self.prompt, self.place = pool, prompt, place

    def attention(self, step: int, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, slots, (streams, frames) = self.place.rows, self.place.slots, self.place.slots.shape
        caches = self.pool.caches[:, step, index]  # [row, 2 (k, v), 2, H, L, K]
        new = torch.stack((k, v)).view(2, 2, streams, frames, *k.shape[2:])  # [2 (k, v), 2, S, F, H, K]
        caches[rows[:, None], :, :, :, slots] = new.permute(2, 3, 0, 1, 4, 5)
        keys, values = caches.index_select(0, rows).unbind(1)  # [S, 2, H, L, K]
        prompt_keys, prompt_values = self.prompt[step, index]  # [2, H, P, K]
        queries = q.view(2, streams, frames, *q.shape[2:]).permute(1, 0, 3, 2, 4)  # [S, 2, H, F, K]
        # The prompt is the same for all streams: one product over the rows of all.
        of_prompt = q.transpose(1, 2) @ prompt_keys.transpose(2, 3)  # [2, H, S F, P]
        of_prompt = of_prompt.view(*of_prompt.shape[:2], streams, frames, -1).permute(2, 0, 1, 3, 4)
        of_own = queries @ keys.transpose(3, 4) + self.place.mask
        weights = torch.softmax(torch.cat((of_prompt, of_own), dim=4), dim=4)
        of_own = weights[..., prompt_keys.shape[2] :]
        of_prompt = weights[..., : prompt_keys.shape[2]]
        heard = (of_own @ values).permute(1, 0, 3, 2, 4)  # [2, S, F, H, K]
        prompt_heard = of_prompt.permute(1, 2, 0, 3, 4).flatten(2, 3) @ prompt_values  # [2, H, S F, K]
        return torch.add(heard.flatten(1, 2), prompt_heard.transpose(1, 2)).contiguous()

    def windows(self, step: int, index: int, conv: int, x: Tensor, taps: Tensor) -> None:
        rows, (streams, frames) = self.place.rows, self.place.slots.shape
        tails = self.pool.tails[:, step, index, conv]  # [row, 2, 2, C]
        now = x.view(2, streams, frames, -1)  # [2, S, F, C]
        joined = torch.cat((tails.index_select(0, rows).transpose(0, 1), now), dim=2)
        tails.index_copy_(0, rows, joined[:, :, -CONV_PAST:].transpose(0, 1))
        windows = taps.view(2, streams, frames, TAPS, -1)
        for tap in range(TAPS):
            windows[:, :, :, tap] = joined[:, :, tap : tap + frames]


class _Shape:
    """The memory of one (voice, S, F), and its graph."""

    def __init__(self, solver: StreamingSolver, pool: Pool, prompt: Tensor, streams: int, frames: int) -> None:
        device, noise = solver.noise.device, solver.noise
        self.place = _Place(
            torch.zeros(streams, dtype=torch.long, device=device),
            torch.arange(frames, device=device).expand(streams, -1).clone(),
            noise.new_zeros((streams, 1, 1, 1, pool.caches.shape[6]), dtype=solver.dtype),
        )
        self.x = noise.new_zeros((streams * frames, noise.shape[1]))
        self.conditioned = noise.new_zeros((streams * frames, solver.config.hidden_size))
        self._solver = solver
        self._past = _PooledPast(pool, prompt, self.place)
        self._scratch: Scratch = solver.scratch()
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> Tensor:
        """Run on the inputs -> mels [S F, 80], which the next call overwrites."""
        if self.x.device.type != "cuda":
            self._solve()
        elif self._graph is None:
            self._capture()
        if self._graph is not None:
            self._graph.replay()
        return self.x

    def _solve(self) -> None:
        self._solver.solve([Layer(self.x, self.conditioned, self._past)], self._scratch)

    def _capture(self) -> None:
        """Capture the graph. Libraries need one run before, which uses the padding row; capturing itself does not
        run."""
        inputs = [self.place.rows, self.place.slots, self.place.mask, self.x, self.conditioned]
        kept = [tensor.clone() for tensor in inputs]
        self.place.rows.fill_(DUMMY)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._solve()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._solve()
        for tensor, content in zip(inputs, kept, strict=True):
            tensor.copy_(content)


class FixedSolver:
    """Solves the chunks that have one of the fixed lengths and whose streams are in the pool."""

    def __init__(self, solver: StreamingSolver, streams: int, frames: Sequence[int]) -> None:
        """``streams``: size of the pool. ``frames``: the fixed lengths. `VocoderOptions` validates both."""
        self.pool = Pool(solver, streams)
        self._solver, self._frames = solver, frozenset(frames)
        self._batches = [size for size in BATCHES if size < streams] + [_batch_size(streams)]
        self._shapes: WeakKeyDictionary[SolverCache, dict[tuple[int, int], _Shape]] = WeakKeyDictionary()

    def step(self, inputs: Sequence[SolverInput]) -> list[Tensor]:
        """Like `StreamingSolver.step`, with fixed shapes where possible. Chunks of one stream run one after the
        other."""
        mels: dict[int, Tensor] = {}
        for members in turns([item.state for item in inputs]):
            mels.update(zip(members, self._turn([inputs[index] for index in members]), strict=True))
        return [mels[index] for index in range(len(inputs))]

    def _turn(self, inputs: Sequence[SolverInput]) -> list[Tensor]:
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        ragged: list[int] = []
        for index, item in enumerate(inputs):
            fixed = len(item.mu) in self._frames and self.pool.row(item.state) is not None
            (groups[id(item.state.cache.origin), len(item.mu)] if fixed else ragged).append(index)
        mels: dict[int, Tensor] = {}
        for members in groups.values():
            for part in _parts(members):
                mels.update(zip(part, self._group([inputs[i] for i in part]), strict=True))
        if ragged:
            mels.update(zip(ragged, self._solver.step([inputs[i] for i in ragged]), strict=True))
        return [mels[index] for index in range(len(inputs))]

    def _group(self, inputs: Sequence[SolverInput]) -> list[Tensor]:
        caches, frames = [item.state.cache for item in inputs], len(inputs[0].mu)
        slots = [cache.reserve(frames) for cache in caches]
        for cache, taken in zip(caches, slots, strict=True):
            cache.move(taken)
        origin = caches[0].origin
        assert origin is not None  # streams of the pool are forks
        shape = self._shape(origin, _batch_size(len(inputs)), frames)
        place, count = shape.place, len(inputs)
        rows = [self.pool.row(item.state) or DUMMY for item in inputs]
        place.rows.copy_(torch.tensor(rows + [DUMMY] * (len(place.rows) - count)))
        place.slots[:count].copy_(torch.tensor([taken.new for taken in slots]))
        seen = torch.tensor([len(cache) - cache.prompt_frames + frames for cache in caches])
        unseen = torch.arange(place.mask.shape[4]) >= seen[:, None]
        place.mask.zero_()  # padding rows see everything, so that they stay finite
        place.mask[:count, 0, 0, 0].masked_fill_(unseen.to(place.mask.device), -torch.inf)
        for memory, parts in (
            (shape.x, map(self._solver.start, inputs)),
            (shape.conditioned, map(self._solver.condition, inputs)),
        ):
            memory.zero_()
            memory[: count * frames] = torch.cat(list(parts))
        made = shape.run()[: count * frames].clone()
        for cache, taken in zip(caches, slots, strict=True):
            cache.commit(taken)
        return list(torch.split(made, frames))

    def prepare(self, prompt: SolverState) -> None:
        """Run every shape of this voice once on the padding row, because capturing a graph later would delay a
        reply."""
        for frames in sorted(self._frames):
            for batch in self._batches:
                self._shape(prompt.cache, batch, frames).run()

    def _shape(self, prompt: SolverCache, batch: int, frames: int) -> _Shape:
        shapes = self._shapes.setdefault(prompt, {})
        if (batch, frames) not in shapes:
            shapes[batch, frames] = _Shape(self._solver, self.pool, prompt.prompt, batch, frames)
        return shapes[batch, frames]


def _batch_size(streams: int) -> int:
    return next((size for size in BATCHES if size >= streams), BATCHES[-1])


def _parts(members: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(members), BATCHES[-1]):
        yield members[start : start + BATCHES[-1]]
