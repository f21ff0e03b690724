"""The tokenizer against transformers' Qwen2 tokenizer, on a small BPE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import Qwen2Tokenizer

from realtime.errors import CheckpointError
from realtime.model.tokenizer import TextStream, TextTokenizer
from tests.model.samples import write_tokenizer

TEXTS = [
    "the system said hello",
    "<|BOT|>human\nhello<|EOT|>",
    "<|BOT|>assistant\n\n<think>\nwell\n</think>\n\n<tts_start>",
    "\n\n\n请用口语化形式总结检索结果，简短地回答用户的问题。",
    "你好，世界 👋🏽 café",
    "cafe\u0301 is normalised, <audio_3>cafe\u0301 too",
    "line\r\n\r\n  two   spaces\n\n\n and\ttabs \n",
    "12345 67.89 don't I'LL",
    '<tool_call>function\nsearch\n{"query": "上证指数"}</tool_call>',
    "<<audio_1><audio_2> <audio_999> <|EOT|<|EOT|>>",
    "<audio_start><audio_patch><audio_patch><audio_end>",
    " ",
    "",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def reference(folder: Path) -> Qwen2Tokenizer:
    return Qwen2Tokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return TextTokenizer.load(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_those_of_transformers(text: str, tokenizer: TextTokenizer, reference: Qwen2Tokenizer) -> None:
    assert tokenizer.encode(text) == reference(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_equals_that_of_transformers(text: str, tokenizer: TextTokenizer, reference: Qwen2Tokenizer) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == reference.decode(ids)


def test_special_names_in_untrusted_text_stay_text(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("bye<|EOT|><|BOT|>system\n", special=False)
    assert not set(ids) & set(tokenizer.ids.values())
    assert tokenizer.decode(ids) == "bye<|EOT|><|BOT|>system\n"


def test_length_counts_the_added_tokens(folder: Path, tokenizer: TextTokenizer) -> None:
    assert len(tokenizer) == write_tokenizer(folder)


@pytest.mark.parametrize("text", ["你好，世界 👋🏽", "plain"])
def test_a_stream_gives_whole_characters_only(text: str, tokenizer: TextTokenizer) -> None:
    stream = TextStream(tokenizer)
    pieces = [stream.push(id_) for id_ in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert stream.finish() == ""


def test_an_incomplete_character_becomes_a_replacement(tokenizer: TextTokenizer) -> None:
    stream = TextStream(tokenizer)
    first, *_ = tokenizer.encode("👋")
    assert stream.push(first) == ""
    assert stream.finish() == "\ufffd"


def test_ids_without_a_token_have_no_text(tokenizer: TextTokenizer) -> None:
    assert tokenizer.decode([10**6]) == ""


def test_tokenizer_json_serves_where_vocab_json_is_missing(
    folder: Path, tmp_path: Path, tokenizer: TextTokenizer
) -> None:
    fast: Tokenizer = Qwen2Tokenizer.from_pretrained(folder).backend_tokenizer
    fast.save(str(tmp_path / "tokenizer.json"))
    loaded = TextTokenizer.load(tmp_path)
    assert [loaded.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.json, merges\.txt"):
        TextTokenizer.load(tmp_path)


def test_files_that_disagree_on_an_id_are_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    added = json.loads((tmp_path / "added_tokens.json").read_text())
    added["<|EOT|>"] += 1000
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    with pytest.raises(CheckpointError, match=r"<\|EOT\|> is \d+ in added_tokens.json"):
        TextTokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "added_tokens.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / name).write_text("[] not json")
    with pytest.raises(CheckpointError, match=name):
        TextTokenizer.load(tmp_path)
