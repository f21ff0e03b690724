"""The checkpoint's own end-of-turn model, computed in the engine's thread."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from realtime.engine.engine import ThreadedEngine
from realtime.model.turn_completion import TurnCompletionModel

_PATIENCE_S = 2.0
"""A later answer is of no use: the turn has been ended by prosody, or is asked about again."""


class EngineTurnModel:
    """Implements `realtime.turns.smart_turn.EndOfTurnModel`: call it off the event loop and off the engine's thread.

    The encoder is the engine's, so it runs between two of the engine's steps: nano's takes 5 ms for each second of
    audio on one core, 30 ms for the whole window.
    """

    def __init__(self, model: TurnCompletionModel, engine: ThreadedEngine) -> None:
        self._model = model
        self._engine = engine

    def probability(self, samples: NDArray[np.float32]) -> float:
        """Float32 [n] at 16 kHz, the turn until now -> probability that it is complete, in [0, 1].

        Raises `TimeoutError` when the engine does not get to it, and whatever the model raises.
        """
        return self._engine.run(partial(self._model.probability, samples)).result(_PATIENCE_S)
