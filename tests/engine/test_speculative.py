"""Replies that are made before anybody is sure to want them: last in line, bounded, and gone without a trace."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from realtime.engine import sequence
from realtime.engine.conversation import PromptMessage, PromptRequest
from realtime.engine.engine import EngineCore
from realtime.engine.rendered_prompt import segments_of
from realtime.engine.runner import ModelRunner
from realtime.engine.sequence import (
    IDS_PER_SECOND,
    MAX_PLAYBACK_LEAD_SECONDS,
    RESUMED_LEAD_SECONDS,
    SPEECH_IDS_PER_SECOND,
    URGENT_SECONDS,
    Job,
    Purpose,
)
from realtime.engine.threaded import ThreadedEngine
from realtime.engine.vocoder_service import SLACK_SECONDS
from realtime.engine.vocoder_stream import Stream
from realtime.model.features import feature_count
from realtime.model.speech_model import SpeechModel
from realtime.ports.engine import SPECULATIVE_SECONDS, GenerationDone, GenerationOptions, SamplingParams, TokenDelta
from realtime.ports.messages import SEGMENT_SAMPLES, Audio, Message
from tests.engine import test_vocoder_service as vocoding
from tests.engine.test_engine import FakeRunner, Harness, generate, request
from tests.engine.tiny import tiny_model

SPECULATIVE_IDS = int(SPECULATIVE_SECONDS * IDS_PER_SECOND)


class Talking(Harness):
    """Every id that is generated is speech, and a step takes as long as the test says."""

    def __init__(self, step_seconds: float = 0.001) -> None:
        super().__init__()
        self._step_seconds = step_seconds
        decode = self.runner.decode

        def speak(states: list) -> None:  # type: ignore[type-arg]
            decode(states)
            self.now += self._step_seconds
            for state in states:
                state.audio_count, state.text_count = state.audio_count + 1, 0

        self.runner.decode = speak  # type: ignore[method-assign]

    def _tick(self) -> float:
        return self.now


# The engine


def test_speculation_waits_while_a_confirmed_reply_lacks_speech() -> None:
    engine = Talking(step_seconds=1 / 25)  # no faster than playback: the machine has no slack
    engine.submit("running", request("60", key="a"))
    engine.submit("draft", request("9", key="b"), Purpose.SPECULATIVE)
    engine.run(until=lambda: bool(engine.events["running"]) and "1" in engine.said("running").split())
    assert not engine.events["draft"]
    assert not any("b" in entry for entry in engine.runner.log)
    engine.run()
    assert engine.done("draft").reason == "stop"


def test_speculation_runs_beside_replies_with_speech_in_hand() -> None:
    engine = Talking()
    engine.submit("running", request("90", key="a"))
    engine.submit("draft", request("9", key="b"), Purpose.SPECULATIVE)
    engine.run(until=lambda: bool(engine.events["draft"]))
    at = engine.runner.log.index("prefill b 0-1")
    assert engine.runner.log[:at].count("decode a") == pytest.approx(25 * URGENT_SECONDS, abs=2)
    assert "1" not in engine.said("running").split()


def test_confirmed_replies_are_prefilled_before_speculative_ones() -> None:
    engine = Harness()
    engine.submit("draft", request("2", key="a"), Purpose.SPECULATIVE)
    engine.submit("reply", request("2", key="b"))
    engine.run()
    assert [entry for entry in engine.runner.log if "prefill" in entry] == ["prefill b 0-1", "prefill a 0-1"]


def test_a_draft_goes_before_the_background() -> None:
    engine = Harness()
    engine.submit("transcript", request("2", key="t", background=True))
    engine.submit("draft", request("2", key="a"), Purpose.SPECULATIVE)
    engine.run()
    assert [entry for entry in engine.runner.log if "prefill" in entry] == ["prefill a 0-1", "prefill t 0-1"]


def test_speculation_is_bounded_until_it_is_confirmed() -> None:
    engine = Harness()
    draft = engine.submit("draft", request("150"), Purpose.SPECULATIVE)
    engine.run()
    assert len(engine.said("draft").split()) == pytest.approx(SPECULATIVE_IDS, abs=1)
    engine.core.confirm(draft)
    engine.run()
    assert engine.said("draft").split() == [str(n) for n in range(150, 0, -1)]
    assert engine.done("draft").reason == "stop"


def test_late_confirmations_take_the_speculation_up_at_once() -> None:
    engine = Talking(step_seconds=1 / 25)
    engine.submit("running", request("60", key="a"))
    draft = engine.submit("draft", request("9", key="b"), Purpose.SPECULATIVE)
    engine.run(until=lambda: bool(engine.events["running"]))
    engine.core.confirm(draft)
    engine.run(until=lambda: bool(engine.events["draft"]))
    assert "1" not in engine.said("running").split()


def test_replies_end_their_conversations_speculation() -> None:
    engine = Harness(slots=1)
    engine.submit("draft", request("150"), Purpose.SPECULATIVE)
    engine.run()
    engine.submit("reply", request("7 3"))
    engine.run()
    assert engine.done("draft").reason == "cancelled"
    assert engine.said("reply") == "3 2 1" and engine.core.idle


async def test_waiting_speculation_is_cancelled_while_the_engine_sleeps() -> None:
    engine = ThreadedEngine(EngineCore(FakeRunner(), slots=2))
    engine.start()
    try:
        generation = generate(engine, request("150"), speculative=True)
        async with asyncio.timeout(10):
            made, last = 0, None
            async for event in generation:
                last = event
                made += len(event.ids) if isinstance(event, TokenDelta) else 0
                if made >= SPECULATIVE_IDS:
                    generation.cancel()
        assert isinstance(last, GenerationDone) and last.reason == "cancelled"
    finally:
        engine.stop()


# How far a reply that is played runs ahead


def played(text: str, key: str = "a", speed: float = 1.0) -> PromptRequest:
    asked = request(text, key)
    return replace(asked, options=replace(asked.options, playback_speed=speed))


def made_seconds(engine: Harness, name: str) -> float:
    return len(engine.said(name).split()) / SPEECH_IDS_PER_SECOND


def test_replies_rest_when_far_ahead_of_playback() -> None:
    engine = Talking()
    engine.runner.max_tokens = 10**6
    engine.submit("long", played("5000"))
    engine.run()
    assert made_seconds(engine, "long") == pytest.approx(MAX_PLAYBACK_LEAD_SECONDS, abs=0.5)
    due = engine.core.due()
    assert due == pytest.approx(MAX_PLAYBACK_LEAD_SECONDS - RESUMED_LEAD_SECONDS, abs=0.2)
    engine.now += due + 0.01
    engine.run()
    assert made_seconds(engine, "long") == pytest.approx(2 * MAX_PLAYBACK_LEAD_SECONDS - RESUMED_LEAD_SECONDS, abs=0.5)


def test_playback_at_another_speed_never_runs_dry() -> None:
    engine = Talking()
    engine.runner.max_tokens = 10**6
    engine.submit("fast", played("2000", speed=1.5))
    while not engine.core.idle:
        engine.run()
        (job,) = engine.core._jobs or [None]
        assert job is None or job.playback_lead(engine.now) > RESUMED_LEAD_SECONDS - 0.2
        engine.now += engine.core.due() or 0.0
    assert engine.now == pytest.approx((2000 / 25 - MAX_PLAYBACK_LEAD_SECONDS) / 1.5, abs=2.0)


def test_a_resting_reply_leaves_the_machine_to_others() -> None:
    engine = Talking()
    engine.runner.max_tokens = 10**6
    engine.submit("long", played("5000", key="a"))
    engine.run()
    engine.runner.log.clear()
    engine.submit("other", request("9", key="b"))
    engine.run()
    assert engine.done("other").reason == "stop" and not any("decode a" in entry for entry in engine.runner.log)


def test_what_is_not_played_is_made_at_once() -> None:
    engine = Talking()
    engine.runner.max_tokens = 10**6
    engine.submit("written", request("2000"))
    engine.run()
    assert engine.done("written").reason == "stop" and engine.core.due() is None


def test_confirmed_replies_are_heard_from_their_confirmation_on() -> None:
    engine = Talking()
    engine.runner.max_tokens = 10**6
    draft = engine.submit("draft", played("5000"), Purpose.SPECULATIVE)
    engine.run()
    engine.now += 60
    engine.core.confirm(draft)
    engine.run()
    assert made_seconds(engine, "draft") == pytest.approx(MAX_PLAYBACK_LEAD_SECONDS, abs=0.5)


async def test_the_thread_wakes_for_a_rested_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "MAX_PLAYBACK_LEAD_SECONDS", 0.2)
    monkeypatch.setattr(sequence, "RESUMED_LEAD_SECONDS", 0.1)
    runner, decode = FakeRunner(), FakeRunner.decode

    def speak(states: list) -> None:  # type: ignore[type-arg]
        decode(runner, states)
        for state in states:
            state.audio_count += 1

    runner.decode = speak  # type: ignore[method-assign]
    engine = ThreadedEngine(EngineCore(runner, slots=2))
    engine.start()
    try:
        started = time.monotonic()
        async with asyncio.timeout(10):
            events = [event async for event in generate(engine, played("20"))]
        assert isinstance(events[-1], GenerationDone) and events[-1].reason == "stop"
        assert time.monotonic() - started >= 20 / SPEECH_IDS_PER_SECOND - 0.25
    finally:
        engine.stop()


# The conversation's cache


def noise(seconds: float, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * 16_000)).astype(np.float32)


def heard(samples: np.ndarray, *, closed: bool = True) -> PromptRequest:  # type: ignore[type-arg]
    turn = Message("human", (Audio("turn", samples),), closed)
    greedy = SamplingParams(temperature=0.0, max_tokens=20)
    messages = (PromptMessage(Message("system", "be brief")), PromptMessage(turn))
    return PromptRequest("a", messages, GenerationOptions(True, greedy))


def run(core: EngineCore, asked: PromptRequest, purpose: Purpose = Purpose.REPLY) -> tuple[list[int], int]:
    """The ids of the whole reply, and how many of the prompt's were in the cache."""
    ids: list[int] = []
    done: list[GenerationDone] = []

    def deliver(event: TokenDelta | GenerationDone) -> None:
        if isinstance(event, TokenDelta):
            ids.extend(event.ids)
        else:
            done.append(event)

    core.submit(Job(asked, deliver, 0.0, purpose))
    while core.step():
        pass
    (end,) = done
    return ids, end.usage.cached_text + end.usage.cached_audio


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def test_discarded_speculation_leaves_the_conversation_unchanged(model: SpeechModel) -> None:
    turn = noise(3.0)
    core = EngineCore(ModelRunner(model), slots=2)
    run(core, heard(turn[:30_000]), Purpose.SPECULATIVE)
    after_draft, cached = run(core, heard(turn))
    fresh, none = run(EngineCore(ModelRunner(model), slots=2), heard(turn))
    assert after_draft == fresh
    assert cached > none == 0  # what stands before the turn was not computed twice
    assert core.open_slots == 1


