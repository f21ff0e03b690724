"""Asks the end-of-turn model about the pauses of one caller, off the event loop.

Until the model has answered, and where it fails, the endpointer goes by prosody. One question runs at a time; of the
pauses that come meanwhile, the last is asked about next, with the audio received until then.
"""

from __future__ import annotations

import asyncio

from realtime.session.input.audio_input import AudioInput
from realtime.session.log import SessionLogger
from realtime.turns.events import PauseContinued, PauseStarted
from realtime.turns.smart_turn import WINDOW_SAMPLES, EndOfTurnModel

Pause = PauseStarted | PauseContinued


class EndOfTurn:
    """One session's questions to the shared model; without a model it does nothing."""

    def __init__(self, model: EndOfTurnModel | None, mic: AudioInput, log: SessionLogger) -> None:
        self._model = model
        self._audio_input = mic
        self._log = log
        self._asking = False
        self._next: Pause | None = None

    def ask(self, pause: Pause, group: asyncio.TaskGroup) -> None:
        """Is the turn over? The answer goes to the endpointer of the audio input when it is there."""
        by_length = isinstance(pause, PauseStarted) and pause.finished is None
        if self._model is None or by_length:
            return
        self._next = pause
        if not self._asking:
            self._asking = True
            group.create_task(self._answer(self._model), name="end of turn")

    async def _answer(self, model: EndOfTurnModel) -> None:
        try:
            while (pause := self._next) is not None:
                self._next = None
                await self._ask_model(model, pause)
        finally:
            self._asking = False

    async def _ask_model(self, model: EndOfTurnModel, pause: Pause) -> None:
        try:
            finished = await asyncio.to_thread(model.probability, self._audio_input.tail(WINDOW_SAMPLES))
        except Exception as error:  # the model's border: prosody has an answer already
            self._log.warning("the end-of-turn model failed: %s", error)
        else:
            self._audio_input.set_completion_probability(pause.voiced_until, finished)
