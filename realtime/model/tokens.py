"""Special token ids, found by name: the code that uses them holds no number of the official vocabulary."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from realtime.errors import CheckpointError

SPEECH_PADDING_NAMES = ("<audio_6561>", "<audio_pad>")
"""The id after the last speech code: official name first, then the one of small test vocabularies."""

# Ids that stand in upstream's code or documentation (spec/model.md section 6): with a tokenizer that looks
# like the official one but numbers these otherwise, the model would speak nonsense.
_OFFICIAL_IDS = {
    "endoftext": 151643,
    "eot": 151665,
    "audio_start": 151688,
    "audio_end": 151689,
    "audio_patch": 151690,
    "tts_start": 151693,
    "tts_end": 151694,
    "audio_0": 151696,
}


class TokenKind(enum.Enum):
    """What a generated id stands for."""

    TEXT = enum.auto()
    SPEECH = enum.auto()
    PADDING = enum.auto()
    """Nothing said in this slot: of the text channel or of the speech channel."""
    TTS_END = enum.auto()
    STOP = enum.auto()
    OTHER = enum.auto()
    """Dropped: a marker that has no place in a reply, or an id outside the vocabulary."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The ids that the prompt format and the speech output are made of."""

    endoftext: int
    eot: int
    bot: int
    tool_call: int
    tool_call_end: int
    audio_start: int
    audio_end: int
    audio_patch: int
    tts_start: int
    tts_end: int
    tts_pad: int
    audio_0: int
    speech_padding: int

    @classmethod
    def from_ids(cls, ids: Mapping[str, int]) -> Self:
        """Look the names up. Raises `CheckpointError` naming every one missing or out of place."""
        found = {field: next((ids[name] for name in names if name in ids), None) for field, names in _NAMES.items()}
        missing = [" or ".join(_NAMES[field]) for field, id_ in found.items() if id_ is None]
        if missing:
            raise CheckpointError(f"the tokenizer lacks the special tokens {', '.join(missing)}")
        tokens = cls(**{field: id_ for field, id_ in found.items() if id_ is not None})
        problems = tokens._problems()
        if problems:
            raise CheckpointError("the tokenizer's special tokens are out of order: " + "; ".join(problems))
        return tokens

    @property
    def speech_codes(self) -> int:
        """How many speech codes there are (official: 6561)."""
        return self.speech_padding - self.audio_0

    @property
    def stop_ids(self) -> tuple[int, int]:
        """A reply ends at one of these. Instruct models stop on the first, base models on the second."""
        return self.eot, self.endoftext

    def kind(self, id_: int) -> TokenKind:
        """Classify a generated id by its number alone; the model's pattern is not relied on."""
        if id_ >= self.audio_0:
            if id_ < self.speech_padding:
                return TokenKind.SPEECH
            return TokenKind.PADDING if id_ == self.speech_padding else TokenKind.OTHER
        if id_ == self.tts_pad:
            return TokenKind.PADDING
        if id_ == self.tts_end:
            return TokenKind.TTS_END
        if id_ in self.stop_ids:
            return TokenKind.STOP
        return TokenKind.TEXT if id_ < self.audio_start else TokenKind.OTHER

    def speech_code(self, id_: int) -> int:
        """The vocoder's number, 0..speech_codes - 1, of an id of kind SPEECH."""
        return id_ - self.audio_0

    def _problems(self) -> list[str]:
        values = dataclasses.asdict(self)
        problems = []
        if not self.audio_start < self.tts_start < self.tts_end < self.tts_pad < self.audio_0 < self.speech_padding:
            problems.append(f"expected audio_start < tts_start < tts_end < tts_pad < audio_0 < padding, got {values}")
        if self.endoftext == _OFFICIAL_IDS["endoftext"]:
            problems += [
                f"{field} is {values[field]}, officially {id_}"
                for field, id_ in _OFFICIAL_IDS.items()
                if values[field] != id_
            ]
        return problems


_NAMES: dict[str, tuple[str, ...]] = {
    "endoftext": ("<|endoftext|>",),
    "eot": ("<|EOT|>",),
    "bot": ("<|BOT|>",),
    "tool_call": ("<tool_call>",),
    "tool_call_end": ("</tool_call>",),
    "audio_start": ("<audio_start>",),
    "audio_end": ("<audio_end>",),
    "audio_patch": ("<audio_patch>",),
    "tts_start": ("<tts_start>",),
    "tts_end": ("<tts_end>",),
    "tts_pad": ("<tts_pad>",),
    "audio_0": ("<audio_0>",),
    "speech_padding": SPEECH_PADDING_NAMES,
}
