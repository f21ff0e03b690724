"""The TA4 pattern of spoken replies: groups of 1 text id and 4 speech ids, in one stream of ids.

The pattern is a habit of the model, enforced by nothing: everything here classifies ids by number, never by
position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from realtime.model.tokenizer import TextStream, TextTokenizer
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


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """What new ids add to a reply: whole characters to show or say, codes for the vocoder."""

    text: str
    speech_codes: tuple[int, ...]


class ReplyDecoder:
    """A reply's ids one by one -> its text and speech codes. The text holds back unfinished characters."""

    def __init__(self, tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._channels = Demultiplexer(tokens)
        self._text = TextStream(tokenizer)
        self._rest: list[int] = []

    def push(self, ids: Iterable[int]) -> ReplyDelta:
        """The next ids of the reply."""
        split = self._channels.push(ids)
        self._rest += split.rest
        text = "".join(map(self._text.push, split.text))
        return ReplyDelta(text, tuple(map(self._tokens.speech_code, split.speech)))

    def finish(self) -> ReplyDelta:
        """What was held back; call once, after the last id."""
        return ReplyDelta(self._text.finish(), ())

    @property
    def in_rest(self) -> bool:
        """Whether the spoken part, or a written reply's words, are over."""
        return self._channels.in_rest

    @property
    def rest(self) -> str:
        """The text behind the spoken part: tool calls for `realtime.model.tool_calls.parse_tool_calls`."""
        return self._tokenizer.decode(id_ for id_ in self._rest if id_ not in self._tokens.stop_ids)
