"""Nano as it is served, for evaluation: messages in, words, tool calls and speech codes out.

Dependencies: torch, numpy and this repository's packages.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from realtime.checkpoint.profile import Profile, load_profile
from realtime.model.constraints import CallConstraint, CallGrammar
from realtime.model.decoder import CacheFull, KVCache
from realtime.model.prompt import render
from realtime.model.reply_decoder import ReplyDecoder
from realtime.model.sampling import Sampler
from realtime.model.speech_model import SpeechModel
from realtime.ports.messages import Audio, Message, Tokens
from realtime.ports.tool_calls import (
    CallableFunction,
    CallRules,
    ToolCall,
    parse_tool_calls,
    tool_result,
    tool_schemas,
)
from scripts.nano import domain
from scripts.nano.domain.tools import OfferedTool, schemas

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answered, and the seconds that took."""

    text: str
    calls: tuple[ToolCall, ...]
    codes: tuple[int, ...]
    ids: tuple[int, ...]
    ended: bool
    prefill_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """An exchange with what came of it: the first reply, and the second where a tool was rightly called."""

    exchange: domain.Exchange
    first: Reply
    second: Reply | None

    @property
    def called(self) -> bool:
        """Whether the right tool was called with the right arguments, or none where none was due."""
        return domain.right_call(self.exchange, self.first.calls)

    @property
    def understood(self) -> bool:
        """Whether the intent was right, whatever the slots."""
        return domain.right_intent(self.exchange, self.first.text, self.first.calls)

    @property
    def right(self) -> bool:
        """Whether everything was right, the spoken result included."""
        said = self.second if self.exchange.call else self.first
        return self.called and said is not None and domain.right_reply(self.exchange, said.text)


@dataclass(slots=True)
class _Made:
    ids: list[int]
    text: str = ""
    codes: list[int] = field(default_factory=list)
    ended: bool = False
    rest: str = ""


class Answerer:
    """The product's model with its profile."""

    def __init__(self, folder: Path, temperature: float | None = None, seed: int = 0, most: int = 1500) -> None:
        self.model = SpeechModel.load(folder)
        self.profile: Profile = load_profile(folder)
        self.temperature = self.profile.sampling.temperature if temperature is None else temperature
        self.seed = seed
        self.most = most
        self._features: dict[str, torch.Tensor] = {}
        self._grammar = CallGrammar(self.model.tokenizer, self.model.tokens, self.model.config.text.vocab_size)

    def converse(self, scene: domain.Scene, heard: Sequence[Samples | None], speech: bool) -> list[Answered]:
        """Lead a whole conversation. `heard`: the recording of each question, None for one that is typed.

        The history holds what the model said itself; a tool answers only the right call.
        """
        messages = [Message("system", scene.system)] if scene.system is not None else []
        if scene.tools:
            messages.append(tool_schemas(schemas(scene.tools)))
        offered = tuple(_callable(tool) for tool in scene.tools)
        self._features.clear()
        done: list[Answered] = []
        for k, (exchange, samples) in enumerate(zip(scene.exchanges, heard, strict=True)):
            messages.append(self._question(exchange, samples, f"clip {k}"))
            first = self.answer(messages, speech, offered)
            messages.append(Message("assistant", (Tokens(first.ids),)))
            second = None
            if exchange.call is not None and domain.right_call(exchange, first.calls):
                messages.append(tool_result(exchange.result))
                second = self.answer(messages, speech, offered)
                messages.append(Message("assistant", (Tokens(second.ids),)))
            done.append(Answered(exchange, first, second))
        return done

    def _question(self, exchange: domain.Exchange, samples: Samples | None, name: str) -> Message:
        if samples is None:
            return Message("human", exchange.user_text)
        self._features[name] = self.model.encode_audio(samples)
        return Message("human", (Audio(name, samples),))

    def answer(self, messages: Sequence[Message], speech: bool, offered: Sequence[CallableFunction] = ()) -> Reply:
        """Answer the last message; calls are held to what is offered, doubtful ones withdrawn, as the engine does."""
        model, began = self.model, time.perf_counter()
        prompt = render(messages, model.tokenizer, model.tokens, speech=speech)
        features: Mapping[str, torch.Tensor] = self._features
        cache = model.decoder.new_cache()
        logits = model.decoder.prefill(model.embed(prompt, features), cache)[-1]
        prefilled = time.perf_counter()
        least = self.profile.sampling.call_confidence
        for rules in (CallRules(tuple(offered)), CallRules(words_first=True)):
            cache.truncate(len(prompt.ids))
            calls = self._grammar.constrain(rules, speech=speech, room=self.most)
            made = self._reply(prompt.ids, logits, cache, calls, speech)
            if made.text or made.codes or not calls.doubts(least):
                break
        parsed = parse_tool_calls(made.rest, {function.name for function in offered})
        times = (prefilled - began, time.perf_counter() - prefilled)
        return Reply(made.text, parsed.calls, tuple(made.codes), tuple(made.ids), made.ended, *times)

    def _reply(
        self, prompt: Sequence[int], logits: torch.Tensor, cache: KVCache, calls: CallConstraint, speech: bool
    ) -> _Made:
        """Write one reply behind a prompt whose last logits [V] these are."""
        model = self.model
        sampler = self._sampler()
        sampler.observe(prompt)
        made = _Made([model.tokens.tts_start] if speech else [])
        reply = ReplyDecoder(model.tokenizer, model.tokens)
        try:
            while len(made.ids) < self.most:
                id_ = calls.forced()
                if id_ is None:
                    id_ = sampler.next(logits, calls.allowed())
                    calls.accept(id_, logits)
                else:
                    sampler.observe((id_,))
                    calls.accept(id_)
                made.ended = id_ in model.tokens.stop_ids
                if made.ended:
                    break
                made.ids.append(id_)
                delta = reply.push((id_,))
                made.text += delta.text
                made.codes += delta.speech_codes
                logits = model.decoder.step(torch.tensor([id_]), [cache])[0]
        except CacheFull:
            pass
        made.text += reply.finish().text
        made.rest = reply.rest
        return made

    def _sampler(self) -> Sampler:
        sampling = replace(self.profile.sampling, temperature=self.temperature)
        return Sampler(
            self.model.config.text.vocab_size,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            repetition_penalty=sampling.repetition_penalty,
            seed=self.seed,
        )


def _callable(tool: OfferedTool) -> CallableFunction:
    return CallableFunction(tool.name, json.dumps(tool.schema()["function"]["parameters"]))
