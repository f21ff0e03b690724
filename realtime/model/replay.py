"""An earlier reply as it appears in the next prompt: complete, cut at the played position, or its words alone."""

from __future__ import annotations

from collections.abc import Sequence

from realtime.model.interleave import GROUP_SPEECH_IDS, SAMPLES_PER_CODE, Demultiplexer
from realtime.model.tokenizer import TextStream, TextTokenizer
from realtime.model.tokens import SpecialTokens, TokenKind
from realtime.model.word_timing import TextSlot, spoken_slots
from realtime.ports.messages import Tokens


def replay(reply: Tokens, tokenizer: TextTokenizer, tokens: SpecialTokens) -> list[int]:
    """The ids of a reply for the history: only the part that was played, its speech closed by <tts_end>."""
    ids = list(reply.ids)
    if (heard := reply.heard_of_model) is not None:
        ids = heard_part(ids, heard, tokenizer, tokens)
    elif ids[:1] == [tokens.tts_start] and tokens.tts_end not in ids:
        ids = _closed(ids, tokens)
    return ids if reply.speech else _words_alone(ids, tokens)


def heard_part(ids: Sequence[int], heard_samples: int, tokenizer: TextTokenizer, tokens: SpecialTokens) -> list[int]:
    """The ids of a spoken reply of which ``heard_samples`` (24 kHz) were played.

    Speech ends with the last code that was played completely; its group is padded as at the end of any reply. Text of
    words that were not spoken until then becomes <tts_pad> (`realtime.model.word_timing`). <tts_end> follows. A
    complete reply that was played to its end is returned unchanged, including tool calls.
    """
    spoken = Demultiplexer(tokens).push(ids)
    heard_codes = heard_samples // SAMPLES_PER_CODE
    complete = tokens.tts_end in ids
    if complete and heard_codes >= len(spoken.speech):
        return list(ids)
    slots = _text_slots(ids, tokenizer, tokens)
    text_left = spoken_slots(slots, heard_codes, len(spoken.speech) if complete else None)
    kept: list[int] = []
    for id_ in _until_heard(ids, heard_codes, tokens):
        if tokens.kind(id_) is TokenKind.TEXT:
            text_left -= 1
            id_ = id_ if text_left >= 0 else tokens.tts_pad
        kept.append(id_)
    return _closed(kept, tokens)


def _until_heard(ids: Sequence[int], heard_codes: int, tokens: SpecialTokens) -> Sequence[int]:
    """The ids up to the last code that was played."""
    codes = end = 0
    if ids and ids[0] == tokens.tts_start:
        end = 1
    for index, id_ in enumerate(ids):
        codes += tokens.kind(id_) is TokenKind.SPEECH
        if codes > heard_codes or id_ == tokens.tts_end:
            break
        if tokens.kind(id_) is TokenKind.SPEECH:
            end = index + 1
    return ids[:end]


def _text_slots(ids: Sequence[int], tokenizer: TextTokenizer, tokens: SpecialTokens) -> list[TextSlot]:
    """The text ids up to <tts_end>, with the characters they complete and the number of codes before them."""
    slots: list[TextSlot] = []
    stream, codes, waited = TextStream(tokenizer), 0, False
    for id_ in ids:
        kind = tokens.kind(id_)
        if kind is TokenKind.TTS_END:
            break
        if kind is TokenKind.TEXT:
            slots.append(TextSlot(stream.push(id_), codes, waited))
            waited = False
        codes += kind is TokenKind.SPEECH
        waited |= id_ == tokens.tts_pad
    return slots


def _closed(ids: Sequence[int], tokens: SpecialTokens) -> list[int]:
    """Interrupted speech as if it had ended there: the last group padded, then <tts_end>."""
    kept = list(ids)
    if kept and kept[-1] == tokens.tts_pad:
        kept.pop()
    run = 0
    while run < len(kept) and _in_speech_channel(kept[-1 - run], tokens):
        run += 1
    missing = -run % GROUP_SPEECH_IDS
    if kept and not run and kept[-1] != tokens.tts_start:  # text that has no speech yet
        missing = GROUP_SPEECH_IDS
    return [*kept, *[tokens.speech_padding] * missing, tokens.tts_end]


def _in_speech_channel(id_: int, tokens: SpecialTokens) -> bool:
    return tokens.kind(id_) is TokenKind.SPEECH or id_ == tokens.speech_padding


def _words_alone(ids: Sequence[int], tokens: SpecialTokens) -> list[int]:
    """Text and tool calls without speech: the form of a text reply."""
    split = Demultiplexer(tokens).push(ids)
    return [*split.text, *split.rest]
