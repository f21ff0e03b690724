"""Training sequences for the language model: prompts, time-aligned TA4 replies, pseudo audio.

A sequence is what the product itself would feed and expect back: chat pieces tokenized one by one, audio positions
filled from vectors, replies as groups of one text id and four speech codes.  Before real encoder features exist the
vectors come from *pseudo audio*: the phones of the user's words, spread over 25 Hz frames as a CTC recogniser would
emit them, with its kind of errors.

Dependencies: numpy, tokenizers.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.nano import domain, phones
from scripts.nano.build_tokenizer import QWEN_SPLIT

GROUP = 4
"""Speech codes per text slot."""
PAD_CODE = 6561
LEAD_GROUPS = 3
"""How many groups (160 ms each) a word's text stands before the group in which its speech starts."""

# --- vocabulary -------------------------------------------------------------------------------------------


class Vocabulary:
    """The tokenizer files of a checkpoint folder: text to ids and the ids of the special names."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
        self._tokenizer.normalizer = normalizers.NFC()
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        self._tokenizer.decoder = decoders.ByteLevel()
        added: dict[str, int] = json.loads((folder / "added_tokens.json").read_text("utf-8"))
        self.added = added
        self.size = max(added.values()) + 1
        self.text_size = added["<|EOT|>"]
        self.eot, self.bot = added["<|EOT|>"], added["<|BOT|>"]
        self.audio_start, self.audio_end = added["<audio_start>"], added["<audio_end>"]
        self.patch = added["<audio_patch>"]
        self.tts_start, self.tts_end, self.tts_pad = (added[f"<tts_{n}>"] for n in ("start", "end", "pad"))
        self.code0 = added["<audio_0>"]

    def text(self, text: str) -> list[int]:
        """Ids of a text that holds no special names."""
        return self._cached(text).copy()

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids that are text; specials and speech codes are left out."""
        return str(self._tokenizer.decode([i for i in ids if i < self.text_size]))

    def _cached(self, text: str) -> list[int]:
        known = self._memory.get(text)
        if known is None:
            known = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
            self._memory[text] = known
        return known

    @cached_property
    def _memory(self) -> dict[str, list[int]]:
        return {}


# --- spoken replies ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text with its speech codes; `starts` holds the code index at which each space-separated word starts."""

    text: str
    starts: tuple[int, ...]
    codes: tuple[int, ...]


def reply_ids(spoken: Spoken, vocabulary: Vocabulary) -> list[int]:
    """Lay a spoken reply out as TA4 groups, its words time aligned, up to and including <tts_end>.

    A word's ids stand LEAD_GROUPS before its speech where they can; order is kept, one id per slot, <tts_pad>
    elsewhere.  The last group is filled up with the padding code.
    """
    slots: dict[int, int] = {}
    free = 0
    word = -1
    ids = vocabulary.text(spoken.text)
    for k, token in enumerate(ids):
        if k == 0 or vocabulary.decode([token]).startswith(" "):
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
        out.append(slots.get(group, vocabulary.tts_pad))
        out.extend(vocabulary.code0 + c for c in codes)
    return [*out, vocabulary.tts_end]


