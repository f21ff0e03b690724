from __future__ import annotations

import pytest

from realtime.model.interleave import Demultiplexer, interleave
from realtime.model.reply_decoder import ReplyDecoder
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens


def reply(tokens: SpecialTokens, text: list[int], codes: list[int]) -> list[int]:
    """A spoken reply without its <tts_start>, as the model generates it."""
    return interleave(text, [tokens.audio_0 + code for code in codes], tokens)[1:]


def test_interleave_and_demultiplexer_are_inverse(tokens: SpecialTokens) -> None:
    text, codes = [5, 6, 7], [1, 2, 3, 4, 5, 6]
    split = Demultiplexer(tokens).push(reply(tokens, text, codes))
    assert split.text == (5, 6, 7)
    assert split.speech == tuple(tokens.audio_0 + code for code in codes)
    assert split.rest == ()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_reply_in_pieces_equals_the_whole(size: int, tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    words = "你好 👋 the system said hello"
    text = tokenizer.encode(words)
    codes = [k % 10 for k in range(4 * len(text) + 6)]
    call = "<tool_call>function\nnow\n{}</tool_call>"
    ids = [*reply(tokens, text, codes), *tokenizer.encode(call), tokens.eot]
    decoder = ReplyDecoder(tokenizer, tokens)
    deltas = [decoder.push(ids[i : i + size]) for i in range(0, len(ids), size)]
    deltas.append(decoder.finish())
    assert "".join(delta.text for delta in deltas) == words
    assert [code for delta in deltas for code in delta.speech_codes] == codes
    assert decoder.rest == call


def test_a_character_split_over_groups_is_held_back(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    first, *others = tokenizer.encode("👋")
    decoder = ReplyDecoder(tokenizer, tokens)
    assert decoder.push([first]).text == ""
    assert decoder.push([tokens.audio_0, tokens.audio_0 + 1]).speech_codes == (0, 1)
    assert decoder.push(others).text == "👋"


def test_a_reply_without_its_end_marker_is_read(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    decoder = ReplyDecoder(tokenizer, tokens)
    delta = decoder.push([*tokenizer.encode("hello"), tokens.audio_0 + 3, tokens.eot])
    assert (delta.text, delta.speech_codes, decoder.rest) == ("hello", (3,), "")


def test_tool_calls_in_text_replies_are_not_shown(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    decoder = ReplyDecoder(tokenizer, tokens)
    call = "<tool_call>function\nnow\n{}</tool_call>"
    assert decoder.push(tokenizer.encode("one moment" + call)).text == "one moment"
    assert decoder.rest == call


def test_ids_outside_the_vocabulary_are_dropped(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    delta = ReplyDecoder(tokenizer, tokens).push([tokens.speech_padding + 1, tokens.audio_patch, tokens.tts_pad])
    assert (delta.text, delta.speech_codes) == ("", ())