def test_full_segments_are_encoded_once_during_the_turn(model: SpeechModel, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = noise(26.0)
    core = EngineCore(ModelRunner(model), slots=2)
    encoded: list[int] = []
    encode = model.encoder.forward

    def counted(*arguments, **named):  # type: ignore[no-untyped-def]
        encoded.append(arguments[0].shape[2])
        return encode(*arguments, **named)

    monkeypatch.setattr(model.encoder, "forward", counted)
    run(core, heard(turn[:SEGMENT_SAMPLES], closed=False), Purpose.PREFETCH)
    long, cached = run(core, heard(turn))
    assert encoded == [2502, 102]  # mel frames: the full segment once, then only the rest
    assert cached >= feature_count(SEGMENT_SAMPLES)
    fresh, _ = run(EngineCore(ModelRunner(model), slots=2), heard(turn))
    assert long == fresh


def test_a_grown_recording_has_the_features_of_all(model: SpeechModel) -> None:
    turn = noise(27.0)
    grown, whole = ModelRunner(model), ModelRunner(model)
    for seconds in (1, 25, 26, 27):
        segments = segments_of(Message("human", (Audio("turn", turn[: seconds * 16_000]),)))
        for segment in segments:
            if not grown.has_features("a", segment):
                grown.encode("a", segment)
    for segment in segments:
        whole.encode("a", segment)
        assert torch.equal(grown._features["a"][segment.name], whole._features["a"][segment.name])


def test_silence_that_was_added_gives_way_to_speech(model: SpeechModel) -> None:
    """A turn that pauses just before a segment is full is encoded with silence in it, then with what was said."""
    turn = noise(26.0)
    paused = np.pad(turn[:396_000], (0, 6_464))
    core = EngineCore(ModelRunner(model), slots=2)
    audio = Audio("turn", paused, silence=6_464)
    options = GenerationOptions(True, SamplingParams(temperature=0.0, max_tokens=20))
    run(core, PromptRequest("a", (PromptMessage(Message("human", (audio,))),), options), Purpose.PREFETCH)
    went_on, _ = run(core, heard(turn))
    fresh, _ = run(EngineCore(ModelRunner(model), slots=2), heard(turn))
    assert went_on == fresh


# The vocoder


class Vocoding(vocoding.Harness):
    def draft(self, tokens: int) -> tuple[Stream, list]:  # type: ignore[type-arg]
        out: list = []  # type: ignore[type-arg]
        stream = Stream(vocoding.VOICE, out.append, speculative=True)
        self.core.open(stream)
        self.core.push(stream, range(tokens))
        return stream, out


def test_no_speculative_vocoding_before_confirmed_streams_sound() -> None:
    h = Vocoding()
    waiting, _ = h.open()
    draft, out = h.draft(50)
    assert not h.core.step() and not out
    assert draft.state is None  # not even opened
    h.core.push(waiting, range(50))
    while not out:
        assert h.core.step()
    assert (waiting.slack(h.now) or 0.0) >= SLACK_SECONDS


def test_confirmed_streams_that_run_dry_go_first_again() -> None:
    h = Vocoding()
    running, _ = h.open()
    h.core.push(running, range(60))
    while h.core.step():
        pass
    _, out = h.draft(50)
    h.now += running.given_seconds - 0.5
    assert not h.core.step() and not out
    h.now -= 0.6
    assert h.core.step() and out


def test_speculative_streams_stop_at_their_bound_until_confirmed() -> None:
    h = Vocoding()
    draft, _ = h.draft(300)
    while h.core.step():
        pass
    assert SPECULATIVE_SECONDS <= draft.given_seconds <= SPECULATIVE_SECONDS + 1.0
    h.core.confirm(draft)
    assert h.core.step() and draft.given_seconds > SPECULATIVE_SECONDS


def test_speculative_playback_begins_at_its_confirmation() -> None:
    h = Vocoding()
    draft, _ = h.draft(30)
    h.core.step()
    h.now += 10.0
    h.core.confirm(draft)
    assert draft.slack(h.now) == pytest.approx(draft.given_seconds) and draft.given_seconds > 0


def test_a_dropped_stream_leaves_nothing() -> None:
    h = Vocoding()
    draft, out = h.draft(300)
    h.core.step()
    h.core.close(draft)
    assert not h.core.step() and h.core.open_streams == 0
    assert out and out[-1] is not None
