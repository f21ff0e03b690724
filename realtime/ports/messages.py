"""What the model is given: a conversation as roles and parts. A leaf: no torch, no tokenizer.

Sessions write messages with their content (`Audio`, `Tokens`). On the engine's port the content goes once, under an id,
and messages refer to it (`AudioRef`, `ReplyRef`). `realtime.model.prompt` renders messages into token ids.
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
    """A piece of text, tokenized on its own.

    ``control``: names of special tokens in it are these tokens. Only for the server's own text: what a client, a tool
    or a model wrote stays text, whatever it spells.
    """

    text: str
    control: bool = False


SEGMENT_SAMPLES = 25 * MODEL_SAMPLE_RATE
"""A recording is encoded in segments of this length. Within one, every feature depends on all of it; a full one stays
as it is, however the recording goes on."""


@dataclass(frozen=True, slots=True)
class AudioRef:
    """Speech of the user that the engine's conversation holds: the first ``recorded`` samples of the recording ``id``
    and ``silence`` zeros behind them."""

    id: str
    recorded: int
    silence: int = 0

    @property
    def length(self) -> int:
        """Samples in all."""
        return self.recorded + self.silence


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Speech of the user: float32 [n] mono at 16 kHz in [-1, 1], its last ``silence`` samples zeros that were added.

    ``id`` names the recording, which may still grow: of two parts with one id, the recorded samples of one are the
    beginning of the other's.
    """

    id: str
    samples: NDArray[np.float32] = field(repr=False)
    silence: int = 0

    @property
    def length(self) -> int:
        """Samples in all."""
        return len(self.samples)

    @property
    def recorded(self) -> int:
        """Samples before the silence that was added."""
        return len(self.samples) - self.silence

    @property
    def ref(self) -> AudioRef:
        return AudioRef(self.id, self.recorded, self.silence)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, float32."""
        return self.samples[start:stop]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Audio) and self.ref == other.ref

    def __hash__(self) -> int:
        return hash(self.ref)


@dataclass(frozen=True, slots=True)
class Tokens:
    """An earlier reply as the ids that the model produced (spec/model.md section 8).

    ``heard_samples``: how much of its speech was played, in samples at 24 kHz; None: all of it. The prompt keeps the
    speech up to that point and the words spoken by then. ``speech`` False: the prompt keeps the words and the tool
    calls, as of a written reply. ``speed``: playback speed relative to the model's own.
    """

    ids: tuple[int, ...]
    heard_samples: int | None = None
    speech: bool = True
    speed: float = 1.0

    @property
    def heard_of_model(self) -> int | None:
        """``heard_samples`` as the model spoke them, before the speed was changed."""
        return None if self.heard_samples is None else int(self.heard_samples * self.speed)


@dataclass(frozen=True, slots=True)
class ReplyRef:
    """An earlier reply whose ids the engine's conversation holds under ``id``. The other fields are those of
    `Tokens`."""

    id: str
    heard_samples: int | None = None
    speech: bool = True
    speed: float = 1.0


Part = Text | Audio | AudioRef | Tokens | ReplyRef


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``content``: a string (one piece with its header), parts, or None (an open turn, header only).

    ``closed`` False leaves out the end-of-turn token: the model continues this very turn. The string of an open
    assistant's turn is control text of the server, any other string is text. ``call_id``: of the call
    whose result this is; the prompt does not show it.
    """

    role: Role
    content: str | tuple[Part, ...] | None
    closed: bool = True
    call_id: str = field(default="", compare=False)
