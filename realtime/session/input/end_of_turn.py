"""Asks the end-of-turn model about the pauses of one caller, off the event loop.

Until it has answered, and where it fails, the endpointer goes by prosody. One question at a time: a pause that comes
while the model still thinks about the last one is left to prosody as well, until it is asked again.
"""

from __future__ import annotations

import asyncio

from realtime.session.input.audio_input import AudioInput
from realtime.session.log import SessionLogger
from realtime.turns.events import PauseContinued, PauseStarted
from realtime.turns.smart_turn import WINDOW_SAMPLES, EndOfTurnModel


class EndOfTurn:
    """One session's questions to the shared model; without a model it does nothing."""

    def __init__(self, model: EndOfTurnModel | None, mic: AudioInput, log: SessionLogger) -> None:
        self._model = model
        self._audio_input = mic
        self._log = log
        self._asking = False

    def ask(self, pause: PauseStarted | PauseContinued, group: asyncio.TaskGroup) -> None:
        """Is the turn over? The answer goes to the microphone's endpointer when it is there."""
        by_length = isinstance(pause, PauseStarted) and pause.finished is None
        if self._model is None or self._asking or by_length:
            return
        self._asking = True
        group.create_task(self._answer(self._model, pause), name="end of turn")

    async def _answer(self, model: EndOfTurnModel, pause: PauseStarted | PauseContinued) -> None:
        try:
            finished = await asyncio.to_thread(model.probability, self._audio_input.tail(WINDOW_SAMPLES))
            self._audio_input.set_completion_probability(pause.voiced_until, finished)
        except Exception as error:  # the model's border: prosody has an answer already
            self._log.warning("the end-of-turn model failed: %s", error)
        finally:
            self._asking = False