class Voice:
    """Spoken forms of texts, read from the jsonl files of voice_data.py; counts that were never spoken are spliced."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.spoken: dict[str, Spoken] = {}
        for file in files:
            for line in file.read_text("utf-8").splitlines():
                row = json.loads(line)
                words = row["text"].split()
                if len(row["words"]) != len(words):
                    continue
                starts = tuple(int(w[1]) for w in row["words"])
                self.spoken[row["text"]] = Spoken(row["text"], starts, tuple(row["codes"]))
        self._pieces: dict[tuple[str, str], list[tuple[int, ...]]] = {}
        for spoken in self.spoken.values():
            self._cut(spoken)

    def _cut(self, spoken: Spoken) -> None:
        """Keep the numbers of a spoken count as pieces: (words, place in the list) -> codes."""
        parts = spoken.text.rstrip(".").split(", ")
        if len(parts) < 3 or domain.intent_of(spoken.text) != "count":
            return
        at = 0
        marks = []
        for part in parts:
            marks.append(spoken.starts[at])
            at += len(part.split())
        for i, part in enumerate(parts):
            end = marks[i + 1] if i + 1 < len(parts) else len(spoken.codes)
            begin = 0 if i == 0 else marks[i]
            place = "first" if i == 0 else "last" if i + 1 == len(parts) else "middle"
            self._pieces.setdefault((part.lower(), place), []).append(spoken.codes[begin:end])

    def get(self, text: str, rng: random.Random) -> Spoken | None:
        """Return the spoken form of `text`, for counts perhaps a spliced one; None where there is none."""
        known = self.spoken.get(text)
        if known is not None or domain.intent_of(text) != "count":
            return known
        return self._splice(text, rng)

    def _splice(self, text: str, rng: random.Random) -> Spoken | None:
        parts = text.rstrip(".").split(", ")
        codes: list[int] = []
        starts: list[int] = []
        for i, part in enumerate(parts):
            place = "first" if i == 0 else "last" if i + 1 == len(parts) else "middle"
            found = self._pieces.get((part.lower(), place)) or self._pieces.get((part.lower(), "middle"))
            if not found:
                return None
            piece = rng.choice(found)
            words = part.split()
            starts += [len(codes) + j * len(piece) // (len(words) + 1) for j in range(len(words))]
            codes += piece
        return Spoken(text, tuple(starts), tuple(codes))


# --- pseudo audio -----------------------------------------------------------------------------------------

_VOWELS = [phones.PHONE_ID[p] for p in "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()]
_CONSONANT_CLASSES = [
    [phones.PHONE_ID[p] for p in group.split()]
    for group in ("B D G P T K", "F TH S SH HH V DH Z ZH CH JH", "M N NG", "L R W Y", "T D DH", "S Z", "V F", "B V")
]


@dataclass(frozen=True, slots=True, eq=False)
class PseudoAudio:
    """25 Hz frames, an even number: class `first` with weight 1 - `mix`, class `second` with weight `mix`."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    mix: NDArray[np.float32]


def _confused(phone: int, rng: random.Random) -> int:
    if rng.random() < 0.15:
        return rng.randint(1, phones.CLASSES - 1)
    if phone in _VOWELS:
        return rng.choice(_VOWELS)
    return rng.choice(rng.choice([c for c in _CONSONANT_CLASSES if phone in c]))


def _misheard(heard: list[int], rate: float, rng: random.Random) -> list[int]:
    """Apply substitutions, deletions, insertions at `rate` per phone."""
    out = []
    for phone in heard:
        if rng.random() >= rate:
            out.append(phone)
            continue
        kind = rng.random()
        if kind < 0.6:
            out.append(_confused(phone, rng))
        elif kind < 0.75:
            out += [phone, rng.randint(1, phones.CLASSES - 1)]
    return out


def pseudo_audio(text: str, rng: random.Random, errors: float = 0.2) -> PseudoAudio:
    """Frames that a recogniser could emit for `text` (empty: silence or noise)."""
    rate = errors * rng.random() ** 1.5
    frames = [phones.BLANK] * rng.randint(1, 14)
    pace = rng.uniform(0.75, 1.3)
    steady = rng.uniform(0.0, 0.5)
    for word in phones.words(text):
        if rng.random() < 0.1:
            frames += [phones.BLANK] * rng.randint(1, 6)
        for phone in _misheard([phones.PHONE_ID[p] for p in phones.word_phones(word)], rate, rng):
            length = rng.uniform(1.5, 4.0) if phone in _VOWELS else rng.uniform(1.0, 2.8)
            count = max(1, round(length * pace))
            if frames[-1] == phone:
                frames.append(phones.BLANK)
            frames.append(phone)
            for _ in range(count - 1):
                frames.append(phone if frames[-1] == phone and rng.random() < steady else phones.BLANK)
    if not text:
        density = rng.choice((0.0, 0.05, 0.15, 0.3))
        frames += [
            rng.randint(1, phones.CLASSES - 1) if rng.random() < density else phones.BLANK
            for _ in range(rng.randint(8, 60))
        ]
    frames += [phones.BLANK] * rng.randint(4, 18)
    if len(frames) % 2:
        frames.append(phones.BLANK)
    first = np.array(frames, dtype=np.int64)
    second = np.where(
        np.array([rng.random() < 0.6 for _ in frames]),
        phones.BLANK,
        [_confused(f, rng) if f else rng.randint(1, phones.CLASSES - 1) for f in frames],
    )
    strong = rng.uniform(0.0, 0.5)
    mix = np.array([strong * rng.random() * (f != 0 or rng.random() < 0.15) for f in frames], dtype=np.float32)
    return PseudoAudio(first, second, mix)


