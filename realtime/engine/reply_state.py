"""The state of one reply while it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from realtime.engine.repetition import RepetitionDetector
from realtime.engine.sequence import Slot
from realtime.model.constraints import CallConstraint
from realtime.model.interleave import GROUP_SPEECH_IDS
from realtime.model.reply_decoder import ReplyDecoder
from realtime.model.sampling import Sampler
from realtime.ports.engine import TokenDelta, TokenLogProb


@dataclass(slots=True, eq=False)
class DecodeState:
    """One reply in the making. ``cached_ids``: the new ids that the KV cache holds (all but the newest)."""

    slot: Slot
    sampler: Sampler
    reply: ReplyDecoder
    calls: CallConstraint
    room: int
    """How many ids may still come."""
    newest: int = 0
    cached_ids: list[int] = field(default_factory=list)
    finished: Literal["stop", "length", "looped", "silent"] | None = None
    fault: BaseException | None = None
    """What choosing its newest id came to, where that failed: this reply ends, those decoded beside it go on."""
    text_count: int = 0
    audio_count: int = 0
    malformed: bool = False
    """Whether markup was left out of its words."""
    rest: str = ""
    """Once finished: the text behind the words (tool calls), made of the reply's last ``rest_count`` ids."""
    rest_count: int = 0
    surplus: int = 0
    """Once finished: how many of the reply's last ids said nothing new."""
    watch: RepetitionDetector = field(default_factory=RepetitionDetector)
    logprobs: list[TokenLogProb] | None = None
    """Of the text ids since the last delta; None: not asked for."""
    end_logprob: float | None = None
    """Of the id that ended the reply."""
    call_confidence: float = 0.0
    """See `SamplingParams`."""
    without_calls: Callable[[], None] = lambda: None
    """Begins the reply again, this time without calls."""
    _ids: list[int] = field(default_factory=list)
    _text: str = ""
    _codes: list[int] = field(default_factory=list)
    _handed_out: bool = False

    @property
    def nothing_delivered(self) -> bool:
        """Whether nothing of the reply was handed out, nor is there to be but what stands behind its words."""
        return not self._handed_out and not self._text and not self._codes

    def take_delta(self) -> TokenDelta | None:
        """What has come since the last call, once it is a whole group of text and speech (or the reply's end)."""
        if not self._ids or not (self.finished or self._text or len(self._codes) >= GROUP_SPEECH_IDS):
            return None
        delta = TokenDelta(self._text, tuple(self._codes), tuple(self._ids), logprobs=tuple(self.logprobs or ()))
        self._ids, self._text, self._codes = [], "", []
        self._handed_out = True
        if self.logprobs is not None:
            self.logprobs = []
        return delta
