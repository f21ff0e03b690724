"""Estimates which words of a spoken reply had been spoken at a given time, from the reply's ids alone.

Text and speech are one stream, but a text id precedes its word's speech by an unknown time. The official model writes
one text id per group, so its text runs further and further ahead; nano's words are up to three groups ahead. The time
of each word is estimated in speech codes (40 ms):

1. A word whose text follows padding was delayed until its time: it begins `LEAD_GROUPS` after its slot. Such a word is
   an *anchor*, unless the speech before it would be impossibly fast.
2. The beginning is an anchor, and so is the end of a complete reply.
3. Between anchors, time is divided in proportion to `spoken_length`: letters, digits, pauses. After the last anchor,
   words are spoken at `CODES_PER_LETTER`.
4. No word is spoken before its text.

A word counts as spoken from its middle on. On 18 synthesized utterances (95 s of one voice, to which the speed and the
pauses below were fitted; tests/model/test_word_timing.py), an interruption keeps on average 0.2 words too many or too
few with nano's layout, 0.4 with the official one, and 0.8 while an official reply is not complete; never more than 3.
The error of a word's middle is 0.07, 0.14 and 0.25 s. The estimate also holds for voices of another speed if the reply
is complete or has anchors; after the last anchor the error grows with the distance.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from realtime.model.interleave import GROUP_SPEECH_IDS

LEAD_GROUPS = 3
"""Groups from a word's text to its speech, for a word that the model delays (scripts/nano/data/sequences.py)."""

CODES_PER_LETTER = 1.7
"""25 codes per second at 15 letters per second, pauses counted as letters: the speed of reading aloud."""

FASTEST = 0.5
"""An anchor is ignored if the speech before it would take less than this share of `CODES_PER_LETTER`."""

_DIGIT, _IDEOGRAPH, _COMMA, _FULL_STOP = 4.0, 3.0, 5.0, 6.0
_SHORT_PAUSES, _LONG_PAUSES = frozenset(",;:、，；：–—"), frozenset(".?!。？！…")


@dataclass(frozen=True, slots=True)
class TextSlot:
    """One text id of a reply: the characters that it completes (empty for part of a character), the number of speech
    codes before it, and whether the text slot before it was padding."""

    text: str
    position: int
    waited: bool = False


@dataclass(slots=True)
class _Word:
    """``first`` and ``stop``: its ids. ``letters``: its length; ``pause``: the pause after it; both in letters."""

    first: int
    stop: int
    letters: float = 0.0
    pause: float = 0.0


def spoken_slots(slots: Sequence[TextSlot], heard_codes: int, total_codes: int | None) -> int:
    """The number of text ids, from the first on, whose words were spoken within ``heard_codes``.

    ``total_codes``: of the whole reply; None while it is not complete.
    """
    words = _words(slots)
    middles = word_middles(slots, total_codes)
    heard = [word.stop for word, middle in zip(words, middles, strict=True) if middle <= heard_codes]
    return max(heard, default=0)


def word_middles(slots: Sequence[TextSlot], total_codes: int | None) -> list[float]:
    """The time of the middle of each word, in codes from the beginning of the reply."""
    words = _words(slots)
    begins = [0.0]
    for word in words:
        begins.append(begins[-1] + word.letters + word.pause)
    places, times = _anchors(slots, words, begins, total_codes)
    middles: list[float] = []
    for word, begin in zip(words, begins, strict=False):
        middle = _time_at(begin + word.letters / 2, places, times)
        middles.append(max(middle, slots[word.first].position, middles[-1] if middles else 0.0))
    return middles


def spoken_length(text: str) -> tuple[float, float]:
    """The spoken length of a text and the pauses in it, both in letters."""
    letters = pause = 0.0
    for character in text:
        if character.isdigit():
            letters += _DIGIT
        elif _is_ideograph(character):
            letters += _IDEOGRAPH
        elif character.isalpha():
            letters += 1.0
        elif character in _SHORT_PAUSES:
            pause += _COMMA
        elif character in _LONG_PAUSES:
            pause += _FULL_STOP
    return letters, pause


def _words(slots: Sequence[TextSlot]) -> list[_Word]:
    """The ids grouped in words: a space or an ideograph begins one, punctuation belongs to the word before it."""
    words: list[_Word] = []
    partial = False
    for index, slot in enumerate(slots):
        if not words or (not partial and _begins_word(slot.text)):
            words.append(_Word(index, index))
        word = words[-1]
        word.stop = index + 1
        letters, pause = spoken_length(slot.text)
        word.letters += letters
        word.pause += pause
        partial = not slot.text
    return words


def _begins_word(text: str) -> bool:
    """Whether these characters begin a word; incomplete bytes count as an ideograph's."""
    return not text or (text[0].isspace() and not text.isspace()) or _is_ideograph(text[0])


def _is_ideograph(character: str) -> bool:
    return unicodedata.category(character) == "Lo" and ord(character) >= 0x2E80


def _anchors(
    slots: Sequence[TextSlot], words: Sequence[_Word], begins: Sequence[float], total_codes: int | None
) -> tuple[list[float], list[float]]:
    """Known pairs of position (letters before it) and time (codes), both increasing."""
    places, times = [0.0], [0.0]

    def add(place: float, time: float) -> None:
        if place > places[-1] and time - times[-1] >= FASTEST * CODES_PER_LETTER * (place - places[-1]):
            places.append(place)
            times.append(time)

    for word, begin in zip(words, begins, strict=False):
        slot = slots[word.first]
        if slot.waited:
            add(begin, slot.position + (LEAD_GROUPS + 0.5) * GROUP_SPEECH_IDS)
    if total_codes is not None:
        add(begins[-1], total_codes)
    return places, times


def _time_at(place: float, places: Sequence[float], times: Sequence[float]) -> float:
    """Linear between two anchors; after the last one at the usual speed."""
    left = bisect_right(places, place) - 1
    beyond = place - places[left]
    if left + 1 == len(places):
        return times[left] + beyond * CODES_PER_LETTER
    share = beyond / (places[left + 1] - places[left])
    return times[left] + share * (times[left + 1] - times[left])
