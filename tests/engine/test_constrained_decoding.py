"""Forced calls from a model of random weights, alone and beside other replies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from realtime.engine.conversation import PromptMessage, PromptRequest
from realtime.engine.engine import EngineCore
from realtime.engine.runner import ModelRunner
from realtime.engine.sequence import Job
from realtime.model.speech_model import SpeechModel
from realtime.ports.engine import GenerationDone, GenerationOptions, SamplingParams, TokenDelta
from realtime.ports.messages import Message
from realtime.ports.tool_calls import CallableFunction, CallRules, ToolCall, parse_tool_calls
from tests.model.samples import write_checkpoint

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
WEATHER = CallableFunction("get_weather", json.dumps(CITY))
NOW = CallableFunction("now")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    folder: Path = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 1024
    (folder / "config.json").write_text(json.dumps(config))
    return SpeechModel.load(folder, torch.device("cpu"), torch.float32)


def asking(name: str, calls: CallRules, *, speech: bool = True, max_tokens: int = 300) -> PromptRequest:
    sampling = SamplingParams(max_tokens=max_tokens, seed=len(name))
    return PromptRequest(name, (PromptMessage(Message("human", name)),), GenerationOptions(speech, sampling), calls)


def run(model: SpeechModel, *requests: PromptRequest) -> list[tuple[list[int], GenerationDone]]:
    """All at once on one engine: the ids of each and how it ended."""
    core = EngineCore(ModelRunner(model), slots=len(requests))
    events: list[list[TokenDelta | GenerationDone]] = [[] for _ in requests]
    for request, mine in zip(requests, events, strict=True):
        core.submit(Job(request, mine.append, 0.0))
    while core.step():
        pass
    results = []
    for mine in events:
        done = mine[-1]
        assert isinstance(done, GenerationDone)
        results.append(([id_ for event in mine[:-1] if isinstance(event, TokenDelta) for id_ in event.ids], done))
    return results


def calls_of(done: GenerationDone) -> tuple[ToolCall, ...]:
    return parse_tool_calls(done.rest).calls


@pytest.mark.parametrize("speech", [False, True])
def test_required_calls_come_at_once_with_valid_arguments(model: SpeechModel, speech: bool) -> None:
    rules = CallRules((WEATHER,), required=True, parallel=False)
    ((ids, done),) = run(model, asking("a", rules, speech=speech))
    (call,) = calls_of(done)
    assert call.name == "get_weather" and isinstance(json.loads(call.arguments)["city"], str)
    tokens = model.tokens
    assert ids[0 : 3 if speech else 1] == (
        [tokens.tts_start, tokens.tts_end, tokens.tool_call] if speech else [tokens.tool_call]
    )
    assert done.reason == "stop"


@pytest.mark.parametrize("speech", [False, True])
def test_a_required_call_stands_however_doubtful(model: SpeechModel, speech: bool) -> None:
    request = asking("a", CallRules((WEATHER,), required=True, parallel=False), speech=speech)
    doubtful = replace(request.options.sampling, call_confidence=1.0)
    request = replace(request, options=replace(request.options, sampling=doubtful))
    ((_, done),) = run(model, request)
    assert calls_of(done)


def test_replies_under_different_rules_share_a_decoding_batch(model: SpeechModel) -> None:
    requests = (
        asking("forced", CallRules((WEATHER, NOW), required=True)),
        asking("free", CallRules((NOW,)), max_tokens=60),
        asking("forbidden", CallRules(), max_tokens=60),
        asking("named", CallRules((NOW,), required=True, parallel=False), speech=False),
    )
    forced, free, forbidden, named = run(model, *requests)
    assert calls_of(forced[1])[0].name in ("get_weather", "now")
    assert all(call.name == "now" for call in calls_of(free[1]))
    assert model.tokens.tool_call not in forbidden[0] and forbidden[1].rest == ""
    assert calls_of(named[1]) == (ToolCall("now", "{}"),)
    for request, beside in zip(requests, (forced, free, forbidden, named), strict=True):
        ((alone, _),) = run(model, request)
        assert alone == beside[0]


def test_schemas_without_grammar_do_not_harm_the_others(model: SpeechModel) -> None:
    broken = CallableFunction("broken", '{"properties": {"a": {"type": "strin"}}}')
    first, second = run(
        model,
        asking("broken", CallRules((broken,), required=True, parallel=False)),
        asking("fine", CallRules((NOW,), required=True, parallel=False)),
    )
    assert isinstance(json.loads(calls_of(first[1])[0].arguments), dict)
    assert calls_of(second[1]) == (ToolCall("now", "{}"),)
