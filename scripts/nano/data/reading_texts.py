"""Texts that teach to read any English aloud: common words, each in a sentence of others, and sentences of fortunes.

    python scripts/nano/data/reading_texts.py work/nano/mind/reading.txt --words 12000 --sentences 900
    python scripts/nano/data/voice_data.py codes work/nano/mind/reading.txt work/nano/mind/codes-reading.jsonl

The first lines hold the most common words, so that an unfinished synthesis is of use. Sentences that `outside.py` holds
out are not among them.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano import domain
from scripts.nano.data.input_speech import common_words
from scripts.nano.data.out_of_domain import outside_sentences

WORDS = 8
"""In a sentence without sense."""
AT_ONCE = 1600
"""Words that are mixed with each other: those of like frequency."""


def word_sentences(count: int, rng: random.Random) -> list[str]:
    """Put the `count` most common words into sentences of `WORDS`, with a comma here and there."""
    out: list[str] = []
    known = common_words(count)
    for first in range(0, len(known), AT_ONCE):
        words = list(known[first : first + AT_ONCE])
        rng.shuffle(words)
        for start in range(0, len(words), WORDS):
            group = words[start : start + WORDS]
            if len(group) > 4 and rng.random() < 0.4:
                group[len(group) // 2] += ","
            out.append(domain.sentence(" ".join(group), rng.choice("...?")))
    return out


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--words", type=int, default=12_000)
    parser.add_argument("--sentences", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    said = list(outside_sentences())
    rng.shuffle(said)
    of_words = word_sentences(args.words, rng)
    whole = [domain.sentence(text, rng.choice("....?!").replace("!", ".")) for text in said[: args.sentences]]
    mixed = itertools.zip_longest(of_words, whole)
    args.out.write_text("\n".join(text for pair in mixed for text in pair if text) + "\n", "utf-8")
    print(f"{args.out}: {len(of_words)} sentences of {args.words} words, {len(whole)} of fortunes")


if __name__ == "__main__":
    main()
