"""What is said to the model: a conversation as roles and parts. A leaf: no torch, no token ids.

Sessions write these, `realtime.model.prompt` renders them into token ids. Parts carry an ``id`` where the
engine may cache what it computed from them (audio features).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MODEL_SAMPLE_RATE = 16_000
"""Rate of all audio given to the model, in Hz."""

Role = Literal["system", "tool_json_schemas", "human", "assistant", "input", "function_output", "plain"]
"""``plain`` is no turn: its parts stand in the prompt as they are, as the base model was trained."""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, tokenized on its own."""

    text: str


SEGMENT_SAMPLES = 25 * MODEL_SAMPLE_RATE
"""A recording is encoded in segments of this length. Within one, every feature depends on all of it; a full one stays
as it is, however the recording goes on."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Speech of the user: float32 [n] mono at 16 kHz in [-1, 1].

    ``id`` names the recording, which may still grow: of two parts with one id, one is the beginning of the other, and
    those of one length are equal.
    """

    id: str
    samples: NDArray[np.float32] = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Audio) and (self.id, len(self.samples)) == (other.id, len(other.samples))

    def __hash__(self) -> int:
        return hash((self.id, len(self.samples)))


@dataclass(frozen=True, slots=True)
class Tokens:
    """An earlier reply as the ids the model produced, replayed as they are (spec/model.md section 8).

    ``heard_samples``: how much of its speech was played, in samples at 24 kHz; None: all of it. The prompt keeps the
    speech up to that point and the words that were spoken by then. ``speech`` False: only the words and the tool calls
    are told, as of a written reply. ``speed``: how much faster than the model spoke it was played.
    """

    ids: tuple[int, ...]
    heard_samples: int | None = None
    speech: bool = True
    speed: float = 1.0

    @property
    def heard_of_model(self) -> int | None:
        """``heard_samples`` as the model spoke them, before the speed was changed."""
        return None if self.heard_samples is None else int(self.heard_samples * self.speed)


Part = Text | Audio | Tokens


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``content``: a string (one piece with its header), parts, or None (an open turn, header only).

    ``closed`` False leaves out the end-of-turn token: the model continues this very turn.
    """

    role: Role
    content: str | tuple[Part, ...] | None
    closed: bool = True
