"""A thought before the answer: two generations that look like one, over scripted ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from realtime.checkpoint.profile import KNOWN, load_profile
from realtime.engine.thinking import ThinkingEngine
from realtime.errors import ConfigError
from realtime.ports.engine import GenerationDone, SamplingParams
from realtime.ports.messages import Message
from realtime.ports.tool_calls import CallableFunction, CallRules
from realtime.session.config import SessionConfig
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from tests.fakes import FakeEngine, Step, delta, done

QUESTION = (Message("human", "why?"),)


def request(**fields: Any) -> GenerationRequest:
    given: dict[str, Any] = {"speech": True, "sampling": SamplingParams(), "thinking": 100} | fields
    return GenerationRequest(QUESTION, given["speech"], given["sampling"], thinking=given["thinking"])


async def answer(engine: FakeEngine, asked: GenerationRequest) -> tuple[str, str, GenerationDone]:
    """The thought, the words and the end."""
    thought = words = ""
    async for event in EngineConversation(ThinkingEngine(engine), "a").generate(asked):
        if isinstance(event, GenerationDone):
            return thought, words, event
        thought += event.thought
        words += event.text
        assert not (event.thought and event.ids), "no history may keep a thought"
    raise AssertionError("no end")


def opened(engine: FakeEngine) -> list[object]:
    """The content of the turn that each generation continues."""
    return [one.messages[-1].content for one in engine.requests]


@pytest.mark.parametrize(
    "pieces",
    [
        ["Sky scatters", " blue.\n</think>"],
        ["Sky scatters blue.\n</", "thi", "nk> and more"],
        list("Sky scatters blue.\n</think>"),
    ],
)
async def test_the_thought_ends_at_its_mark_however_split(pieces: Sequence[str]) -> None:
    engine = FakeEngine([*map(delta, pieces), done("cancelled")], [delta("Because.", 4), done()])
    thought, words, end = await answer(engine, request())
    assert (thought, words, end.reason) == ("Sky scatters blue.\n", "Because.", "stop")
    assert opened(engine) == ["\n<think>\n", "\n<think>\nSky scatters blue.\n</think>\n\n<tts_start>"]
    assert not any(one.messages[-1].closed for one in engine.requests)


async def test_a_written_answer_is_not_opened_as_speech() -> None:
    engine = FakeEngine([delta("Hm.</think>"), done("cancelled")], [delta("Yes."), done()])
    await answer(engine, request(speech=False))
    assert opened(engine)[1] == "\n<think>\nHm.</think>\n\n"


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_thoughts_without_an_end_are_closed_and_answered(reason: str) -> None:
    engine = FakeEngine([delta("Hm <"), done(reason)], [delta("Yes."), done()])
    thought, words, _ = await answer(engine, request())
    assert (thought, words) == ("Hm <", "Yes.")
    assert opened(engine)[1] == "\n<think>\nHm <</think>\n\n<tts_start>"


async def test_thought_and_answer_share_the_response_limit() -> None:
    engine = FakeEngine([delta("Hm.</think>"), done("cancelled")], [delta("Yes."), done()])
    _, _, end = await answer(engine, request(sampling=SamplingParams(max_tokens=50)))
    assert [one.sampling.max_tokens for one in engine.requests] == [50, 46]
    assert (end.usage.input_text, end.usage.output_text, end.usage.output_audio) == (10, 8, 32)


async def test_a_thought_without_room_ends_as_incomplete() -> None:
    engine = FakeEngine([delta("Hm."), done("length")])
    _, words, end = await answer(engine, request(sampling=SamplingParams(max_tokens=4)))
    assert (words, end.reason, len(engine.requests)) == ("", "length", 1)


@pytest.mark.parametrize("reason", ["failed", "context_full"])
async def test_a_thought_that_fails_is_the_end(reason: str) -> None:
    engine = FakeEngine([done(reason, "boom")])
    _, _, end = await answer(engine, request())
    assert (end.reason, len(engine.requests)) == (reason, 1)


async def test_a_cancelled_thought_is_not_answered() -> None:
    engine = FakeEngine([delta("Hm "), delta("so"), done()])
    generation = EngineConversation(ThinkingEngine(engine), "a").generate(request())
    reasons = []
    async for event in generation:
        generation.cancel()
        reasons += [event.reason] if isinstance(event, GenerationDone) else []
    assert (reasons, len(engine.requests)) == (["cancelled"], 1)


async def test_tools_are_called_by_the_answer_only() -> None:
    rules = CallRules((CallableFunction("now"),), required=True)
    engine = FakeEngine([delta("Hm.</think>"), done("cancelled")], [done()])
    await answer(engine, replace(request(), calls=rules))
    assert [one.calls for one in engine.requests] == [CallRules(), rules]


async def test_a_request_without_a_thought_goes_through_untouched() -> None:
    script: list[Step] = [delta("Yes."), done()]
    engine = FakeEngine(script)
    asked = request(thinking=0)
    await answer(engine, asked)
    (seen,) = engine.requests
    assert (seen.messages, seen.options) == (asked.messages, asked.options)


def test_the_effort_scales_the_checkpoints_own_measure() -> None:
    config = SessionConfig(thinking_tokens=2048)
    budgets = [config.thinking_budget(effort) for effort in (None, "none", "minimal", "low", "medium", "high", "odd")]
    assert budgets == [2048, 0, 128, 512, 2048, 4096, 2048]
    assert SessionConfig().thinking_budget("high") == 0


def test_official_folders_get_the_profile_of_their_name(tmp_path: Path) -> None:
    think, base, other = tmp_path / "Step-Audio-2-mini-Think", tmp_path / "Step-Audio-2-mini-Base", tmp_path / "mine"
    assert load_profile(think).thinking_tokens > 0
    assert load_profile(base).prompt_format == "plain"
    assert load_profile(other) == KNOWN["step-audio-2-mini"]
    assert load_profile(other, "step-audio-2-mini-think") == load_profile(think)
    with pytest.raises(ConfigError, match="step-audio-2-mini-base"):
        load_profile(other, "gpt")
