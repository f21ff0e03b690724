"""A reply that has stopped saying anything: it repeats itself, or only silence and padding come.

Samplers do not prevent it: a model in a loop is sure of itself. What counts as hopeless is far from anything that is
meant. Text that says the same 8 times over, 64 ids at least; speech the same 4 times over, 10 s at least; 10 s of
speech made of no more than 8 codes, which is silence or a stuck sound; 8 s of padding; speech that goes on long after
its text, 20 s and 1.5 s more for each id of text. A pause of some seconds, a laugh, a count to one hundred or a
refrain are none of these.

Text and speech are watched apart: in speech one follows the other in groups, and a loop of one may be hidden in the
other. Tool calls are not watched: a list of equal numbers is a fine argument.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from realtime.model.tokens import TokenKind

CODES_PER_SECOND = 25

TEXT_PERIOD, TEXT_SPAN, TEXT_REPEATS = 64, 64, 8
SPEECH_PERIOD, SPEECH_SPAN, SPEECH_REPEATS = 5 * CODES_PER_SECOND, 10 * CODES_PER_SECOND, 4
SILENT_SPAN, SILENT_CODES = 10 * CODES_PER_SECOND, 8
PADDING_SPAN = 250
SPEECH_WITHOUT_TEXT, SPEECH_PER_TEXT_ID = 20 * CODES_PER_SECOND, 1.5 * CODES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Degeneration:
    """Why the reply should end here. ``surplus``: so many of its last ids say nothing new."""

    reason: Literal["looped", "silent"]
    surplus: int


class RepetitionDetector:
    """Watches one reply, id by id."""

    def __init__(self) -> None:
        self._text = _Channel(TEXT_PERIOD, TEXT_SPAN, TEXT_REPEATS)
        self._speech = _Channel(SPEECH_PERIOD, SPEECH_SPAN, SPEECH_REPEATS)
        self._sounds = _FewSounds()
        self._count = 0
        self._padding = 0

    def push(self, id_: int, kind: TokenKind) -> Degeneration | None:
        """The next id of the reply's words and speech. Something, once it is hopeless."""
        self._count += 1
        self._padding = self._padding + 1 if kind in (TokenKind.PADDING, TokenKind.OTHER) else 0
        if kind is TokenKind.TEXT:
            return self._found("looped", self._text.push(id_, self._count))
        if kind is TokenKind.SPEECH:
            found = self._found("silent", self._sounds.push(id_, self._count))
            found = found or self._found("looped", self._speech.push(id_, self._count))
            endless = self._speech.length > SPEECH_WITHOUT_TEXT + SPEECH_PER_TEXT_ID * self._text.length
            return found or (Degeneration("looped", 0) if endless else None)
        return Degeneration("silent", self._padding) if self._padding >= PADDING_SPAN else None

    def _found(self, reason: Literal["looped", "silent"], since: int | None) -> Degeneration | None:
        """``since``: the place in the reply of the first id that says nothing new, counted from 1."""
        return None if since is None else Degeneration(reason, self._count - since + 1)


class _Channel:
    """Finds the shortest period with which one channel has repeated itself for long enough."""

    def __init__(self, longest: int, span: int, repeats: int) -> None:
        periods = np.arange(1, longest + 1)
        self._needed = np.maximum(span - periods, (repeats - 1) * periods)
        self._last = np.full(longest, -1)
        self._runs = np.zeros(longest, int)
        self._places: deque[int] = deque(maxlen=int(self._needed.max()) + 1)
        self.length = 0

    def push(self, id_: int, place: int) -> int | None:
        """The place of the first repeated id, if it is hopeless."""
        self.length += 1
        self._places.append(place)
        self._runs = (self._runs + 1) * (self._last == id_)  # [k - 1]: how many ids equal the one k before them
        self._last[1:] = self._last[:-1]
        self._last[0] = id_
        hopeless = np.flatnonzero(self._runs >= self._needed)
        return self._places[-int(self._runs[hopeless[0]])] if hopeless.size else None


class _FewSounds:
    """Finds a stretch of speech that is made of very few codes."""

    def __init__(self) -> None:
        self._window: deque[tuple[int, int]] = deque()
        self._counts: Counter[int] = Counter()

    def push(self, id_: int, place: int) -> int | None:
        """The place where the stretch began, once it is long."""
        self._window.append((id_, place))
        self._counts[id_] += 1
        if len(self._window) > SILENT_SPAN:
            old, _ = self._window.popleft()
            self._counts[old] -= 1
            if not self._counts[old]:
                del self._counts[old]
        full = len(self._window) == SILENT_SPAN
        return self._window[0][1] if full and len(self._counts) <= SILENT_CODES else None
