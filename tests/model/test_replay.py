"""What the next prompt tells of an earlier reply."""

from __future__ import annotations

import pytest

from realtime.model.interleave import SAMPLES_PER_CODE, Demultiplexer, interleave
from realtime.model.replay import heard_part, replay
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.messages import Tokens
from realtime.ports.tool_calls import ToolCall, render_tool_call

CALL = render_tool_call(ToolCall("now", "{}"))


def spoken(text: str, codes: int, tokenizer: TextTokenizer, tokens: SpecialTokens) -> list[int]:
    """A reply in the official layout, <tts_start> to <tts_end>: all its text at the beginning."""
    return interleave(tokenizer.encode(text), [tokens.audio_0 + k % 10 for k in range(codes)], tokens)


def heard(ids: list[int], codes: int, tokenizer: TextTokenizer, tokens: SpecialTokens) -> list[int]:
    return heard_part(ids, codes * SAMPLES_PER_CODE, tokenizer, tokens)


def test_text_is_cut_to_the_played_words(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = spoken("one two three one two three one two three", 400, tokenizer, tokens)
    split = Demultiplexer(tokens).push(heard(ids, 200, tokenizer, tokens))
    assert len(split.speech) == 200
    assert tokenizer.decode(split.text) == "one two three one two"


def test_slots_of_unplayed_words_become_padding(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    text = tokenizer.encode("one two three")
    ids = spoken("one two three", 400, tokenizer, tokens)
    kept = heard(ids, 40, tokenizer, tokens)
    assert kept[1::5][: len(text)] == [tokens.tts_pad] * len(text)
    assert len(kept) == 1 + 10 * 5 + 1


@pytest.mark.parametrize("codes", range(13))
def test_speech_ends_with_the_last_played_code(codes: int, tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = spoken("one two three", 12, tokenizer, tokens)
    kept = heard(ids, codes, tokenizer, tokens)
    assert Demultiplexer(tokens).push(kept).speech == tuple(tokens.audio_0 + k % 10 for k in range(codes))
    assert kept[0] == tokens.tts_start and kept[-1] == tokens.tts_end
    assert len(kept) == 2 + 5 * -(-codes // 4)


def test_part_of_a_code_is_not_heard(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = spoken("one", 12, tokenizer, tokens)
    kept = heard_part(ids, 5 * SAMPLES_PER_CODE - 1, tokenizer, tokens)
    assert len(Demultiplexer(tokens).push(kept).speech) == 4


def test_a_completely_played_reply_is_unchanged(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = [*spoken("one", 8, tokenizer, tokens), *tokenizer.encode(CALL)]
    assert heard(ids, 8, tokenizer, tokens) == ids
    assert heard(ids, 7, tokenizer, tokens)[-1] == tokens.tts_end


def test_padding_is_not_heard(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = [*spoken("one", 5, tokenizer, tokens)[:-1], tokens.tts_pad, *[tokens.audio_0] * 4, tokens.tts_end]
    assert heard(ids, 5, tokenizer, tokens) == [*spoken("one", 5, tokenizer, tokens)]


@pytest.mark.parametrize("missing", range(1, 5))
def test_speech_that_broke_off_is_closed(missing: int, tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    whole = spoken("one", 8, tokenizer, tokens)
    broken = whole[: -1 - missing]
    expected = spoken("one", 8 - missing, tokenizer, tokens)
    assert replay(Tokens(tuple(broken)), tokenizer, tokens) == expected
    assert heard(broken, 10**6, tokenizer, tokens) == expected


def test_a_written_reply_is_left_alone(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = tuple(tokenizer.encode("one two"))
    assert replay(Tokens(ids), tokenizer, tokens) == list(ids)


def test_a_reply_without_speech_is_text(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = (*spoken("one two three", 60, tokenizer, tokens), *tokenizer.encode(CALL))
    assert tokenizer.decode(replay(Tokens(ids, speech=False), tokenizer, tokens)) == "one two three" + CALL


def test_a_reply_without_speech_keeps_played_words(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = tuple(spoken("one two three one two three", 400, tokenizer, tokens))
    cut = Tokens(ids, 200 * SAMPLES_PER_CODE, speech=False)
    assert tokenizer.decode(replay(cut, tokenizer, tokens)) == "one two three one"
