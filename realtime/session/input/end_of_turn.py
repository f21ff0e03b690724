"""Asks the end-of-turn model about the pauses of one caller, off the event loop.

Until it has answered, and where it fails, the endpointer goes by prosody. One question at a time: a pause that comes
while the model still thinks about the last one is left to prosody as well, until it is asked again.
"""

from __future__ import annotations

import asyncio

from realtime.session.input.audio_input import AudioInput
from realtime.session.log import SessionLogger
from realtime.session.work import OutsideWork
from realtime.turns.events import PauseContinued, PauseStarted
from realtime.turns.smart_turn import WINDOW_SAMPLES, EndOfTurnModel


class EndOfTurn:
    """One session's questions to the shared model; without a model it does nothing."""

    def __init__(
        self, model: EndOfTurnModel | None, audio_input: AudioInput, work: OutsideWork, log: SessionLogger
    ) -> None:
        self._model = model
        self._audio_input = audio_input
        self._work = work
        self._log = log
        self._asking = False

    def ask(self, pause: PauseStarted | PauseContinued) -> None:
        """Is the turn over? The answer goes to the endpointer when it is there."""
        by_length = isinstance(pause, PauseStarted) and pause.finished is None
        model = self._model
        if model is None or self._asking or by_length:
            return
        self._asking = True
        tail = self._audio_input.tail(WINDOW_SAMPLES)
        self._work.call(
            lambda: asyncio.to_thread(model.probability, tail),
            lambda probability: self._answer(pause.voiced_until, probability),
            self._failed,
            "end of turn",
        )

    def _answer(self, voiced_until: int, probability: float) -> None:
        self._asking = False
        self._audio_input.set_completion_probability(voiced_until, probability)

    def _failed(self, fault: str) -> None:
        """Prosody has an answer already."""
        self._asking = False
        self._log.warning("the end-of-turn model failed: %s", fault)
