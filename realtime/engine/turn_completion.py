"""The checkpoint's own end-of-turn model, computed in the engine's thread."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.engine.threaded import ThreadedEngine

_TIMEOUT_S = 2.0
"""A later answer is useless: prosody has ended the turn, or the model is asked again."""


class TurnModel(Protocol):
    """`realtime.model.turn_completion.TurnCompletionModel`, or a fake."""

    def probability(self, samples: NDArray[np.float32]) -> float: ...


class EngineTurnModel:
    """Implements `realtime.turns.smart_turn.EndOfTurnModel`: call it off the event loop and off the engine's thread.

    The model shares the engine's encoder, so it runs between two of the engine's steps. With nano it takes 5 ms for
    each second of audio on one core, 30 ms for its whole window.
    """

    def __init__(self, model: TurnModel, engine: ThreadedEngine) -> None:
        self._model = model
        self._engine = engine

    def probability(self, samples: NDArray[np.float32]) -> float:
        """Float32 [n] at 16 kHz, the turn until now -> probability that it is complete, in [0, 1].

        Raises `TimeoutError` after 2 s, and whatever the model raises.
        """
        return self._engine.run(partial(self._model.probability, samples)).result(_TIMEOUT_S)
