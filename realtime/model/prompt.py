"""Conversations -> prompt ids, in the format of Step-Audio 2's in-process code (its ``StepAudio2`` class).

A prompt is a sequence of pieces. Each is tokenized separately, so BPE never merges across the borders that the model
was trained with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from realtime.model.features import feature_count, split_segments
from realtime.model.replay import replay
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.messages import Audio, AudioRef, Message, Part, ReplyRef, Text, Tokens
from realtime.ports.tool_calls import AFTER_TOOL_RESULT as AFTER_TOOL_RESULT
from realtime.ports.tool_calls import tool_result as tool_result
from realtime.ports.tool_calls import tool_schemas as tool_schemas

TTS_START = "<tts_start>"
"""Content of an open assistant turn whose reply is spoken."""

THINK_START = "\n<think>\n"
THINK_END = "</think>"


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text with the turn's markers, tokenized together: ``<|BOT|>`` if ``begins``, ``<|EOT|>`` if ``ends``.

    ``trusted``: names of special tokens in the text are special tokens (text of the server). Else they are ordinary
    text, so that a client's item of whatever role, or a tool's result, cannot end a turn or open another.
    """

    text: str
    begins: bool = False
    ends: bool = False
    trusted: bool = False

    def __str__(self) -> str:
        return ("<|BOT|>" if self.begins else "") + self.text + ("<|EOT|>" if self.ends else "")


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """One segment of a recording: ``count`` features of the `Audio` part ``audio_id``, from ``first`` on."""

    audio_id: str
    first: int
    count: int

    def __str__(self) -> str:
        return "<audio_start>" + "<audio_patch>" * self.count + "<audio_end>"


@dataclass(frozen=True, slots=True)
class ReplyPiece:
    """An earlier reply as ids, possibly shortened (`realtime.model.replay`)."""

    reply: Tokens


Piece = TextPiece | AudioPiece | ReplyPiece


@dataclass(frozen=True, slots=True)
class AudioSpan:
    """Positions ``offset`` to ``offset + count - 1`` of a prompt have the features of ``audio_id`` from ``first``
    on."""

    audio_id: str
    offset: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """``ids`` has ``<audio_patch>`` wherever ``spans`` put audio features; spans are in order."""

    ids: tuple[int, ...]
    spans: tuple[AudioSpan, ...]


def render(messages: Sequence[Message], tokenizer: TextTokenizer, tokens: SpecialTokens, *, speech: bool) -> Prompt:
    """The complete prompt with an open assistant turn (`open_reply`). ``speech``: whether the reply is spoken."""
    return assemble(message_pieces(open_reply(messages, speech=speech), tokens), tokenizer, tokens)


def open_reply(messages: Sequence[Message], *, speech: bool) -> list[Message]:
    """The messages and an open assistant turn, unless the last message is already open."""
    if messages and (messages[-1].content is None or not messages[-1].closed):
        return list(messages)
    return [*messages, Message("assistant", TTS_START if speech else None, closed=False)]


def message_pieces(messages: Iterable[Message], tokens: SpecialTokens) -> list[Piece]:
    """The pieces of these turns, without additions."""
    return [piece for message in messages for piece in _turn(message, tokens)]


def part_pieces(parts: Iterable[Part], tokens: SpecialTokens, *, trusted: bool = False) -> list[Piece]:
    """Parts without turns or roles: the format of the base model."""
    return [piece for part in parts for piece in _part(part, tokens, trusted)]


def assemble(pieces: Iterable[Piece], tokenizer: TextTokenizer, tokens: SpecialTokens) -> Prompt:
    """Tokenize the pieces and concatenate them."""
    ids: list[int] = []
    spans: list[AudioSpan] = []
    for piece in pieces:
        if isinstance(piece, ReplyPiece):
            ids += replay(piece.reply, tokenizer, tokens)
        elif isinstance(piece, AudioPiece):
            spans.append(AudioSpan(piece.audio_id, len(ids) + 1, piece.first, piece.count))
            ids += [tokens.audio_start, *[tokens.audio_patch] * piece.count, tokens.audio_end]
        else:
            ids += [tokens.bot] * piece.begins
            ids += tokenizer.encode(piece.text, special=piece.trusted)
            ids += [tokens.eot] * piece.ends
    return Prompt(tuple(ids), tuple(spans))


def think() -> Message:
    """An open assistant turn in which the Think model generates its thought, up to `THINK_END`."""
    return Message("assistant", THINK_START, closed=False)


def answer_after_thinking(thought: str, *, speech: bool = True) -> Message:
    """The same turn continued with the answer. ``thought``: the generated text without `THINK_END`."""
    opening = TTS_START if speech else ""
    return Message("assistant", f"{THINK_START}{thought}{THINK_END}\n\n{opening}", closed=False)


def _turn(message: Message, tokens: SpecialTokens) -> list[Piece]:
    if message.role == "plain" and isinstance(message.content, tuple):
        return part_pieces(message.content, tokens, trusted=True)
    header = TextPiece(f"{message.role}\n", begins=True)
    if message.content is None:
        return [header]
    if isinstance(message.content, str):
        opens_reply = message.role == "assistant" and not message.closed
        return [replace(header, text=header.text + message.content, ends=message.closed, trusted=opens_reply)]
    end: list[Piece] = [TextPiece("", ends=True)] if message.closed else []
    return [header, *part_pieces(message.content, tokens), *end]


def _part(part: Part, tokens: SpecialTokens, trusted: bool) -> list[Piece]:
    if isinstance(part, Text):
        return [TextPiece(part.text, trusted=trusted or part.control)]
    if isinstance(part, Tokens):
        return [ReplyPiece(part)]
    if isinstance(part, ReplyRef):
        raise TypeError("a reply is rendered by its ids")
    return _segments(part)


def _segments(audio: Audio | AudioRef) -> list[Piece]:
    pieces: list[Piece] = []
    first = 0
    for start, stop in split_segments(audio.length):
        count = feature_count(stop - start)
        pieces.append(AudioPiece(audio.id, first, count))
        first += count
    return pieces
