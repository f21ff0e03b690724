"""The solver's state of one stream: keys and values of past frames, and the edges of its convolutions.

The frames of the voice's prompt are in one read-only tensor that all streams of the voice share; a stream owns only its
own frames. Attention does not depend on positions, so frames may be stored in any order: new frames are written where
trimming made room, and nothing else moves.

Letters: P prompt frames, N solver steps, H heads, K head size, C hidden size. A plain 2 is (with conditions, without).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

RECENT_FRAMES = 100
"""Frames that stay in the cache in addition to as many as the prompt has (the reference's constant)."""
CHUNK_ROOM = 50
"""Frames of a new chunk for which a stream has room from the start: 25 tokens."""

TrimRule = Literal["upstream", "prompt"]
"""What the solver's cache keeps once it has more than prompt + 100 frames.

``upstream``: as the reference, the newest frames (as many as the prompt has) and the 100 oldest kept ones, which are
the end of the prompt. ``prompt``: the whole prompt and the newest 100 frames.
"""


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of the frames of one chunk, and the moves needed before: frames ``origins`` to ``targets``."""

    new: list[int]
    origins: list[int]
    targets: list[int]


class SolverCache:
    """Keys and values: those of the prompt and those of the stream, both [N, depth, 2 (k, v), 2, H, frames, K]."""

    __slots__ = ("__weakref__", "order", "origin", "own", "prompt", "prompt_frames", "rule")

    def __init__(self, prompt: Tensor, own: Tensor, rule: TrimRule) -> None:
        """``prompt``: in the layout of `snapshot`. ``own``: unused memory to write to."""
        self.prompt, self.own = prompt, own
        self.prompt_frames: int = prompt.shape[5]
        self.origin: SolverCache | None = None
        """The snapshot that this was forked from."""
        self.rule = rule
        self.order: list[int] = list(range(self.prompt_frames))
        """The frames kept: prompt frames by number, own frames by P + slot. Newest chunk first (`upstream`), oldest
        frame first (`prompt`)."""

    def __len__(self) -> int:
        return len(self.order)

    @property
    def prompt_seen(self) -> int:
        """The number of frames of ``prompt`` that are kept: the first ones, by its layout."""
        return sum(frame < self.prompt_frames for frame in self.order)

    def reserve(self, count: int) -> Slots:
        """Slots of ``own`` for new frames, so that the stream's frames then fill it from 0 without gaps.

        It moves nothing: call `move`, or move step by step.
        """
        used = {frame - self.prompt_frames for frame in self.order if frame >= self.prompt_frames}
        total = len(used) + count
        if total > self.own.shape[5]:
            self._grow(total, max(used, default=-1) + 1)
        holes = [slot for slot in range(total) if slot not in used]
        strays = sorted(slot for slot in used if slot >= total)
        if strays:  # an earlier chunk was larger
            first = self.prompt_frames
            moved = {first + old: first + new for old, new in zip(strays, holes, strict=False)}
            self.order = [moved.get(frame, frame) for frame in self.order]
        return Slots(holes[len(strays) :], strays, holes[: len(strays)])

    def move(self, slots: Slots) -> None:
        """Execute the moves of ``slots`` in the memory of all steps."""
        if slots.origins:
            self.own[..., slots.targets, :] = self.own[..., slots.origins, :]

    def commit(self, slots: Slots) -> None:
        """Add the frames in ``slots`` as the newest and drop what the rule drops."""
        new = [self.prompt_frames + slot for slot in slots.new]
        self.order = new + self.order if self.rule == "upstream" else self.order + new
        if self.prompt_frames and len(self.order) > self.prompt_frames + RECENT_FRAMES:
            self.order = self.order[: self.prompt_frames] + self.order[-RECENT_FRAMES:]

    def snapshot(self) -> SolverCache:
        """The frames of the prompt's pass, as a prompt to share.

        The last 100 come first. `upstream` drops the other prompt frames, the latest first, so what is left is always
        a prefix of this layout.
        """
        frames = [frame - self.prompt_frames for frame in self.order]
        prompt = self.own[..., frames[-RECENT_FRAMES:] + frames[:-RECENT_FRAMES], :].contiguous()
        return SolverCache(prompt, prompt[..., :0, :].clone(), self.rule)

    @property
    def room(self) -> int:
        """The number of own frames that the rule keeps, plus a chunk."""
        return CHUNK_ROOM + (RECENT_FRAMES if self.rule == "prompt" else max(self.prompt_frames, RECENT_FRAMES))

    def fork(self, own: Tensor | None = None) -> SolverCache:
        """A stream's cache after the same prompt, which is shared. Own frames are stored in ``own``; default: new
        memory for ``room`` frames."""
        if own is None:
            own = self.own.new_empty((*self.own.shape[:5], self.room, self.own.shape[6]))
        fork = SolverCache(self.prompt, own, self.rule)
        fork.origin = self
        return fork

    def frames(self, step: int, block: int) -> Tensor:
        """Keys and values in ``order`` [2 (k, v), 2, H, len, K]; a copy, for inspection."""
        prompt, own = self.prompt[step, block], self.own[step, block]
        late = min(RECENT_FRAMES, self.prompt_frames)
        early = self.prompt_frames - late
        places = [late + frame if frame < early else frame - early for frame in range(self.prompt_frames)]
        rows = [
            prompt[..., places[frame], :] if frame < self.prompt_frames else own[..., frame - self.prompt_frames, :]
            for frame in self.order
        ]
        return torch.stack(rows, dim=3)

    def _grow(self, slots: int, used: int) -> None:
        old = self.own
        self.own = old.new_empty((*old.shape[:5], slots, old.shape[6]))
        self.own[..., :used, :] = old[..., :used, :]


@dataclass(slots=True, eq=False, weakref_slot=True)
class SolverState:
    """The solver's state of one stream."""

    cache: SolverCache
    tails: Tensor
    """[N, depth, 2 (convolution), 2, 2, C]: last two inputs of every convolution."""

    def snapshot(self) -> SolverState:
        """The state after a prompt, ready to be forked."""
        return SolverState(self.cache.snapshot(), self.tails)

    def fork(self) -> SolverState:
        """A stream's state after the same prompt."""
        return SolverState(self.cache.fork(), self.tails.clone())
