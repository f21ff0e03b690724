"""Special token ids, looked up by name: no other code contains ids of the official vocabulary."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from realtime.errors import CheckpointError

SPEECH_PADDING_NAMES = ("<audio_6561>", "<audio_pad>")
"""The id after the last speech code: official name first, then the one of small test vocabularies."""

# Ids that upstream's code or documentation states. With a tokenizer that looks like the official one but has other ids,
# the model would produce noise.
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
    """The meaning of a generated id."""

    TEXT = enum.auto()
    SPEECH = enum.auto()
    PADDING = enum.auto()
    """An empty slot of the text or the speech channel."""
    TTS_END = enum.auto()
    STOP = enum.auto()
    OTHER = enum.auto()
    """Ignored: a marker that does not belong in a reply, or an id outside the vocabulary."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The ids of the prompt format and of the speech output."""

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
        """Look up the names. Raises `CheckpointError` with every missing or misplaced one."""
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
        """The number of speech codes (official: 6561)."""
        return self.speech_padding - self.audio_0

    @property
    def stop_ids(self) -> tuple[int, int]:
        """The ids that end a reply. Instruct models stop on the first, base models on the second."""
        return self.eot, self.endoftext

    def kind(self, id_: int) -> TokenKind:
        """Classify a generated id by its number, without assuming the interleaving pattern."""
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
