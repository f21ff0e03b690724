"""Markup never reaches a reply's words, its speech or the history, however the ids come."""

from __future__ import annotations

import pytest

from realtime.model.interleave import interleave
from realtime.model.markup import MarkupFilter
from realtime.model.reply_decoder import ReplyDecoder
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens

NAMES = ("<tool_call>", "</tool_call>", "<tts_start>", "<tts_end>", "<|EOT|>", "<|BOT|>", "<im_start>")


def clean(text: str, size: int) -> str:
    markup = MarkupFilter(NAMES)
    pieces = [markup.push(text[start : start + size]) for start in range(0, len(text), size)]
    return "".join([*pieces, markup.finish()])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('}function\ndown\n{"style": "calm"}</tool_call>', ""),
        ('}function down {"style": "calm"}</tool_call>', ""),
        ('Sure. function\nlight\n{"on": {"a": "}\\""}}</tool_call> Done.', "Sure.  Done."),
        ('function\nlight\n{"on": tr', ""),
        ("function\nnow\n{}", ""),
        ('{"style": "calm"}</tool_call>', ""),
        ('Yes. {"style": "calm"}\n</tool_call>', "Yes. "),
        ("Yes.</tool_call>", "Yes."),
        ('Yes.<tool_call>function\nnow\n{"a', "Yes."),
        ("<tts_start>Hello<|BOT|> there<|EOT|>", "Hello there"),
        ("Hi <audio_12>there<audio_6561>", "Hi there"),
        ("Hello <tool_ca", "Hello "),
    ],
)
def test_markup_is_left_out(written: str, shown: str, size: int) -> None:
    assert clean(written, size) == shown


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        "Use function keys {} and <b>bold</b>, 3 < 4",
        '{"answer": {"a": [1, 2]}, "b": "}"} is JSON',
        '{"never": "closed',
        "function add(a, b) { return a + b; }",
        "functions are fun: f(x) = {x}",
        "function foo {",
        "The function of the heart",
        "</think> is for others",
        "5 <",
        "} ] ) >",
    ],
)
def test_other_text_stays(text: str, size: int) -> None:
    assert clean(text, size) == text


def test_a_word_is_passed_on_at_once() -> None:
    markup = MarkupFilter(NAMES)
    assert markup.push("Hello") == "Hello" and not markup.holding
    assert markup.push(" f") == " " and markup.push("our") == "four"


# Ids


def decode(ids: list[int], tokenizer: TextTokenizer, tokens: SpecialTokens) -> tuple[str, list[int], list[int]]:
    decoder = ReplyDecoder(tokenizer, tokens)
    deltas = [*(decoder.push((id_,)) for id_ in ids), decoder.finish()]
    text = "".join(delta.text for delta in deltas)
    return text, [code for one in deltas for code in one.speech_codes], [id_ for one in deltas for id_ in one.ids]


def spoken(text: str, tokenizer: TextTokenizer, tokens: SpecialTokens, codes: int) -> list[int]:
    """A spoken reply as it is generated: without its <tts_start>."""
    return interleave(tokenizer.encode(text), [tokens.audio_0 + k % 10 for k in range(codes)], tokens)[1:]


BROKEN = '}function\ndown\n{"style": "calm"}</tool_call>'


def test_a_broken_call_is_neither_shown_nor_spoken(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    text, codes, ids = decode(spoken(BROKEN, tokenizer, tokens, 400), tokenizer, tokens)
    assert (text, codes, ids) == ("", [], [tokens.tts_end])


def test_words_before_a_broken_call_are_spoken_whole(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    text, codes, ids = decode(spoken("one two three" + BROKEN, tokenizer, tokens, 400), tokenizer, tokens)
    assert text == "one two three"
    assert 13 <= len(codes) <= 100  # 13 letters take about a second; the call would take 16
    history, shown, _ = decode(ids, tokenizer, tokens)
    assert history == "one two three" and shown == codes


def test_broken_calls_in_written_replies_leave_the_rest(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = tokenizer.encode("one " + BROKEN + " two")
    text, codes, kept = decode(ids, tokenizer, tokens)
    assert (text, codes) == ("one  two", [])
    assert "style" not in tokenizer.decode(kept)


def test_held_back_text_keeps_its_ids_and_speech(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    ids = spoken('{"one": 2} two', tokenizer, tokens, 80)
    text, codes, kept = decode(ids, tokenizer, tokens)
    assert text == '{"one": 2} two' and len(codes) == 80 and kept == ids


def test_a_sound_call_behind_the_words_stays(tokenizer: TextTokenizer, tokens: SpecialTokens) -> None:
    call = "<tool_call>function\nnow\n{}</tool_call>"
    ids = [*spoken("one two", tokenizer, tokens, 20), *tokenizer.encode(call), tokens.eot]
    decoder = ReplyDecoder(tokenizer, tokens)
    assert decoder.push(ids).text == "one two"
    assert decoder.rest == call and not decoder.has_markup