# --- sequences --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class EncoderRows:
    """Real audio: encoder rows [P, d] at 25 Hz, of whose adapter features the first `count` are used."""

    rows: NDArray[np.float16]
    count: int


Heard = PseudoAudio | EncoderRows
"""What fills the audio positions."""


def heard_length(heard: Heard) -> int:
    """Number of audio positions (12.5 Hz) of a piece of audio."""
    return len(heard.first) // 2 if isinstance(heard, PseudoAudio) else heard.count


@dataclass(slots=True)
class Sequence_:
    """Ids with a loss weight for each (0: given, not predicted) and the audio that starts at a position."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    audio: list[tuple[int, Heard]] = field(default_factory=list)

    def add(self, ids: Sequence[int], weight: float = 0.0) -> None:
        """Append ids that all have one weight."""
        self.ids += ids
        self.weights += [weight] * len(ids)


@dataclass(frozen=True, slots=True)
class Weights:
    """Loss weight of one id by what it is."""

    word: float = 3.0
    pad: float = 1.0
    code: float = 0.6
    end: float = 2.0
    text: float = 1.5


class Writer:
    """Writes conversations as sequences."""

    def __init__(self, vocabulary: Vocabulary, weights: Weights | None = None) -> None:
        self.v = vocabulary
        self.w = weights or Weights()

    def system(self, sequence: Sequence_, text: str) -> None:
        """Append a system turn."""
        sequence.add([self.v.bot, *self.v.text(f"system\n{text}"), self.v.eot])

    def human_text(self, sequence: Sequence_, text: str) -> None:
        """Append a typed user turn."""
        sequence.add([self.v.bot, *self.v.text("human\n"), *self.v.text(text), self.v.eot])

    def human_audio(self, sequence: Sequence_, heard: Heard) -> None:
        """Append a spoken user turn."""
        sequence.add([self.v.bot, *self.v.text("human\n"), self.v.audio_start])
        sequence.audio.append((len(sequence.ids), heard))
        sequence.add([self.v.patch] * heard_length(heard))
        sequence.add([self.v.audio_end, self.v.eot])

    def open_reply(self, sequence: Sequence_, speech: bool) -> None:
        """Append the start of the assistant's turn."""
        sequence.add([self.v.bot, *self.v.text("assistant\n")])
        if speech:
            sequence.add([self.v.tts_start])

    def say(self, sequence: Sequence_, spoken: Spoken, cut: bool = False) -> None:
        """Append a spoken reply as the target; `cut`: only up to its last word (cheaper, and all that is to be
        understood)."""
        ids = reply_ids(spoken, self.v)
        if cut:
            last = max(k for k in range(0, len(ids) - 1, GROUP + 1) if ids[k] != self.v.tts_pad)
            ids = ids[: last + 1]
        for i in ids:
            if i == self.v.tts_pad:
                weight = self.w.pad
            elif i == self.v.tts_end:
                weight = self.w.end
            else:
                weight = self.w.code if i >= self.v.code0 else self.w.word
            sequence.add([i], weight)
        if not cut:
            sequence.add([self.v.eot], self.w.end)

    def write(self, sequence: Sequence_, text: str) -> None:
        """Append a written reply as the target."""
        sequence.add([*self.v.text(text), self.v.eot], self.w.text)


def typed(text: str, rng: random.Random) -> str:
    """Write a user text the way people type it."""
    if rng.random() < 0.35:
        return text
    text = text[0].upper() + text[1:]
    text = " ".join(w.capitalize() if w in _NAMES else w for w in text.split())
    question = text.lower().startswith(("what", "how", "who", "where", "which", "do ", "can ", "are ", "is ", "when"))
    return text + rng.choice(("", "?" if question else ".", "?" if question else "!"))


_NAMES = frozenset(w.lower() for w in (*domain.WEEKDAYS, *domain.MONTHS, "nano", "i")) | {
    c for c in "france germany italy spain england japan china russia greece austria poland sweden norway".split()
}
