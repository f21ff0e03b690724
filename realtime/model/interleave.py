"""The TA4 pattern of spoken replies: groups of 1 text id and 4 speech ids, in one stream of ids.

The pattern is a habit of the model, enforced by nothing: everything here classifies ids by number, never by
position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from realtime.model.tokens import SpecialTokens, TokenKind

GROUP_SPEECH_IDS = 4
SAMPLES_PER_CODE = 960
"""One speech code is 40 ms: 960 samples of the vocoder's 24 kHz output."""


def interleave(
    text_ids: Sequence[int], speech_ids: Sequence[int], tokens: SpecialTokens, *, pad_short: bool = True
) -> list[int]:
    """Rebuild a reply from its text ids and speech ids: <tts_start> groups <tts_end>, padded to whole groups.

    ``pad_short`` False repeats what StepFun's September 2025 server sends to the model instead: it pads too
    little, so the last group may be short and surplus text ids follow each other bare.
    """
    groups = max(-(-len(speech_ids) // GROUP_SPEECH_IDS), len(text_ids))
    padding = (groups * GROUP_SPEECH_IDS if pad_short else groups) - len(speech_ids)
    padded = [*speech_ids, *[tokens.speech_padding] * padding]
    ids = [tokens.tts_start]
    for group in range(groups):
        ids.append(text_ids[group] if group < len(text_ids) else tokens.tts_pad)
        ids += padded[group * GROUP_SPEECH_IDS : (group + 1) * GROUP_SPEECH_IDS]
    return [*ids, tokens.tts_end]


@dataclass(frozen=True, slots=True)
class Split:
    """Ids by channel, without markers and padding. ``rest``: a tool call, the end of turn."""

    text: tuple[int, ...] = ()
    speech: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()


class Demultiplexer:
    """Takes a reply's ids as they come and sorts them into channels.

    ``rest`` begins after <tts_end> or at <tool_call>, whichever is first; a reply may end without either.
    """

    def __init__(self, tokens: SpecialTokens) -> None:
        self._tokens = tokens
        self._in_rest = False

    @property
    def in_rest(self) -> bool:
        """Whether ``rest`` has begun."""
        return self._in_rest

    def push(self, ids: Iterable[int]) -> Split:
        """The next ids of the reply, by channel."""
        text: list[int] = []
        speech: list[int] = []
        rest: list[int] = []
        for id_ in ids:
            kind = self._tokens.kind(id_)
            self._in_rest |= id_ == self._tokens.tool_call or kind is TokenKind.STOP
            if self._in_rest:
                rest.append(id_)
            elif kind is TokenKind.TTS_END:
                self._in_rest = True
            elif kind is TokenKind.TEXT:
                text.append(id_)
            elif kind is TokenKind.SPEECH:
                speech.append(id_)
        return Split(tuple(text), tuple(speech), tuple(rest))
