"""Spoken replies: their speech codes, laid out with the text in groups of one text id and four codes (TA4).

Codes come from voice_data.py. A text that was never spoken is put together from stretches of those that were. Questions
that ask for yes or no rise at their end.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from scripts.nano import domain
from scripts.nano.data import speech_codes

ENDS = ".?!"
"""What ends a sentence."""
GROUP = 4
"""Speech codes per text slot."""
PAD_CODE = 6561
LEAD_GROUPS = 3
"""How many groups (160 ms each) a word's text stands before the group in which its speech starts."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text with its speech codes; `starts` holds the code index at which each space-separated word starts."""

    text: str
    starts: tuple[int, ...]
    codes: tuple[int, ...]


def reply_ids(spoken: Spoken, tokenizer: TextTokenizer, tokens: SpecialTokens) -> list[int]:
    """Lay a spoken reply out as TA4 groups, its words time aligned, up to and including <tts_end>.

    A word's ids stand LEAD_GROUPS before its speech where they can; order is kept, one id per slot, <tts_pad>
    elsewhere.  The last group is filled up with the padding code.
    """
    slots: dict[int, int] = {}
    free = 0
    word = -1
    for k, token in enumerate(tokenizer.encode(spoken.text, special=False)):
        if k == 0 or tokenizer.token_bytes(token).startswith(b" "):
            word += 1
        start = spoken.starts[min(word, len(spoken.starts) - 1)]
        slot = max(free, start // GROUP - LEAD_GROUPS)
        slots[slot] = token
        free = slot + 1
    groups = max(-(-len(spoken.codes) // GROUP), free)
    out: list[int] = []
    for group in range(groups):
        codes = list(spoken.codes[group * GROUP : (group + 1) * GROUP])
        codes += [PAD_CODE] * (GROUP - len(codes))
        out.append(slots.get(group, tokens.tts_pad))
        out.extend(tokens.audio_0 + c for c in codes)
    return [*out, tokens.tts_end]


# --- questions --------------------------------------------------------------------------------------------

_ASKS_FOR_MORE_THAN_YES = frozenset("what when where which who whom whose why how".split())
_VOICELESS = frozenset("ch f hh k p s sh t th".split())
RISE_TO = 6
"""Pitch (0..7) at which a question for yes or no ends, the highest that the voice knows well."""


def with_rises(spoken: Spoken) -> Spoken:
    """Let questions for yes or no rise over their last word. The synthesizer is deaf to question marks: it falls."""
    words = spoken.text.split()
    codes = list(spoken.codes)
    ends = [*spoken.starts[1:], len(codes)]
    first = 0
    for k, word in enumerate(words):
        if word[-1] not in ENDS:
            continue
        if word[-1] == "?" and words[first].lower() not in _ASKS_FOR_MORE_THAN_YES:
            codes[spoken.starts[k] : ends[k]] = _rising(codes[spoken.starts[k] : ends[k]])
        first = k + 1
    return Spoken(spoken.text, spoken.starts, tuple(codes))


def _rising(codes: Sequence[int]) -> list[int]:
    """The codes of a word with a pitch that climbs evenly over its voiced ones, from one step below its start."""
    parts = [speech_codes.decode(code) for code in codes]
    spoken = [p for p in parts if p.phone != speech_codes.PHONES[speech_codes.SILENCE]]
    steps = max(1, sum(p.phone not in _VOICELESS for p in spoken) - 1)
    low = max(0, spoken[0].pitch - 1) if spoken else 0
    risen, done = [], 0
    for code, part in zip(codes, parts, strict=True):
        if part not in spoken:
            risen.append(code)
            continue
        pitch = round(low + (RISE_TO - low) * min(1.0, done / steps))
        risen.append(code - part.pitch + pitch)
        done += part.phone not in _VOICELESS
    return risen


# --- texts that were never spoken -------------------------------------------------------------------------

LONGEST_STRETCH = 5
"""Words that are taken from one utterance at most: longer ones would be whole sentences."""
_KEPT = 6
_Key = tuple[str, ...]


def _mark(word: str) -> str:
    """The punctuation at a word's end, which sets the melody."""
    return "" if word[-1].isalnum() else word[-1]


def _written(words: Sequence[str]) -> list[str]:
    """Words as they count for splicing: lower case, with the punctuation behind them, which sets the melody."""
    return [word.lower() for word in words]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Words `begin` to `end` of an utterance."""

    spoken: Spoken
    begin: int
    end: int

    def codes(self, first: bool) -> tuple[tuple[int, ...], list[int]]:
        """Its codes and, counted from their start, the starts of its words. `first`: it opens the new text, too."""
        starts, spoken = self.spoken.starts, self.spoken
        begin = 0 if first and self.begin == 0 else starts[self.begin]
        ends = len(spoken.codes) if self.end == len(starts) else starts[self.end]
        return spoken.codes[begin:ends], [starts[k] - begin for k in range(self.begin, self.end)]


class Voice:
    """Spoken forms of texts, read from the jsonl files of voice_data.py."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.spoken: dict[str, Spoken] = {}
        self._stretches: dict[_Key, list[_Stretch]] = {}
        words: dict[str, set[str]] = {}
        for file in files:
            for line in file.read_text("utf-8").splitlines():
                self._read(line)
        for text in self.spoken:
            for before, word in itertools.pairwise(text.split()):
                if before[-1] not in ENDS:
                    words.setdefault(_mark(word), set()).add(word)
        self._words = {mark: sorted(found) for mark, found in words.items()}
        """By the punctuation behind them, spelled as within a sentence."""

    def _read(self, line: str) -> None:
        try:
            row = json.loads(line)
        except ValueError:  # a synthesis that is under way has not finished its last line
            return
        if len(row["words"]) != len(row["text"].split()) or row["text"] in self.spoken:
            return
        spoken = with_rises(Spoken(row["text"], tuple(int(w[1]) for w in row["words"]), tuple(row["codes"])))
        self.spoken[spoken.text] = spoken
        words = _written(spoken.text.split())
        for begin in range(len(words)):
            for end in range(begin + 1, min(begin + LONGEST_STRETCH, len(words)) + 1):
                place = ("^",) if begin == 0 else ()
                found = self._stretches.setdefault((*place, *words[begin:end]), [])
                if len(found) < _KEPT:
                    found.append(_Stretch(spoken, begin, end))

    def get(self, text: str, rng: random.Random) -> Spoken | None:
        """Return the spoken form of `text`, sentence by sentence and spliced where needed; None where there is none."""
        known = self.spoken.get(text)
        return known if known is not None else self._joined(text, rng)

    def swapped(self, text: str, rng: random.Random) -> str:
        """Put other spoken words, of like punctuation, in place of some: what nobody would expect there."""
        words = text.split()
        places = [k for k, word in enumerate(words) if _mark(word) in self._words]
        for k in rng.sample(places, min(len(places), rng.randint(1, max(1, len(words) // 2)))):
            opens = k == 0 or words[k - 1][-1] in ENDS
            words[k] = self._draw(_mark(words[k]), rng, opens)
        return " ".join(words)

    def nonsense(self, count: int, rng: random.Random) -> str:
        """Draw a sentence of up to `count` spoken words, each as likely as every other; empty where none is known."""
        marks = [*rng.choices(("", ","), (3, 1), k=count - 1), "."]
        known = [mark for mark in marks if mark in self._words]
        return " ".join(self._draw(mark, rng, opens=k == 0) for k, mark in enumerate(known))

    def _draw(self, mark: str, rng: random.Random, opens: bool) -> str:
        word = rng.choice(self._words[mark])
        return domain.sentence(word, end="") if opens else word

    def _joined(self, text: str, rng: random.Random) -> Spoken | None:
        parts = [self.spoken.get(s) or self._splice(s, rng) for s in _sentences(text)]
        codes: list[int] = []
        starts: list[int] = []
        for part in parts:
            if part is None:
                return None
            starts += [len(codes) + start for start in part.starts]
            codes += part.codes
        return Spoken(text, tuple(starts), tuple(codes))

    def _splice(self, text: str, rng: random.Random) -> Spoken | None:
        """Put a sentence together from the longest stretches of words that were spoken in a row."""
        words = _written(text.split())
        codes: list[int] = []
        starts: list[int] = []
        at = 0
        while at < len(words):
            for length in range(min(LONGEST_STRETCH, len(words) - at), 0, -1):
                key = tuple(words[at : at + length])
                found = (self._stretches.get(("^", *key)) if at == 0 else None) or self._stretches.get(key)
                if found:
                    break
            else:
                found = self._stretches.get((words[at].rstrip(",.?!"),))
                if not found:
                    return None
            piece, begins = rng.choice(found).codes(at == 0)
            starts += [len(codes) + begin for begin in begins]
            codes += piece
            at += length
        return Spoken(text, tuple(starts), tuple(codes))


def _sentences(text: str) -> list[str]:
    """Cut a text behind every . ? and !."""
    sentences: list[list[str]] = [[]]
    for word in text.split():
        sentences[-1].append(word)
        if word[-1] in ENDS:
            sentences.append([])
    return [" ".join(words) for words in sentences if words]
