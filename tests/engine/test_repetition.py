"""What ends a reply that says nothing any more, and what must not."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import cycle, islice, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.engine.repetition import Degeneration, RepetitionDetector
from realtime.model.tokens import TokenKind

PAD = -1
"""An empty slot of either channel."""
SILENCE = (7000, 7001, 7002)


def judge(text: Iterable[int], speech: Iterable[int]) -> tuple[Degeneration | None, int]:
    """Groups of one text id and four codes, until one channel's script ends: what was found, after how many ids."""
    detector, count = RepetitionDetector(), 0
    codes = iter(speech)
    for word in text:
        group = list(islice(codes, 4))
        for id_, kind in [(word, TokenKind.TEXT), *((code, TokenKind.SPEECH) for code in group)]:
            count += 1
            found = detector.push(id_, TokenKind.PADDING if id_ == PAD else kind)
            if found:
                return found, count
        if len(group) < 4:
            break
    return None, count


def judge_text(ids: Iterable[int]) -> Degeneration | None:
    """A written reply."""
    detector = RepetitionDetector()
    return next((found for id_ in ids if (found := detector.push(id_, TokenKind.TEXT))), None)


def varied(count: int = 10**6, seed: int = 0) -> Iterator[int]:
    """Speech."""
    rng = random.Random(seed)
    return (rng.randrange(6000) for _ in range(count))


def words(count: int, every: int = 3) -> Iterator[int]:
    """A word in every third slot."""
    return (100 + n // every % 900 if n % every == 0 else PAD for n in range(count))


ONES = "one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def count_to_one_hundred() -> list[str]:
    """Its words, commas on their own."""
    numbers = [[word] for word in ONES + TEENS]
    for tens in TENS:
        numbers += [[tens], *([tens, one] for one in ONES)]
    numbers.append(["one", "hundred"])
    return [word for number in numbers for word in [*number, ","]]


def test_a_count_to_one_hundred_is_no_loop() -> None:
    """The worst voice for it: every word always sounds the same, and there is silence between the numbers."""
    said = count_to_one_hundred()
    ids = {word: index for index, word in enumerate(dict.fromkeys(said))}
    sounds = {word: list(varied(4 + 2 * len(word), seed=index)) for word, index in ids.items()}
    sounds[","] = [SILENCE[0]] * 10
    speech = [code for word in said for code in sounds[word]]
    slots = len(speech) // 4
    spread = {int(index * slots / len(said)): ids[word] for index, word in enumerate(said)}
    assert judge((spread.get(slot, PAD) for slot in range(slots)), speech)[0] is None
    dense = [*(ids[word] for word in said), *[PAD] * slots]
    assert judge(dense[:slots], speech)[0] is None
    assert judge_text(ids[word] for word in said) is None


def test_a_count_in_digits_is_no_loop() -> None:
    digits = [id_ for number in range(1, 101) for id_ in (*(ord(d) for d in str(number)), 1, 2)]
    assert judge_text(digits) is None


@pytest.mark.parametrize("seconds", [1, 3, 8])
def test_a_pause_is_not_the_end(seconds: int) -> None:
    speech = [*varied(100), *islice(cycle(SILENCE), 25 * seconds), *varied(100, seed=1)]
    assert judge(words(10**4), speech)[0] is None


@pytest.mark.parametrize("laugh", [[1], [1, 2], [1, 2, 3]])
def test_laughter_and_repeated_noes_are_no_loop(laugh: list[int]) -> None:
    assert judge_text([*range(100, 120), *laugh * 10, *range(200, 220)]) is None


def test_a_refrain_is_no_loop() -> None:
    song = [id_ for verse in range(4) for id_ in (*range(100 * verse, 100 * verse + 30), *range(1000, 1030))]
    assert judge_text(song * 2) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(50, 6000))
def test_speech_of_any_voice_is_no_loop(seed: int, codebook: int) -> None:
    rng = random.Random(seed)
    speech = [rng.randrange(codebook) for _ in range(3000)]
    assert judge(words(750), speech)[0] is None


@pytest.mark.parametrize("period", [1, 2, 5, 20, 64])
def test_text_in_a_loop_is_ended(period: int) -> None:
    beginning = list(range(500, 530))
    found = judge_text([*beginning, *islice(cycle(range(period)), 600)])
    assert found is not None and found.reason == "looped"
    ids = max(64, 8 * period)
    assert found.surplus == ids - period  # the loop's first round stays


def test_looping_text_is_found_below_non_speech_audio() -> None:
    found, count = judge(islice(cycle(range(100, 106)), 10**4), varied())
    assert found is not None and found.reason == "looped"
    assert count == 5 * 63 + 1 and found.surplus == count - 5 * 6


@pytest.mark.parametrize("period", [9, 25, 125])
def test_speech_in_a_loop_is_ended(period: int) -> None:
    speech = [*varied(200), *islice(cycle(range(period)), 2000)]
    found, count = judge(words(10**4), speech)
    assert found is not None and found.reason == "looped"
    codes = max(250, 4 * period)
    assert count == pytest.approx((200 + codes) * 5 / 4, abs=2)
    assert found.surplus == pytest.approx((codes - period) * 5 / 4, abs=2)


@pytest.mark.parametrize("codes", [1, 3, 8])
def test_endless_silence_is_ended(codes: int) -> None:
    """In whatever order its few codes come."""
    rng = random.Random(1)
    silence = (rng.randrange(codes) for _ in range(10**5))
    found, count = judge((PAD for _ in range(10**5)), [*varied(100), *islice(silence, 2000)])
    assert found is not None and found.reason == "silent"
    assert count == pytest.approx(350 * 5 / 4, abs=30)
    assert found.surplus == pytest.approx(250 * 5 / 4, abs=2)


def test_endless_padding_is_ended() -> None:
    found, count = judge(repeat(PAD, 10**4), [*varied(8), *repeat(PAD, 10**4)])
    assert found is not None and found.reason == "silent"
    assert (count, found.surplus) == (260, 250)


def test_speech_without_new_text_is_ended() -> None:
    text = [*range(100, 110), *repeat(PAD, 10**4)]
    found, count = judge(text, varied())
    assert found == Degeneration("looped", 0)
    assert count / 5 * 4 / 25 == pytest.approx(20 + 1.5 * 10, abs=0.5)


def test_speech_may_take_its_time_behind_its_text() -> None:
    """The official layout: a hundred ids of text in the first 16 s, spoken in 60 s."""
    assert judge([*range(100, 200), *repeat(PAD, 275)], varied(1500))[0] is None
