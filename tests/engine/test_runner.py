"""What the runner makes of the model's ids, with a scripted decoder in the model's place."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from realtime.engine.conversation import PromptRequest
from realtime.engine.rendered_prompt import RenderedMessage, RenderedPrompt
from realtime.engine.reply_state import DecodeState
from realtime.engine.runner import ModelRunner
from realtime.engine.sequence import Slot
from realtime.model.decoder import KVCache
from realtime.model.tokenizer import TextTokenizer
from realtime.model.tokens import SpecialTokens
from realtime.ports.engine import GenerationOptions, SamplingParams
from realtime.ports.tool_calls import CallableFunction, CallRules, ToolCall, render_tool_call
from tests.model.samples import text_config

CALL = render_tool_call(ToolCall("now", "{}"))
PLOT = '{"type": "object", "properties": {"y": {"type": "array", "items": {"type": "number"}}}, "required": ["y"]}'
GREEDY = SamplingParams(temperature=0.0, repetition_penalty=1.0)


class ScriptedModel:
    """A `SpeechModel` whose decoder gives these ids, whatever it is given."""

    def __init__(self, tokenizer: TextTokenizer, script: list[int], positions: int = 128) -> None:
        self.tokenizer = tokenizer
        self.tokens = SpecialTokens.from_ids(tokenizer.ids)
        text = dataclasses.replace(text_config(len(tokenizer)), max_position_embeddings=positions)
        self.config = SimpleNamespace(text=text)
        self.decoder = SimpleNamespace(device=torch.device("cpu"), step=lambda ids, caches: self.logits()[None])
        self._script = iter(script)

    def logits(self) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(next(self._script)), len(self.tokenizer)).float()


def generate(model: Any, sampling: SamplingParams = GREEDY) -> tuple[DecodeState, str, list[int]]:
    """The finished state, and the text and the ids of all deltas."""
    runner = ModelRunner(model)
    config = model.config.text
    cache = KVCache(config, max_length=config.max_position_embeddings, dtype=torch.float32, device=torch.device("cpu"))
    prompt = RenderedPrompt([RenderedMessage((model.tokens.bot,), (model.tokens.bot,))])
    cache.length = prompt.length
    calls = CallRules((CallableFunction("now"), CallableFunction("plot", PLOT)))
    request = PromptRequest("a", (), GenerationOptions(False, sampling), calls)
    state = runner.begin_decode(Slot("a", cache), prompt, request, model.logits())
    text, ids = "", list[int]()
    while True:
        if (delta := state.take_delta()) is not None:
            text += delta.text
            ids += delta.ids
        if state.finished:
            return state, text, ids
        runner.decode([state])


def test_tool_calls_behind_the_speech_are_the_rest(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    spoken = [*tokenizer.encode("one"), *[tokens.audio_0] * 4, tokens.tts_end]
    call = tokenizer.encode(CALL)
    state, text, ids = generate(ScriptedModel(tokenizer, [*spoken, *call, tokens.eot]))
    assert (state.finished, text, state.rest) == ("stop", "one", CALL)
    assert ids == [*spoken, *call]
    assert ids[-state.rest_count :] == call


def test_a_call_without_words_is_all_rest(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    state, text, ids = generate(ScriptedModel(tokenizer, [*tokenizer.encode(CALL), tokens.eot]))
    assert (text, state.rest, state.rest_count) == ("", CALL, len(ids))


def test_calls_that_were_cut_off_are_counted(tokenizer: TextTokenizer) -> None:
    call = tokenizer.encode(CALL)
    most = SamplingParams(temperature=0.0, repetition_penalty=1.0, max_tokens=len(call) - 1)
    state, _, ids = generate(ScriptedModel(tokenizer, call), most)
    assert (state.finished, state.rest_count) == ("length", len(call) - 1)
    assert ids == call[:-1] and CALL.startswith(state.rest)


DOUBTFUL = dataclasses.replace(GREEDY, call_confidence=0.3)
"""The scripted model finds nothing likely: its logits are one and zeros."""


def test_doubtful_calls_are_withdrawn_and_words_come_instead(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    script = [*tokenizer.encode(CALL), tokens.eot, *tokenizer.encode("orry"), tokens.eot]
    state, text, ids = generate(ScriptedModel(tokenizer, script), DOUBTFUL)
    assert state.finished == "stop" and state.rest == "" and tokens.tool_call not in ids
    assert text.endswith("orry") and len(text) > len("orry")  # the first word follows the prompt's own logits
    assert state.cached_ids == ids


def test_a_likely_call_stands(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    model = ScriptedModel(tokenizer, [*tokenizer.encode(CALL), tokens.eot])
    unsure = model.logits
    model.logits = lambda: 30 * unsure()  # type: ignore[method-assign]
    assert generate(model, DOUBTFUL)[0].rest == CALL


def test_doubtful_calls_behind_words_that_were_heard_stand(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    script = [*tokenizer.encode("one"), *[tokens.audio_0] * 4, tokens.tts_end, *tokenizer.encode(CALL), tokens.eot]
    state, text, _ = generate(ScriptedModel(tokenizer, script), DOUBTFUL)
    assert (text, state.rest) == ("one", CALL)


def test_a_reply_without_a_call_has_no_rest(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    state, text, _ = generate(ScriptedModel(tokenizer, [*tokenizer.encode("hello"), tokens.eot]))
    assert (text, state.rest, state.rest_count) == ("hello", "", 0)


def test_text_probabilities_come_where_they_are_asked_for(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    said = tokenizer.encode("é!")
    model: Any = ScriptedModel(tokenizer, [*said, tokens.eot])
    runner, cache = (
        ModelRunner(model),
        KVCache(model.config.text, max_length=64, dtype=torch.float32, device=torch.device("cpu")),
    )
    prompt = RenderedPrompt([RenderedMessage((model.tokens.bot,), (model.tokens.bot,))])
    request = PromptRequest("a", (), GenerationOptions(False, GREEDY, logprobs=True))
    state = runner.begin_decode(Slot("a", cache), prompt, request, model.logits())
    found = []
    while True:
        delta = state.take_delta()
        found += delta.logprobs if delta is not None else ()
        if state.finished:
            break
        runner.decode([state])
    assert b"".join(one.data for one in found).decode() == "é!"
    expected = 1 - math.log(len(tokenizer) - 1 + math.e)  # logits are 1 for the chosen id and 0 for all others
    assert [one.logprob for one in found] == [pytest.approx(expected)] * len(said)
    assert state.end_logprob == pytest.approx(expected)


def test_a_reply_that_only_repeats_itself_is_ended(tokenizer: TextTokenizer) -> None:
    loop = tokenizer.encode("one two three ")
    state, _, ids = generate(ScriptedModel(tokenizer, loop * 200, 4096))
    assert state.finished == "looped"
    assert len(ids) < 12 * len(loop) + 64
    assert ids[: len(ids) - state.surplus] == loop


def test_replies_in_which_nothing_new_comes_are_ended(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    spoken = [*tokenizer.encode("one"), *[tokens.audio_0] * 4]
    state, text, ids = generate(ScriptedModel(tokenizer, [*spoken, *[tokens.tts_pad] * 2000], 4096))
    assert (state.finished, text) == ("silent", "one")
    assert ids[: len(ids) - state.surplus] == spoken


def test_equal_values_in_a_call_are_no_loop(tokenizer: TextTokenizer) -> None:
    tokens = SpecialTokens.from_ids(tokenizer.ids)
    call = tokenizer.encode(render_tool_call(ToolCall("plot", '{"y": [' + "0, " * 60 + "0]}")))
    state, _, ids = generate(ScriptedModel(tokenizer, [*call, tokens.eot], 4096))
    assert (state.finished, ids) == ("stop", call)
