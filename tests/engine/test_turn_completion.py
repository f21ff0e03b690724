"""The end-of-turn model runs in the engine's thread, and its faults are the asker's."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.engine.engine import EngineCore
from realtime.engine.threaded import ThreadedEngine
from realtime.engine.turn_completion import EngineTurnModel
from tests.engine.test_engine import FakeRunner


class ThreadNamer:
    """A model that notes the thread it runs in."""

    def __init__(self) -> None:
        self.thread = ""

    def probability(self, samples: NDArray[np.float32]) -> float:
        self.thread = threading.current_thread().name
        if not len(samples):
            raise ValueError("no samples")
        return 0.25


@pytest.fixture
def engine() -> Iterator[ThreadedEngine]:
    engine = ThreadedEngine(EngineCore(FakeRunner(), slots=2))
    engine.start()
    yield engine
    engine.stop()


def test_the_model_runs_in_the_engines_thread(engine: ThreadedEngine) -> None:
    model = ThreadNamer()
    assert EngineTurnModel(model, engine).probability(np.zeros(16_000, np.float32)) == 0.25
    assert model.thread == "engine"


def test_faults_of_the_model_reach_only_the_asker(engine: ThreadedEngine) -> None:
    asked = EngineTurnModel(ThreadNamer(), engine)
    with pytest.raises(ValueError, match="no samples"):
        asked.probability(np.zeros(0, np.float32))
    assert asked.probability(np.zeros(1, np.float32)) == 0.25
