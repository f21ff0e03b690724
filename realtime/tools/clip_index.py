"""A local folder of speech clips with their texts, searched by text.

The folder has ``index.jsonl``, one clip per line: ``{"file": "anna.wav", "text": "…", "voice": "…"}``. Without it, each
``.wav`` has a ``.txt`` beside it. ``voice`` (optional) names an enrolled voice of the checkpoint. The search is BM25
over words; scripts without spaces are split into pairs of characters.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from realtime.errors import ConfigError

_K1, _B = 1.2, 0.75
"""The usual constants of BM25."""

_WORDS = re.compile(r"[\w']+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
"""Kana, Han, Hangul, Thai."""


@dataclass(frozen=True, slots=True)
class Clip:
    """``text``: the words of the clip, or a description. ``voice``: an enrolled voice's name; ``""``: the clip's
    own."""

    path: Path
    text: str
    voice: str = ""

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Hit:
    clip: Clip
    score: float


class ClipIndex:
    """Searchable clips."""

    def __init__(self, clips: list[Clip]) -> None:
        self.clips = tuple(clips)
        self._terms = [Counter(terms(f"{clip.name} {clip.text}")) for clip in clips]
        self._lengths = [sum(counts.values()) for counts in self._terms]
        self._mean = max(1.0, sum(self._lengths) / max(1, len(clips)))
        self._clips_with = Counter(term for counts in self._terms for term in counts)

    @classmethod
    def read(cls, folder: Path) -> ClipIndex:
        """Raises `ConfigError` that names what is missing or wrong."""
        if not folder.is_dir():
            raise ConfigError(f"folder of clips {folder} does not exist; give --clips a folder with .wav files")
        index = folder / "index.jsonl"
        clips = list(_listed(folder, index) if index.exists() else _described(folder))
        if not clips:
            raise ConfigError(
                f"folder of clips {folder} has no clip: write index.jsonl (file and text a line), or a .txt beside "
                "each .wav"
            )
        return cls(clips)

    def search(self, query: str, limit: int = 3) -> list[Hit]:
        """The best clips first; none when no word of the query occurs."""
        wanted = set(terms(query))
        hits = [Hit(clip, self._score(wanted, at)) for at, clip in enumerate(self.clips)]
        return sorted((hit for hit in hits if hit.score > 0), key=lambda hit: -hit.score)[:limit]

    def _score(self, wanted: set[str], at: int) -> float:
        counts = self._terms[at]
        damping = _K1 * (1 - _B + _B * self._lengths[at] / self._mean)
        return sum(
            self._rarity(term) * counts[term] * (_K1 + 1) / (counts[term] + damping) for term in wanted & counts.keys()
        )

    def _rarity(self, term: str) -> float:
        having = self._clips_with[term]
        return math.log(1 + (len(self.clips) - having + 0.5) / (having + 0.5))


def terms(text: str) -> Iterator[str]:
    """The words of a text in lower case; of unspaced scripts, the pairs of characters."""
    for word in _WORDS.findall(text.casefold().replace("_", " ")):
        if _UNSPACED.search(word) and len(word) > 1:
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        else:
            yield word


def _listed(folder: Path, index: Path) -> Iterator[Clip]:
    for number, line in enumerate(index.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            file, text, voice = str(entry["file"]), str(entry["text"]), str(entry.get("voice") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(
                f'{index}, line {number}: expected {{"file": "….wav", "text": "…"}}, got {line[:80]!r}'
            ) from None
        path = (folder / file).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise ConfigError(f"{index}, line {number}: {file!r} is no file of that folder")
        yield Clip(path, text, voice)


def _described(folder: Path) -> Iterator[Clip]:
    for path in sorted(folder.glob("*.wav")):
        text = path.with_suffix(".txt")
        if text.exists():
            yield Clip(path, text.read_text("utf-8").strip())
