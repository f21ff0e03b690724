"""Text to phones: the 39 phones of cmudict without stress, for CTC targets and pseudo audio.

The dictionary is the one in the `pocketsphinx` wheel. Words it lacks get their phones from a known stem and an
ending, then from letter rules; `unknown_words()` names them so that a corpus can avoid or spell them.

    python scripts/nano/data/phones.py "set a timer for 7 minutes"

Class ids: 0 is the CTC blank, 1..39 are `PHONES` in order.
"""

import argparse
import functools
import importlib.util
import re
from collections import Counter
from pathlib import Path

PHONES: tuple[str, ...] = tuple(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()
)
BLANK = 0
PHONE_ID: dict[str, int] = {phone: index + 1 for index, phone in enumerate(PHONES)}
CLASSES = len(PHONES) + 1

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_SIGNS = {"%": "percent", "+": "plus", "=": "equals", "*": "times", "×": "times", "÷": "divided by", "&": "and",
          "°": "degrees", "@": "at"}  # fmt: skip
_VOICED_END = set("B D G V DH L M N NG R W Y AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}
# Longest match first; only for words that neither the dictionary nor a stem knows.
_LETTERS = {
    "tion": "SH AH N", "sion": "ZH AH N", "ough": "AO", "igh": "AY", "tch": "CH", "eau": "OW", "sch": "SH", "dge": "JH",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K", "ng": "NG", "qu": "K W", "gh": "G",
    "kn": "N", "wr": "R", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "ai": "EY", "ay": "EY",
    "oi": "OY", "oy": "OY", "au": "AO", "aw": "AO", "ie": "IY", "ei": "EY", "ey": "IY", "ue": "UW", "ew": "UW",
    "er": "ER", "ir": "ER", "ur": "ER", "ar": "AA R", "or": "AO R",
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T",
    "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip

_unknown: Counter[str] = Counter()


def number_words(value: int) -> list[str]:
    """Words of an integer as read aloud, without "and"; negative numbers start with "minus"."""
    if value < 0:
        return ["minus", *number_words(-value)]
    if value < 20:
        return [_ONES[value]]
    if value < 100:
        tens, ones = divmod(value, 10)
        return [_TENS[tens], *([_ONES[ones]] if ones else [])]
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if value >= size:
            count, rest = divmod(value, size)
            return [*number_words(count), name, *(number_words(rest) if rest else [])]
    raise AssertionError(value)


def ordinal_words(value: int) -> list[str]:
    """Words of an ordinal number: 21 -> twenty first."""
    *head, last = number_words(value)
    if last.endswith("y"):
        return [*head, last[:-1] + "ieth"]
    return [*head, _ORDINALS.get(last, last if last.endswith("th") else last + "th")]


def _clock_words(hour: int, minute: int) -> list[str]:
    if minute == 0:
        return [*number_words(hour), "o'clock"]
    return [*number_words(hour), *(["oh"] if minute < 10 else []), *number_words(minute)]


_TOKEN = re.compile(
    r"(?P<clock>\d{1,2}:\d\d)(?:\s*(?P<half>[ap])\.?m\b\.?)?"
    r"|(?P<hour>\d{1,2})\s*(?P<hourhalf>[ap])\.?m\b\.?"
    r"|\$(?P<money>\d[\d,]*)"
    r"|(?P<ordinal>\d+)(?:st|nd|rd|th)\b"
    r"|(?P<decimal>\d+\.\d+)"
    r"|(?P<number>\d[\d,]*)"
    r"|(?P<word>[a-z]+(?:'[a-z]+)*)"
    r"|(?P<sign>[%+=*×÷&°@])"
)


def words(text: str) -> list[str]:
    """The lower-case words of a text as they are spoken: numbers, clock times and signs written out."""
    out: list[str] = []
    for match in _TOKEN.finditer(text.lower().replace("\u2019", "'")):
        kind, value = match.lastgroup, match.group(match.lastgroup or 0)
        if match["clock"]:
            hour, minute = map(int, match["clock"].split(":"))
            spoken = _clock_words(hour, minute)
            if match["half"]:
                spoken = [w for w in spoken if w != "o'clock"] + [match["half"], "m"]
            out += spoken
        elif match["hour"]:
            out += [*number_words(int(match["hour"])), match["hourhalf"], "m"]
        elif kind == "money":
            out += [*number_words(int(value.replace(",", ""))), "dollars"]
        elif kind == "ordinal":
            out += ordinal_words(int(value))
        elif kind == "decimal":
            whole, fraction = value.split(".")
            out += [*number_words(int(whole)), "point", *(_ONES[int(digit)] for digit in fraction)]
        elif kind == "number":
            out += number_words(int(value.replace(",", "")))
        elif kind == "sign":
            out += _SIGNS[value].split()
        else:
            out.append(value)
    return out


@functools.cache
def dictionary() -> dict[str, tuple[str, ...]]:
    """First pronunciation of every word in cmudict."""
    spec = importlib.util.find_spec("pocketsphinx")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("cmudict comes with the pocketsphinx package: pip install pocketsphinx")
    path = Path(spec.origin).parent / "model" / "en-us" / "cmudict-en-us.dict"
    entries: dict[str, tuple[str, ...]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones_ = line.split()
        entries.setdefault(word, tuple(phones_)) if "(" not in word else None
    return entries


def _with_ending(stem: tuple[str, ...], ending: str) -> tuple[str, ...]:
    last = stem[-1]
    if ending == "s":
        return stem + (("IH", "Z") if last in _SIBILANTS else ("Z",) if last in _VOICED_END else ("S",))
    if ending == "ed":
        return stem + (("IH", "D") if last in ("T", "D") else ("D",) if last in _VOICED_END else ("T",))
    return stem + {"ing": ("IH", "NG"), "er": ("ER",), "ly": ("L", "IY")}[ending]


def _from_stem(word: str) -> tuple[str, ...] | None:
    known = dictionary()
    for suffix, ending in (("'s", "s"), ("s'", "s"), ("es", "s"), ("s", "s"), ("ed", "ed"), ("ing", "ing"),
                           ("er", "er"), ("ly", "ly")):  # fmt: skip
        if not word.endswith(suffix) or len(word) - len(suffix) < 3:
            continue
        stem = word[: -len(suffix)]
        undoubled = stem[:-1] if stem[-1:] == stem[-2:-1] else stem
        for candidate in (stem, stem + "e", undoubled):
            if candidate in known:
                return _with_ending(known[candidate], ending)
    for cut in range(3, len(word) - 2):
        if word[:cut] in known and word[cut:] in known:
            return known[word[:cut]] + known[word[cut:]]
    return None


def _from_letters(word: str) -> tuple[str, ...]:
    out: list[str] = []
    letters = re.sub(r"(?<=[^aeiou])e$|'", "", word)
    at = 0
    while at < len(letters):
        for size in (4, 3, 2, 1):
            piece = letters[at : at + size]
            if piece in _LETTERS:
                out += _LETTERS[piece].split()
                at += size
                break
        else:
            at += 1
    return tuple(out)


@functools.cache
def word_phones(word: str) -> tuple[str, ...]:
    """Phones of one lower-case word; a word outside the dictionary is noted in `unknown_words()`."""
    known = dictionary().get(word)
    if known:
        return known
    _unknown[word] += 1
    return _from_stem(word) or _from_letters(word)


def phones(text: str) -> list[str]:
    """Phones of a text, words joined with nothing between them."""
    return [phone for word in words(text) for phone in word_phones(word)]


def phone_ids(text: str) -> list[int]:
    """CTC class ids (1..39) of a text."""
    return [PHONE_ID[phone] for phone in phones(text)]


def unknown_words() -> list[str]:
    """Words met so far whose phones were guessed, because cmudict lacks them."""
    return sorted(_unknown)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("text", nargs="+")
    text = " ".join(parser.parse_args().text)
    print(" ".join(words(text)), "|", " ".join(phones(text)))
    if unknown_words():
        print("guessed:", " ".join(unknown_words()))


if __name__ == "__main__":
    main()
