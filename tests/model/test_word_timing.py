"""The estimate of when each word of a reply is spoken, against synthesized speech whose word times are known.

tests/data/word_times.json: 18 utterances of festival's cmu_us_slt_arctic_hts; ``starts`` and ``ends`` of their
space-separated words in speech codes of 40 ms, ``codes`` in all.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.model.word_timing import LEAD_GROUPS, TextSlot, spoken_slots, word_middles

UTTERANCES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "word_times.json").read_text())
Layout = Literal["dense", "aligned"]


def pieces(text: str) -> list[tuple[str, int]]:
    """The text as ids would have it, with each one's word: long words in two, punctuation on its own."""
    found: list[tuple[str, int]] = []
    for index, word in enumerate(text.split()):
        letters = word.rstrip(",.?!")
        parts = [letters[:7], letters[7:], word[len(letters) :]]
        parts[0] = " " * bool(index) + parts[0]
        found += [(part, index) for part in parts if part]
    return found


def slots_of(utterance: dict[str, Any], layout: Layout) -> list[TextSlot]:
    """Its text in groups. ``dense``: one id a group, as the official model; ``aligned``: as nano is trained."""
    slots: list[TextSlot] = []
    free = 0
    for text, word in pieces(utterance["text"]):
        wanted = 0 if layout == "dense" else utterance["starts"][word] // 4 - LEAD_GROUPS
        group = max(free, wanted)
        slots.append(TextSlot(text, group * 4, waited=group > free))
        free = group + 1
    return slots


def errors(layout: Layout, *, complete: bool) -> list[float]:
    """Seconds between the estimated and the true middle of every word."""
    found: list[float] = []
    for utterance in UTTERANCES:
        middles = word_middles(slots_of(utterance, layout), utterance["codes"] if complete else None)
        truth = [(start + end) / 2 for start, end in zip(utterance["starts"], utterance["ends"], strict=True)]
        found += [abs(a - b) * 0.04 for a, b in zip(middles, truth, strict=True)]
    return found


@pytest.mark.parametrize(
    ("layout", "complete", "seconds"),
    [("aligned", True, 0.08), ("aligned", False, 0.09), ("dense", True, 0.16), ("dense", False, 0.3)],
)
def test_words_are_placed_within_one_word(layout: Layout, complete: bool, seconds: float) -> None:
    assert mean(errors(layout, complete=complete)) < seconds


@pytest.mark.parametrize("layout", ["dense", "aligned"])
@pytest.mark.parametrize("complete", [True, False])
def test_an_interruption_keeps_the_played_words(layout: Layout, complete: bool) -> None:
    """Every utterance is interrupted once a second."""
    wrong: list[int] = []
    for utterance in UTTERANCES:
        slots, all_pieces = slots_of(utterance, layout), pieces(utterance["text"])
        for heard in range(25, utterance["codes"], 25):
            known = slots if complete else [slot for slot in slots if slot.position < heard + 25]
            kept = spoken_slots(known, heard, utterance["codes"] if complete else None)
            kept_words = all_pieces[kept - 1][1] + 1 if kept else 0
            true_words = sum(s + e <= 2 * heard for s, e in zip(utterance["starts"], utterance["ends"], strict=True))
            wrong.append(abs(kept_words - true_words))
    assert mean(wrong) < (0.9 if layout == "dense" and not complete else 0.5)
    assert max(wrong) <= 3


def test_text_that_ran_ahead_is_not_heard() -> None:
    """The official layout: all twenty words are there after 3.2 s of speech that is 20 s long."""
    slots = [TextSlot(" example", 4 * index) for index in range(20)]
    assert spoken_slots(slots, 250, 500) == 10
    assert spoken_slots(slots, 500, 500) == 20


def test_ideographs_are_words_of_their_own() -> None:
    slots = [TextSlot(text, 4 * index) for index, text in enumerate("今天天气很好")]
    assert spoken_slots(slots, 60, 120) == 3


def test_a_character_of_several_ids_is_one_word() -> None:
    slots = [TextSlot("", 0), TextSlot("", 4), TextSlot("好", 8), TextSlot("", 12), TextSlot("的", 16)]
    assert spoken_slots(slots, 20, 40) == 3


def test_punctuation_goes_with_its_word() -> None:
    slots = [TextSlot(text, 4 * index) for index, text in enumerate([" yes", ",", " no", "."])]
    assert spoken_slots(slots, 12, 40) == 2


def test_impossibly_fast_padding_is_no_anchor() -> None:
    """Long text within one second, then a pad: the text ran ahead, whatever the pad means."""
    slots = [TextSlot(" unbelievable", 4 * index) for index in range(6)] + [TextSlot(" end", 28, waited=True)]
    assert word_middles(slots, 400)[-1] > 300


@given(
    st.lists(
        st.tuples(st.sampled_from([" a", " word", ",", "", "好", "1", " ", "\n"]), st.booleans(), st.integers(0, 9))
    ),
    st.integers(0, 400),
    st.one_of(st.none(), st.integers(0, 400)),
)
def test_hearing_more_never_forgets_words(given_: list[tuple[str, bool, int]], heard: int, total: int | None) -> None:
    position, slots = 0, []
    for text, waited, step in given_:
        position += step
        slots.append(TextSlot(text, position, waited))
    middles = word_middles(slots, total)
    assert middles == sorted(middles)
    assert 0 <= spoken_slots(slots, heard, total) <= spoken_slots(slots, heard + 10, total) <= len(slots)
