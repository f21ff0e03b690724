"""Phrasings: how things are asked, read from the text files in phrasings/.

A file has sections `[intent]` of one phrasing a line, the usual ones first; those after a line `--` are held out: they
are never trained on.
`{slot}` is filled, `(a|b|)` is one of its alternatives.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("phrasings")
MOST_SAID = 16
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")


@dataclass(frozen=True, slots=True)
class Phrasings:
    """The phrasings of one intent: for training, and held out for evaluation."""

    train: tuple[str, ...]
    unseen: tuple[str, ...]
    most_said: int = 0
    """So many of `train` come first as what most people say."""

    def draw(self, split: str, rng: random.Random) -> str:
        """Draw one of 'train', 'unseen' or 'all'; every other one of those that most people say."""
        if split == "train" and self.most_said and rng.random() < 0.5:
            return rng.choice(self.train[: self.most_said])
        return rng.choice(self.of(split))

    def of(self, split: str) -> tuple[str, ...]:
        """Return the phrasings of 'train', 'unseen' or 'all'."""
        return {"train": self.train, "unseen": self.unseen, "all": self.train + self.unseen}[split]


@cache
def load() -> Mapping[str, Phrasings]:
    """Read every file. Raises ValueError for an intent that stands twice or has no phrasing of a kind."""
    found: dict[str, Phrasings] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        for section in path.read_text("utf-8").split("\n[")[0:]:
            name, _, body = section.lstrip("[").partition("]")
            train, _, unseen = body.partition("\n--\n")
            parts = Phrasings(_each(train), _lines(unseen), MOST_SAID)
            if name in found or not parts.train or not parts.unseen:
                raise ValueError(f"{path.name}: [{name}] stands twice, or lacks phrasings before or after its --")
            found[name] = parts
    return found


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _each(text: str) -> tuple[str, ...]:
    """Every alternative of every line, so that a line with many of them is drawn as often as they are."""
    return tuple(dict.fromkeys(a for line in _lines(text) for a in alternatives(line)))


def choose(phrasing: str, rng: random.Random) -> str:
    """Settle the alternatives of a phrasing."""
    while match := _CHOICE.search(phrasing):
        phrasing = phrasing[: match.start()] + rng.choice(match[1].split("|")) + phrasing[match.end() :]
    return " ".join(phrasing.split())


def alternatives(phrasing: str) -> list[str]:
    """List all that `choose` may give."""
    match = _CHOICE.search(phrasing)
    if match is None:
        return [" ".join(phrasing.split())]
    return [
        text
        for part in match[1].split("|")
        for text in alternatives(phrasing[: match.start()] + part + phrasing[match.end() :])
    ]


_COMMANDS = frozenset(
    "add set start stop tell give turn switch put take remove read call play cancel count say spell flip toss roll "
    "throw sing convert calculate multiply divide subtract search look find remind wake make change dim mute check "
    "list connect transfer delete open close create ring phone show repeat".split()
)
_BEFORE_COMMAND = (
    "please", "please", "can you", "can you", "could you", "could you", "nano", "hey nano", "okay nano",
    "i want you to", "would you please", "can you please", "could you please", "i need you to", "go ahead and",
    "would you", "will you", "i would like you to", "um can you", "uh", "um", "okay", "so", "hey", "hi nano please",
    "do me a favor and", "um please", "alright", "now", "yes please", "just",
)  # fmt: skip
_BEFORE = (
    "nano", "hey nano", "okay nano", "hello", "please", "um", "uh", "so", "okay", "well", "hey", "hi", "okay so",
    "um so", "quick question", "one more thing", "alright",
)  # fmt: skip
_AFTER = ("please", "please", "now", "nano", "for me", "thanks", "thank you", "if you can", "right now", "okay")


def dressed(text: str, rng: random.Random, share: float = 0.25) -> str:
    """Say a share of the texts more politely: "could you ...", "... please"."""
    if rng.random() >= share:
        return text
    words = text.split()
    if rng.random() < 0.35:
        after = _AFTER if words[0] in _COMMANDS else ("please", "nano", "please nano")
        return text if words[-1] in ("please", "nano", "thanks", "you") else f"{text} {rng.choice(after)}"
    if words[0] in ("please", "can", "could", "nano", "hey", "hello", "hi", "and"):
        return text
    return f"{rng.choice(_BEFORE_COMMAND if words[0] in _COMMANDS else _BEFORE)} {text}"


_CONTRACTED = (
    (re.compile(r"\b(what|that|it|how|who|where|there|here|he|she|when) is\b(?! [^a-z]|$)"), r"\1's"),
    (re.compile(r"\bi am\b(?!$)"), "i'm"),
    (re.compile(r"\b(we|you|they) are\b(?!$)"), r"\1're"),
    (re.compile(r"\b(i|we|you) would\b(?= like| love| rather)"), r"\1'd"),
    (re.compile(r"\b(i|you|we) will\b"), r"\1'll"),
    (re.compile(r"\b(i|you|we) have\b(?= got| been| to )"), r"\1've"),
    (re.compile(r"\b(do|does|did|is|was|would|could|should) not\b"), r"\1n't"),
    (re.compile(r"\bcan not\b"), "can't"),
    (re.compile(r"\blet us\b"), "let's"),
    (re.compile(r"\bgoing to\b(?= \w)"), "gonna"),
    (re.compile(r"\bwant to\b(?= \w)"), "wanna"),
)
_RARE = ("gonna", "wanna")
CONTRACTED = 0.5
"""Of what is asked: that it is contracted where it can be, as people speak."""
_FULL = {
    "what's": "what is", "that's": "that is", "it's": "it is", "how's": "how is", "who's": "who is",
    "where's": "where is", "there's": "there is", "here's": "here is", "he's": "he is", "she's": "she is",
    "when's": "when is", "i'm": "i am", "we're": "we are", "you're": "you are", "they're": "they are",
    "i'd": "i would", "we'd": "we would", "you'd": "you would", "i'll": "i will", "you'll": "you will",
    "we'll": "we will", "i've": "i have", "you've": "you have", "we've": "we have", "don't": "do not",
    "doesn't": "does not", "didn't": "did not", "isn't": "is not", "wasn't": "was not", "wouldn't": "would not",
    "couldn't": "could not", "shouldn't": "should not", "can't": "can not", "let's": "let us", "gonna": "going to",
    "wanna": "want to",
}  # fmt: skip


def contracted(text: str, rng: random.Random) -> str:
    """Say a text as people speak: "what's", "i'm", now and then "gonna"."""
    for pattern, short in _CONTRACTED:
        if rng.random() < (0.15 if short in _RARE else 0.85):
            text = pattern.sub(short, text)
    return text


def in_full(text: str) -> str:
    """Undo contractions: "what's" is "what is"."""
    return " ".join(_FULL.get(word, word) for word in text.split())


POLITE_WORDS = frozenset(w for text in (*_BEFORE_COMMAND, *_BEFORE, *_AFTER) for w in text.split())
