"""The checkpoint's byte-level BPE tokenizer (Qwen2's): text <-> ids."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from realtime.errors import CheckpointError

# Qwen2's split into words, single digits, punctuation runs and line ends (transformers' Qwen2 tokenizer).
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)

_LONG_TEXT = 2048
"""Characters from which on a text is tokenized without the interpreter's lock, which only `encode_batch` lets go of:
for 130 kB of schemas other threads would stand still for 200 ms."""


class TextTokenizer:
    """Byte-level BPE plus added tokens (special ones, tool tags, speech codes).

    Added tokens are found in a text before BPE, as in transformers, so BPE never merges across them.
    """

    def __init__(self, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], added: Mapping[str, int]) -> None:
        """``vocab`` and ``merges`` in the byte-level alphabet; ``added``: the names of added tokens -> their ids."""
        self._bpe = Tokenizer(models.BPE(vocab=dict(vocab), merges=list(merges)))
        self._bpe.normalizer = normalizers.NFC()
        self._bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self._added = dict(added)
        self._find_added = _finder(added)
        self._pieces = {id_: piece for piece, id_ in vocab.items()}
        self._added_by_id = {id_: name for name, id_ in added.items()}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read vocab.json, merges.txt and the added tokens, or tokenizer.json where there is no vocab.json.

        Raises `CheckpointError` naming what is missing or unreadable.
        """
        if (folder / "vocab.json").exists() or not (folder / "tokenizer.json").exists():
            return cls(*_read_files(folder))
        return cls(*_read_tokenizer_json(folder / "tokenizer.json"))

    @property
    def ids(self) -> Mapping[str, int]:
        """Added tokens by name."""
        return self._added

    @cached_property
    def markup_names(self) -> tuple[str, ...]:
        """Names of added tokens that are no speech codes, the longest first."""
        return tuple(sorted((name for name in self._added if not name.startswith("<audio_")), key=len, reverse=True))

    def __len__(self) -> int:
        """The largest id plus one."""
        return max(max(self._pieces, default=-1), max(self._added_by_id, default=-1)) + 1

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """One piece of text -> ids. ``special`` False: names of added tokens are ordinary text, so that text from a
        client cannot end a turn."""
        if not special:
            return self._encode_plain(text)
        ids: list[int] = []
        end = 0
        for match in self._find_added.finditer(text):
            id_ = self._added.get(match.group())
            if id_ is not None:
                ids += self._encode_plain(text[end : match.start()])
                ids.append(id_)
                end = match.end()
        return ids + self._encode_plain(text[end:])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text, with added tokens by name; invalid UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, id_: int) -> bytes:
        """The UTF-8 bytes of one id, possibly part of a character; empty for an id without a token."""
        name = self._added_by_id.get(id_)
        if name is not None:
            return name.encode()
        return bytes(_BYTE_OF_SYMBOL[symbol] for symbol in self._pieces.get(id_, ""))

    def _encode_plain(self, text: str) -> list[int]:
        if len(text) > _LONG_TEXT:
            ids: list[int] = self._bpe.encode_batch([text], add_special_tokens=False)[0].ids
            return ids
        return list(self._bpe.encode(text, add_special_tokens=False).ids) if text else []


class TextStream:
    """Ids one by one -> complete characters; the bytes of an incomplete one are held back."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id_: int) -> str:
        """The characters that this id completes; may be empty."""
        return self._utf8.decode(self._tokenizer.token_bytes(id_))

    def finish(self) -> str:
        """U+FFFD if the text ended within a character, else nothing."""
        return self._utf8.decode(b"", final=True)


def _symbols() -> dict[str, int]:
    """GPT-2's byte alphabet: printable Latin-1 bytes are themselves, the other 68 bytes are U+0100 and up."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_SYMBOL = _symbols()


def _finder(added: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches every added token and possibly more; matches are looked up.

    All known added tokens have the form <...>; one pattern for it is much faster than 6 600 alternatives.
    """
    tag = r"<[^<>]+>"
    others = sorted((name for name in added if not re.fullmatch(tag, name)), key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, others), tag]))


_Parts = tuple[dict[str, int], list[tuple[str, str]], dict[str, int]]


def _read_files(folder: Path) -> _Parts:
    missing = [name for name in ("vocab.json", "merges.txt") if not (folder / name).exists()]
    if missing:
        raise CheckpointError(f"{folder}: tokenizer files missing: {', '.join(missing)}")
    vocab = _read_json(folder / "vocab.json")
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if not all(len(pair) == 2 for pair in pairs):
        raise CheckpointError(f"{folder / 'merges.txt'}: expected two symbols per line")
    added = _added_tokens(folder)
    return (
        {piece: id_ for piece, id_ in vocab.items() if piece not in added},
        [(a, b) for a, b in pairs],
        added,
    )


def _added_tokens(folder: Path) -> dict[str, int]:
    """From added_tokens.json and tokenizer_config.json, which must agree where both exist."""
    added: dict[str, int] = {}
    if (folder / "added_tokens.json").exists():
        added |= _read_json(folder / "added_tokens.json")
    if (folder / "tokenizer_config.json").exists():
        entries = _read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
        for id_, entry in entries.items():
            if added.setdefault(entry["content"], int(id_)) != int(id_):
                name = entry["content"]
                raise CheckpointError(
                    f"{folder}: {name} is {added[name]} in added_tokens.json, {id_} in tokenizer_config.json"
                )
    return added


def _read_tokenizer_json(path: Path) -> _Parts:
    content = _read_json(path)
    model = content.get("model", {})
    if model.get("type") != "BPE" or "vocab" not in model or "merges" not in model:
        raise CheckpointError(f"{path}: expected a BPE model with vocab and merges, got {model.get('type')!r}")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    added = {entry["content"]: entry["id"] for entry in content.get("added_tokens", [])}
    return (
        {piece: id_ for piece, id_ in model["vocab"].items() if piece not in added},
        [(a, b) for a, b in pairs],
        added,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return content
