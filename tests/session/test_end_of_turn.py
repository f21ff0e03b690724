"""`semantic_vad`: the end-of-turn model is asked off the event loop, and prosody decides without it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.protocol import events as wire
from tests.fakes import call


class Answers:
    """A model that always says the same; notes what it was given and on which thread."""

    def __init__(self, finished: float | Exception) -> None:
        self.heard: list[int] = []
        self.answering = threading.Event()
        self.answering.set()
        self.threads: set[str] = set()
        self._finished = finished

    def probability(self, samples: NDArray[np.float32]) -> float:
        self.heard.append(len(samples))
        self.threads.add(threading.current_thread().name)
        assert self.answering.wait(10)
        if isinstance(self._finished, Exception):
            raise self._finished
        return self._finished


async def speak(model: Answers, silence: float, type: str = "semantic_vad") -> list[str]:
    async with call(parts={"end_of_turn": model}) as caller:
        caller.turn_detection({"type": type})
        caller.be_silent(0.5)
        caller.say(1.0)
        caller.be_silent(0.25)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        if type == "semantic_vad":
            await caller.settle_until(lambda: len(model.heard) == 1)
        await caller.settle()
        caller.be_silent(silence)
        return await caller.settle()


async def test_a_turn_that_sounds_complete_ends_soon() -> None:
    model = Answers(0.98)
    assert "input_audio_buffer.speech_stopped" in await speak(model, 0.3)
    assert model.threads and threading.main_thread().name not in model.threads


async def test_a_turn_that_sounds_incomplete_is_waited_for() -> None:
    assert "input_audio_buffer.speech_stopped" not in await speak(Answers(0.03), 1.2)


async def test_the_model_hears_the_turn_from_its_start() -> None:
    model = Answers(0.5)
    await speak(model, 0.1)
    assert model.heard[0] == pytest.approx((0.3 + 1.0 + 0.22) * 16_000, abs=1600)


async def test_where_the_model_fails_prosody_decides() -> None:
    assert "input_audio_buffer.speech_stopped" in await speak(Answers(RuntimeError("broken")), 0.8)


async def test_a_long_pause_is_asked_about_again() -> None:
    model = Answers(0.03)
    async with call(parts={"end_of_turn": model}) as caller:
        caller.turn_detection({"type": "semantic_vad", "eagerness": "low"})
        caller.be_silent(0.5)
        caller.say(1.0)
        for count, silence in enumerate((0.25, 0.8, 1.0), 1):
            caller.be_silent(silence)
            await caller.settle_until(lambda count=count: len(model.heard) == count)  # type: ignore[misc]
            await caller.settle()
    assert model.heard == sorted(set(model.heard)), "each time with more silence"


async def test_pauses_during_slow_answers_are_asked_about_next() -> None:
    model = Answers(0.98)
    model.answering.clear()
    async with call(parts={"end_of_turn": model}) as caller:
        caller.turn_detection({"type": "semantic_vad"})
        caller.be_silent(0.5)
        for number in (1, 2):
            caller.say(1.0)
            caller.be_silent(0.3)
            if number == 1:
                await caller.settle_until(lambda: len(model.heard) == 1)
        await caller.settle()
        model.answering.set()
        await caller.settle_until(lambda: len(model.heard) == 2)
        await caller.settle()
        caller.be_silent(0.2)
        assert "input_audio_buffer.speech_stopped" in await caller.settle()


async def test_server_vad_asks_no_model() -> None:
    model = Answers(0.03)
    assert "input_audio_buffer.speech_stopped" in await speak(model, 0.5, "server_vad")
    assert model.heard == []
