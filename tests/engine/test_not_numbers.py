"""NaN in logits or sound ends the reply it is in, at once and alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from realtime.engine.engine import EngineCore
from realtime.engine.runner import ModelRunner
from realtime.engine.sequence import Job
from realtime.engine.vocoder_stream import BROKEN_CHUNKS, Stream
from realtime.errors import EngineError
from realtime.model.speech_model import SpeechModel
from realtime.ports.engine import GenerationDone, GenerationOptions, SamplingParams, TokenDelta
from realtime.ports.messages import Message
from realtime.ports.vocoder import AudioChunk
from tests.engine import test_vocoder_service as vocoding
from tests.engine.test_engine import PromptMessage, PromptRequest
from tests.engine.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def ask(core: EngineCore, name: str, temperature: float) -> list[TokenDelta | GenerationDone]:
    events: list[TokenDelta | GenerationDone] = []
    options = GenerationOptions(False, SamplingParams(temperature=temperature, max_tokens=20))
    asked = PromptRequest(name, (PromptMessage(Message("human", "hello")),), options)
    core.submit(Job(asked, events.append, 0.0))
    return events


def run(core: EngineCore) -> None:
    while core.step():
        pass


def reason(events: list[TokenDelta | GenerationDone]) -> str:
    assert isinstance(events[-1], GenerationDone)
    return events[-1].reason


def with_nan(work: Callable[..., Tensor], row: Callable[..., Any]) -> Callable[..., Tensor]:
    """``work``, with one NaN in the row of logits that ``row`` chooses."""

    def call(*arguments: Any, **named: Any) -> Tensor:
        logits = work(*arguments, **named).clone()
        logits[row(*arguments)][..., 7] = torch.nan
        return logits

    return call


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("method", ["prefill", "step"])
def test_logits_that_are_no_numbers_fail_the_reply(
    method: str, temperature: float, model: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = EngineCore(ModelRunner(model), slots=2)
    with monkeypatch.context() as patched:
        decoder = model.decoder
        patched.setattr(decoder, method, with_nan(getattr(decoder, method), lambda *_: slice(None)))
        events = ask(core, "a", temperature)
        run(core)
    done = events[-1]
    assert isinstance(done, GenerationDone) and done.reason == "failed" and "not numbers" in (done.error or "")
    events = ask(core, "a", temperature)
    run(core)
    assert reason(events) in ("stop", "length")


def test_the_neighbour_in_the_batch_goes_on(model: SpeechModel, monkeypatch: pytest.MonkeyPatch) -> None:
    core = EngineCore(ModelRunner(model), slots=2)
    good, bad = ask(core, "good", 0.7), ask(core, "bad", 0.7)
    while sum(job.state is not None for job in core._jobs) < 2:
        assert core.step()
    monkeypatch.setattr(model.decoder, "step", with_nan(model.decoder.step, lambda ids, caches: len(caches) - 1))
    run_until_one_is_left = iter(range(100))
    while core.jobs == 2 and next(run_until_one_is_left, None) is not None:
        core.step()
    monkeypatch.undo()
    run(core)
    assert sorted((reason(good) == "failed", reason(bad) == "failed")) == [False, True]


# The vocoder


def stream_with(harness: vocoding.Harness) -> tuple[Stream, list[AudioChunk | EngineError | None]]:
    stream, out = harness.open()
    harness.core.push(stream, list(range(100)))
    return stream, out  # type: ignore[return-value]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sound_that_is_no_number_ends_its_stream(value: float) -> None:
    harness = vocoding.Harness()
    (_, bad), (_, good) = stream_with(harness), stream_with(harness)
    work = harness.vocoder.step

    def step(requests: Any) -> Any:
        made = work(requests)
        made[0] = np.full_like(made[0], value)
        return made

    harness.vocoder.step = step  # type: ignore[method-assign]
    harness.core.step()
    harness.vocoder.step = work  # type: ignore[method-assign]
    assert isinstance(bad[-1], EngineError) and "not numbers" in str(bad[-1])
    assert not any(isinstance(one, AudioChunk) for one in bad)
    assert isinstance(good[0], AudioChunk)


def broken_in(harness: vocoding.Harness, stream: Stream, chunks: set[int]) -> None:
    """Let the vocoder report that it made silence of these chunks."""
    work, count = harness.vocoder.step, iter(range(1000))

    def step(requests: Any) -> Any:
        if next(count) in chunks:
            assert stream.state is not None
            stream.state.report.broken_chunks += 1
        return work(requests)

    harness.vocoder.step = step  # type: ignore[method-assign]
    while harness.core.step():
        harness.now += 0.1


def test_one_broken_chunk_is_survived() -> None:
    harness = vocoding.Harness()
    stream, out = stream_with(harness)
    broken_in(harness, stream, {1, 3})
    assert not any(isinstance(one, EngineError) for one in out)


def test_broken_chunks_in_a_row_end_the_stream() -> None:
    harness = vocoding.Harness()
    stream, out = stream_with(harness)
    broken_in(harness, stream, {1, 2})
    assert isinstance(out[-1], EngineError) and len(out) == BROKEN_CHUNKS + 1
