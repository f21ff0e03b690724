"""Training sequences for the language model: what the product itself would feed, and what is expected back.

Prompts are rendered by `realtime.model.prompt`, message by message; this module adds a loss weight to each id and the
audio that fills the audio positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from realtime.model.features import feature_count
from realtime.model.prompt import TTS_START, assemble, message_pieces
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens, TokenKind
from realtime.ports.messages import Audio, Message
from realtime.ports.tool_calls import ToolCall, render_tool_call, tool_result, tool_schemas
from scripts.nano.data.pseudo_audio import Heard, heard_length
from scripts.nano.data.reply_speech import GROUP, Spoken, reply_ids

_SAMPLES_PER_FEATURE = 1280


class Vocabulary:
    """The tokenizer of a checkpoint folder, with the ids that training asks for."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = TextTokenizer.load(folder)
        self.tokens = SpecialTokens.from_ids(self.tokenizer.ids)
        self.size = len(self.tokenizer)
        self.text_size = min(self.tokenizer.ids.values())
        """Ids below are text; the first added token comes behind them."""
        self.code0 = self.tokens.audio_0
        self.tts_end = self.tokens.tts_end
        self.tts_pad = self.tokens.tts_pad
        self.eot = self.tokens.eot

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a reply; special names and speech codes are left out."""
        return self.tokenizer.decode(i for i in ids if i < self.text_size)

    def decode_reply(self, ids: Sequence[int]) -> str:
        """The text of a reply with the tool calls in it."""
        kinds = (TokenKind.TEXT,)
        return self.tokenizer.decode(i for i in ids if self.tokens.kind(i) in kinds)


@cache
def _silence(count: int) -> Audio:
    """A recording of `count` features: only its length counts."""
    samples = count * _SAMPLES_PER_FEATURE
    while feature_count(samples) > count:
        samples -= 160
    while feature_count(samples) < count:
        samples += 160
    return Audio("heard", np.zeros(samples, np.float32))


@dataclass(slots=True)
class Sequence_:
    """Ids with a loss weight for each (0: given, not predicted) and the audio that starts at a position."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    audio: list[tuple[int, Heard]] = field(default_factory=list)

    def add(self, ids: Sequence[int], weight: float = 0.0) -> None:
        """Append ids that all have one weight."""
        self.ids += ids
        self.weights += [weight] * len(ids)


@dataclass(frozen=True, slots=True)
class Weights:
    """Loss weight of one id by what it is."""

    word: float = 3.0
    pad: float = 1.0
    code: float = 0.6
    end: float = 2.0
    text: float = 1.5
    call: float = 2.5


class Writer:
    """Writes conversations as sequences."""

    def __init__(self, vocabulary: Vocabulary, weights: Weights | None = None) -> None:
        self.v = vocabulary
        self.w = weights or Weights()
        self._rendered: dict[tuple[str, str], tuple[int, ...]] = {}

    def given(self, sequence: Sequence_, message: Message) -> None:
        """Append a turn that is given to the model."""
        if isinstance(message.content, str) and len(message.content) < 100:
            key = (message.role, message.content)
            if key not in self._rendered:
                if len(self._rendered) > 50_000:
                    self._rendered.clear()
                self._rendered[key] = self._ids(message)
            sequence.add(self._rendered[key])
        else:
            sequence.add(self._ids(message))

    def system(self, sequence: Sequence_, text: str) -> None:
        """Append a system turn."""
        self.given(sequence, Message("system", text))

    def tools(self, sequence: Sequence_, schemas: Sequence[dict[str, Any]]) -> None:
        """Append the declaration of tools."""
        self.given(sequence, tool_schemas(schemas))

    def result(self, sequence: Sequence_, text: str) -> None:
        """Append what a tool answered."""
        self.given(sequence, tool_result(text))

    def human_text(self, sequence: Sequence_, text: str) -> None:
        """Append a typed user turn."""
        self.given(sequence, Message("human", text))

    def human_audio(self, sequence: Sequence_, heard: Heard) -> None:
        """Append a spoken user turn."""
        message = Message("human", (_silence(heard_length(heard)),))
        prompt = assemble(message_pieces([message], self.v.tokens), self.v.tokenizer, self.v.tokens)
        (span,) = prompt.spans
        sequence.audio.append((len(sequence.ids) + span.offset, heard))
        sequence.add(prompt.ids)

    def open_reply(self, sequence: Sequence_, speech: bool) -> None:
        """Append the start of the assistant's turn."""
        sequence.add(self._ids(Message("assistant", TTS_START if speech else None, closed=False)))

    def call(self, sequence: Sequence_, call: ToolCall, speech: bool) -> None:
        """Append a tool call as the target; one of a reply in speech stands behind <tts_end>, where nothing is said."""
        ids = self.v.tokenizer.encode(render_tool_call(call))
        opening = [self.v.tts_end, ids[0]] if speech else ids[:1]
        sequence.add(opening, self.w.word)
        sequence.add([*ids[1:], self.v.eot], self.w.call)

    def say(self, sequence: Sequence_, spoken: Spoken, cut: bool = False, aloud_only: bool = False) -> None:
        """Append a spoken reply as the target.

        `cut`: only up to its last word (cheaper, and all that is to be understood). `aloud_only`: its words are given,
        how they sound is to be learned.
        """
        ids = reply_ids(spoken, self.v.tokenizer, self.v.tokens)
        if cut:
            last = max(k for k in range(0, len(ids) - 1, GROUP + 1) if ids[k] != self.v.tts_pad)
            ids = ids[: last + 1]
        sequence.add(ids)
        sequence.weights[-len(ids) :] = [0.0 if aloud_only and i < self.v.text_size else self._weight(i) for i in ids]
        if not cut:
            sequence.add([self.v.eot], self.w.end)

    def write(self, sequence: Sequence_, text: str) -> None:
        """Append a written reply as the target."""
        sequence.add([*self.v.tokenizer.encode(text, special=False), self.v.eot], self.w.text)

    def nothing(self, sequence: Sequence_, speech: bool) -> None:
        """Append an empty reply as the target."""
        sequence.add([self.v.tts_end, self.v.eot] if speech else [self.v.eot], self.w.end)

    def _weight(self, id_: int) -> float:
        if id_ == self.v.tts_pad:
            return self.w.pad
        if id_ == self.v.tts_end:
            return self.w.end
        return self.w.code if id_ >= self.v.code0 else self.w.word

    def _ids(self, message: Message) -> tuple[int, ...]:
        return assemble(message_pieces([message], self.v.tokens), self.v.tokenizer, self.v.tokens).ids
