"""The user's turn while it lasts: the item that it becomes, its recording, and the work done ahead of its end.

What was said before it will not change, so the engine prepares it from the turn's first word on; nor will the full
segments of the turn itself. At a lull the turn's audio is known, should it end there: so it is encoded then, and at a
pause the reply to it is made (`speculation`).
"""

from __future__ import annotations

import asyncio

import numpy as np

from realtime.audio import Samples, samples_of_ms
from realtime.messages import MODEL_SAMPLE_RATE, SEGMENT_SAMPLES, Audio, Message
from realtime.protocol.ids import Ids
from realtime.protocol.responses import ResponseConfig, configure_response
from realtime.protocol.session_config import Session
from realtime.session.history import History, told
from realtime.session.listening import Microphone
from realtime.session.ports import Engine
from realtime.session.prompting import Prompter
from realtime.session.speculation import WorkAhead

_HUSH_MS = 404
"""Digital silence behind a turn that ends with a lull of 96 ms: 500 in all. Without it nano mistook words (measured:
"two" for "three"), with it it answers as after 500 ms of the real silence, which nobody has to wait for."""


class OpenTurn:
    """One session's turns, one at a time. ``item_id``: of the turn that has been announced, None between turns."""

    def __init__(
        self,
        session_id: str,
        mic: Microphone,
        ids: Ids,
        history: History,
        prompter: Prompter,
        engine: Engine,
        ahead: WorkAhead,
    ) -> None:
        self._session_id = session_id
        self._mic = mic
        self._ids = ids
        self._history = history
        self._prompter = prompter
        self._engine = engine
        self._ahead = ahead
        self._lull: int | None = None
        self._lulled: Audio | None = None  # the turn up to the lull
        self._segments = 0
        self.item_id: str | None = None

    def announce(self) -> str:
        """The item that the turn is to become."""
        self.item_id = self._ids.item()
        return self.item_id

    def take(self, end: int) -> tuple[str, Audio]:
        """The turn is over at this sample: its item and its recording."""
        item_id = self.item_id or self.announce()
        if end == self._lull:
            audio = self._until_lull()
            self._mic.pass_over(end)
        else:
            audio = self._audio(self._mic.take(end))
        self.item_id = self._lulled = None
        return item_id, audio

    def drop(self) -> None:
        """It was nothing."""
        self._mic.drop()
        self.item_id = None

    # Work ahead of its end

    def begin(self) -> None:
        """A voice was heard: nothing is prepared of this turn so far."""
        self._segments = 0
        self._lull = self._lulled = None

    def prepare(self, settings: Session) -> None:
        """What was said before the turn."""
        self._prepare(settings, Message("human", None))

    def lull(self, at: int) -> None:
        """The turn may be over at this sample."""
        self._lull, self._lulled = at, None

    def prepare_lull(self, settings: Session) -> None:
        """The turn as it is if it ends with the last lull."""
        self._prepare(settings, Message("human", (self._until_lull(),)))

    def prepare_segments(self, settings: Session, start: int) -> None:
        """The full segments of the turn that began at this sample."""
        count = (self._mic.received - start) // SEGMENT_SAMPLES
        if count > self._segments and not self._ahead.holds:
            self._segments = count
            audio = self._audio(self._mic.peek(start + count * SEGMENT_SAMPLES))
            self._prepare(settings, Message("human", (audio,), closed=False))

    def speculate(self, settings: Session, group: asyncio.TaskGroup) -> None:
        """Make the reply to the turn as it is at its last lull, held back until that is sure."""
        config = configure_response(settings)
        messages = (*told(self._history), Message("human", (self._until_lull(),)))
        request = self._prompter.request(config, messages, self._session_id)
        self._ahead.begin(request, config, group, f"{self._session_id} work ahead")

    def make_room(self, settings: Session) -> None:
        """Nobody waits: cut a conversation that has grown too long now and not in the next turn."""
        config = configure_response(settings)
        if self._prompter.fit(config, settings.truncation, ahead=True):
            self._prefetch(config, Message("human", None))

    def _prepare(self, settings: Session, turn: Message) -> None:
        config = configure_response(settings)
        self._prompter.fit(config, settings.truncation, ahead=True)
        self._prefetch(config, turn)

    def _prefetch(self, config: ResponseConfig, turn: Message) -> None:
        messages = (*told(self._history), turn)
        self._engine.prefetch(self._prompter.request(config, messages, self._session_id))

    def _until_lull(self) -> Audio:
        """Made once: a copy of a long turn takes milliseconds, and at its end somebody waits."""
        assert self._lull is not None
        if self._lulled is None:
            self._lulled = self._audio(_hushed(self._mic.peek(self._lull)))
        return self._lulled

    def _audio(self, samples: Samples) -> Audio:
        """A recording of the turn, so far."""
        return Audio(f"{self._session_id}/{self.item_id}", samples)


def _hushed(samples: Samples) -> Samples:
    """A turn that ends with a lull, with the silence that recordings end with: models know them so."""
    return np.pad(samples, (0, samples_of_ms(_HUSH_MS, MODEL_SAMPLE_RATE)))
