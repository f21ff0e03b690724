"""Asks the end-of-turn model about the pauses of one caller, off the event loop.

Until the model has answered, and where it fails, the endpointer goes by prosody. One question runs at a time; of the
pauses that come meanwhile, the last is asked about next, with the audio received until then.
"""

from __future__ import annotations

import asyncio

from realtime.session.input.audio_input import AudioInput
from realtime.session.log import SessionLogger
from realtime.session.work import OutsideWork
from realtime.turns.events import PauseContinued, PauseStarted
from realtime.turns.smart_turn import WINDOW_SAMPLES, EndOfTurnModel

Pause = PauseStarted | PauseContinued


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
        self._next: Pause | None = None

    def ask(self, pause: Pause) -> None:
        """Is the turn over? The answer goes to the endpointer of the audio input when it is there."""
        by_length = isinstance(pause, PauseStarted) and pause.finished is None
        if self._model is None or by_length:
            return
        self._next = pause
        if not self._asking:
            self._ask_model(self._model)

    def _ask_model(self, model: EndOfTurnModel) -> None:
        pause, self._next = self._next, None
        self._asking = pause is not None
        if pause is None:
            return
        tail = self._audio_input.tail(WINDOW_SAMPLES)

        def answer(probability: float) -> None:
            self._audio_input.set_completion_probability(pause.voiced_until, probability)
            self._ask_model(model)

        def failed(fault: str) -> None:
            """Prosody has an answer already."""
            self._log.warning("the end-of-turn model failed: %s", fault)
            self._ask_model(model)

        self._work.call(lambda: asyncio.to_thread(model.probability, tail), answer, failed, "end of turn")
