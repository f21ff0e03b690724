"""English sentences that are no business of nano's, thousands of them: of Debian's package fortunes, where it is there.

They are read for training only; nothing of them is kept in a checkpoint or in this repository.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from zlib import crc32

from scripts.nano import domain
from scripts.nano.data import phones
from scripts.nano.domain.phrasings import alternatives

HELD_OUT = 12
"""One sentence in so many is kept for the evaluation."""
FOLDER = Path("/usr/share/games/fortunes")
SHORTEST, LONGEST = 3, 12
"""Words of a sentence."""


def is_held_out(sentence: str) -> bool:
    """Tell whether a sentence is never to be trained on."""
    return crc32(sentence.encode()) % HELD_OUT == 0


@cache
def outside_sentences(split: str = "train", folder: Path = FOLDER) -> tuple[str, ...]:
    """Those of 'train' or, for anything else, those held out."""
    return tuple(s for s in _sentences(folder) if is_held_out(s) != (split == "train"))


@cache
def _sentences(folder: Path) -> tuple[str, ...]:
    """Sentences as a recogniser would write them, of words that have a pronunciation; none asks what nano knows."""
    if not folder.is_dir():
        print(
            f"{folder} is not there: sentences outside the domain are few; install Debian's fortunes", file=sys.stderr
        )
        return ()
    known = {a for i in domain.INTENTS for p in i.phrasings.of("all") for a in alternatives(p)}
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*.u8")):
        for sentence in re.split(r"(?<=[.?!])\s+|\n%\n|\n\s+--", path.read_text("utf-8", errors="ignore")):
            words = " ".join(sentence.split()).rstrip(".?!,").replace(",", "").lower()
            long_enough = SHORTEST <= len(words.split()) <= LONGEST
            if long_enough and re.fullmatch(r"[a-z' ]+", words) and words not in known:
                if all(word in phones.dictionary() for word in words.split()):
                    found[words] = None
    return tuple(found)
