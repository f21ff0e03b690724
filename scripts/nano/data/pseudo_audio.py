"""Audio that was never spoken: what a phone recogniser could emit for a text, and real encoder rows beside it.

Pseudo audio holds the phones of the user's words, spread over 25 Hz frames as a CTC recogniser would emit them, with
its kind of errors.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scripts.nano.data import phones

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


def pseudo_audio(text: str, rng: random.Random, errors: float = 0.2, quiet: bool = False) -> PseudoAudio:
    """Frames that a recogniser could emit for `text` (empty: noise, or nothing at all where it is `quiet`)."""
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
        density = 0.0 if quiet else rng.choice((0.05, 0.1, 0.15, 0.3))
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


@dataclass(frozen=True, slots=True, eq=False)
class EncoderRows:
    """Real audio: encoder rows [P, d] at 25 Hz, of whose adapter features the first `count` are used.

    As a tensor gradients flow through them.
    """

    rows: NDArray[np.float16] | Tensor
    count: int


Heard = PseudoAudio | EncoderRows
"""What fills the audio positions."""


def heard_length(heard: Heard) -> int:
    """Number of audio positions (12.5 Hz) of a piece of audio."""
    return len(heard.first) // 2 if isinstance(heard, PseudoAudio) else heard.count
