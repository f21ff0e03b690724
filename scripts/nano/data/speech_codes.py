"""The speech codes of nano: what an id in 0..6560 says about 40 ms of speech.

Large models learn their speech codes from a recognizer (S3: the codes must let it recognise the text). Nano's
speech comes from a synthesizer that knows its own phones, so its codes are that same idea with the labels
given instead of learnt: one code names the phone, where its start lies, and the pitch.

    id = phone * 24 + position * 8 + pitch                       (25 ids per second; 1008 ids in use)

- phone: index into PHONES; `pau` is silence.
- position: EARLY, the phone starts in this token or up to half a token before it; LATE, it starts inside the
  first half of this token; CONTINUED, it started in an earlier token. So a boundary is known to 20 ms, and
  two equal phones in a row stay apart.
- pitch: smoothed log F0 in eight equal steps from 125 to 250 Hz, interpolated over unvoiced sounds; always 0
  in silence.

Everything a listener needs to get the words is in the code, nothing else: the code sequence is nearly a
function of the text, so a very small language model can learn to write it. The rest is for the flow to
invent.

Dependencies: numpy, scipy.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "scipy>=1.12"]
# ///

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

VOCABULARY: Final = 6561
"""Ids that the model reserves for speech codes (3^8, the size of the official codebook)."""
TOKEN_SECONDS: Final = 0.04
TOKENS_PER_SECOND: Final = 25

PHONES: Final = (
    *"pau aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng".split(),
    *"ow oy p r s sh t th uh uw v w y z zh dx".split(),
)
"""Phones of festival's American voices; index 0 is silence."""
_ALIASES: Final = {
    "h#": "pau",
    "brth": "pau",
    "axr": "er",
    "hv": "hh",
    "nx": "n",
    "el": "l",
    "em": "m",
    "en": "n",
}
_PHONE_INDEX: Final = {name: i for i, name in enumerate(PHONES)} | {
    alias: PHONES.index(name) for alias, name in _ALIASES.items()
}
SILENCE: Final = 0

EARLY, LATE, CONTINUED = range(3)
POSITIONS: Final = 3
PITCHES: Final = 8
PITCH_HZ: Final = (125.0, 250.0)
"""Lower edge of pitch 0, upper edge of pitch 7; what lies outside is clipped. The voice keeps to 2..6."""
PITCH_HYSTERESIS: Final = 0.25
"""A pitch is left only when log F0 is this part of a step outside it: jitter at an edge would be noise to
predict."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One phone of an utterance and the time in seconds at which it ends (the next one starts there)."""

    phone: str
    end: float


@dataclass(frozen=True, slots=True)
class CodeParts:
    """What one code says."""

    phone: str
    position: int
    pitch: int


def code_id(phone: int, position: int, pitch: int) -> int:
    """Index of a phone, position (0..2), pitch (0..7) -> id."""
    return (phone * POSITIONS + position) * PITCHES + pitch


def decode(code: int) -> CodeParts:
    """Id -> its parts. Raises ValueError for an id that no speech of ours contains."""
    if not 0 <= code < len(PHONES) * POSITIONS * PITCHES:
        raise ValueError(f"{code} is no code: expected 0..{len(PHONES) * POSITIONS * PITCHES - 1}")
    phone, rest = divmod(code, POSITIONS * PITCHES)
    return CodeParts(PHONES[phone], *divmod(rest, PITCHES))


def component_ids() -> NDArray[np.int64]:
    """[6561, 3]: phone, position and pitch of every id, ids without a meaning included (they count on past
    the phones). An embedding table that starts as a sum of one row per component lets rare codes share with
    common ones."""
    ids = np.arange(VOCABULARY)
    return np.stack([ids // (POSITIONS * PITCHES), ids // PITCHES % POSITIONS, ids % PITCHES], axis=1)


COMPONENT_SIZES: Final = (-(-VOCABULARY // (POSITIONS * PITCHES)), POSITIONS, PITCHES)
"""Number of values of each column of component_ids: (274, 3, 8)."""


def token_starts(boundaries: Sequence[float], tokens: int) -> NDArray[np.int64]:
    """Start times of the phones in seconds (the first one 0) -> the token in which each starts, strictly
    increasing, 0 first and below `tokens`: the nearest such sequence in the least squares sense, then
    rounded.

    Raises ValueError when there are more phones than tokens."""
    from scipy.optimize import isotonic_regression  # what only reads codes does without scipy

    count = len(boundaries)
    if count > tokens:
        raise ValueError(f"{count} phones do not fit into {tokens} tokens")
    order = np.arange(count)
    slack = np.asarray(boundaries) * TOKENS_PER_SECOND - order
    # k_i + 1 <= k_{i+1} is the same as "k_i - i never falls".
    rising = np.asarray(isotonic_regression(slack).x)
    starts = np.clip(np.floor(rising + 0.5), 0, tokens - count).astype(np.int64) + order
    starts[0] = 0
    return starts


def pitch_levels(f0: NDArray[np.float64], silent: NDArray[np.bool_]) -> NDArray[np.int64]:
    """F0 in Hz per token (0 = unvoiced), silence flags per token -> pitch 0..7 per token."""
    voiced = np.flatnonzero(f0 > 0)
    if len(voiced) == 0:
        return np.zeros(len(f0), dtype=np.int64)
    low, high = np.log(PITCH_HZ)
    log_f0 = np.interp(np.arange(len(f0)), voiced, np.log(f0[voiced]))
    steps = np.clip((log_f0 - low) / (high - low) * PITCHES, 0, PITCHES - 1e-6)
    levels = np.zeros(len(f0), dtype=np.int64)
    current = int(steps[0])
    for i, step in enumerate(steps):
        if not current - PITCH_HYSTERESIS <= step <= current + 1 + PITCH_HYSTERESIS:
            current = int(step)
        levels[i] = 0 if silent[i] else current
    return levels


def encode(segments: Sequence[Segment], f0: NDArray[np.float64]) -> list[int]:
    """Phones with end times, F0 in Hz of each token (its length is the number of tokens; 0 = unvoiced) -> one
    id per token. Every phone gets at least one token. Raises ValueError for an unknown phone or too few
    tokens."""
    tokens = len(f0)
    phones = [_phone_index(s.phone) for s in segments]
    boundaries = [0.0, *(s.end for s in segments[:-1])]
    starts = token_starts(boundaries, tokens)
    phone_of = np.repeat(phones, np.diff(np.append(starts, tokens)))
    position_of = np.full(tokens, CONTINUED)
    position_of[starts] = np.where(np.asarray(boundaries) * TOKENS_PER_SECOND < starts, EARLY, LATE)
    pitch_of = pitch_levels(f0, phone_of == SILENCE)
    return [code_id(int(p), int(q), int(r)) for p, q, r in zip(phone_of, position_of, pitch_of, strict=True)]


def _phone_index(name: str) -> int:
    try:
        return _PHONE_INDEX[name]
    except KeyError:
        raise ValueError(f"unknown phone {name!r}: expected one of {' '.join(PHONES)}") from None
