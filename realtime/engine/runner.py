"""Requests on the real model: the engine's only module with tensors. Runs in the engine's thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from realtime.engine.compute_clock import compute_clock
from realtime.engine.conversation import PromptRequest
from realtime.engine.preparation import Preparation
from realtime.engine.rendered_prompt import Key, RenderedMessage, RenderedPrompt, Segment, segments_of
from realtime.engine.reply_state import DecodeState
from realtime.engine.sequence import Slot
from realtime.errors import EngineError
from realtime.model.constraints import CallGrammar, Probe, trust
from realtime.model.decoder import KVCache
from realtime.model.interleave import Demultiplexer
from realtime.model.prompt import TTS_START, AudioSpan, Prompt, assemble, message_pieces
from realtime.model.reply_decoder import ReplyDecoder, ReplyDelta
from realtime.model.sampling import Sampler
from realtime.model.speech_model import SpeechModel
from realtime.model.tokens import TokenKind
from realtime.ports.engine import GenerationOptions, SamplingParams, TokenLogProb
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message, Text
from realtime.ports.tool_calls import CallRules

logger = logging.getLogger(__name__)

TIMED_STEPS, TIMED_SECONDS = 5, 0.2
"""The fastest of so many counts: others may use the machine as well. A slow model is timed more briefly."""

LONG_TEXT = 4096
"""Characters of a message from which on it is tokenized beside the engine's thread: 6 ms."""


class ModelRunner:
    """`realtime.engine.engine.Runner` over one `SpeechModel`. Keeps the features of each conversation's audio."""

    def __init__(self, model: SpeechModel, *, max_tokens: int = 0, probe: Probe = trust) -> None:
        """``max_tokens``: positions of a conversation's KV cache; 0: as many as the model has. ``probe``: of clients'
        schemas."""
        self._model = model
        longest = model.config.text.max_position_embeddings
        self._max_tokens = min(max_tokens or longest, longest)
        self._features: dict[str, dict[str, Tensor]] = {}
        """By conversation and segment: features [n, D]."""
        self._calls = CallGrammar(model.tokenizer, model.tokens, model.config.text.vocab_size, probe)

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def new_cache(self) -> KVCache:
        return self._model.decoder.new_cache(max_length=self._max_tokens)

    def render(self, message: Message) -> RenderedMessage:
        prompt = assemble(message_pieces([message], self._model.tokens), self._model.tokenizer, self._model.tokens)
        keys: list[Key] = list(prompt.ids)
        segments = segments_of(message)
        spans = tuple(
            AudioSpan(segment.name, span.offset, 0, span.count)
            for span, segment in zip(prompt.spans, segments, strict=True)
        )
        for span in spans:
            keys[span.offset : span.offset + span.count] = [(span.audio_id, index) for index in range(span.count)]
        return RenderedMessage(prompt.ids, tuple(keys), segments, spans)

    def render_opening(self, options: GenerationOptions) -> RenderedMessage:
        content = options.opening or (TTS_START if options.speech else None)
        return self.render(Message("assistant", content, closed=False))

    def preparations(self, request: PromptRequest, *, decodes: bool) -> Iterator[Preparation]:
        for one in request.messages:
            if one.rendered is None and _text_length(one.message) > LONG_TEXT:
                yield Preparation(one, partial(self.render, one.message), partial(setattr, one, "rendered"))
        functions = request.calls.functions
        if functions and not self._calls.is_compiled(functions):
            work, keep = partial(self._calls.compile, functions), partial(self._calls.keep, functions)
            yield Preparation(functions, work, keep, needed=decodes)

    def has_features(self, conversation: str, segment: Segment) -> bool:
        return segment.name in self._features.get(conversation, {})

    def encode(self, conversation: str, segment: Segment) -> None:
        features = self._model.encode_audio(segment.audio.read(segment.start, segment.stop))
        self._features.setdefault(conversation, {})[segment.name] = features

    def keep_features(self, conversation: str, names: frozenset[str]) -> None:
        kept = {name: value for name, value in self._features.get(conversation, {}).items() if name in names}
        if kept:
            self._features[conversation] = kept
        else:
            self._features.pop(conversation, None)

    def prefill(self, slot: Slot, prompt: RenderedPrompt, start: int, stop: int) -> Tensor:
        """Put positions start..stop into the slot's cache; gives the logits [V] of the last one."""
        part = Prompt(tuple(prompt.ids(start, stop)), prompt.spans(start, stop))
        embeds = self._model.embed(part, self._features.get(slot.name, {}))
        return self._model.decoder.prefill(embeds, _kv(slot))[-1]

    def begin_decode(self, slot: Slot, prompt: RenderedPrompt, request: PromptRequest, logits: Tensor) -> DecodeState:
        """The prompt is in the cache: choose the first id."""
        state = self._begin(slot, prompt, request)
        if request.calls.functions:
            state.call_confidence = request.options.sampling.call_confidence
            state.without_calls = partial(self._begin_without_calls, state, prompt, request, logits)
        self._accept(state, logits)
        return state

    def _begin(self, slot: Slot, prompt: RenderedPrompt, request: PromptRequest) -> DecodeState:
        params = request.options.sampling
        speech = prompt.last_id == self._model.tokens.tts_start
        room = min(params.max_tokens, self._max_tokens - prompt.length)
        state = DecodeState(
            slot,
            self._sampler(params),
            ReplyDecoder(self._model.tokenizer, self._model.tokens),
            self._calls.constrain(request.calls, speech=speech, room=room),
            room,
        )
        state.sampler.observe(prompt.distinct_ids())
        state.logprobs = [] if request.options.logprobs else None
        if speech:
            state._ids.append(prompt.last_id)  # the history replays the reply with the id that opened it
        return state

    def _begin_without_calls(
        self, state: DecodeState, prompt: RenderedPrompt, request: PromptRequest, logits: Tensor
    ) -> None:
        """Forget the reply so far, of which nothing was handed out; ``logits`` [V] are those behind the prompt."""
        logger.info("withdrew a call that is too unlikely")
        _kv(state.slot).truncate(prompt.length)
        fresh = self._begin(state.slot, prompt, replace(request, calls=CallRules(words_first=True)))
        for part in fields(state):
            setattr(state, part.name, getattr(fresh, part.name))
        self._accept(state, logits)

    def decode(self, states: list[DecodeState]) -> None:
        """One id more for each. What fails for one of them alone is its state's ``fault``."""
        ids = torch.tensor([state.newest for state in states], device=self._model.decoder.device)
        logits = self._model.decoder.step(ids, [_kv(state.slot) for state in states])
        for state, row in zip(states, logits, strict=True):
            state.cached_ids.append(state.newest)
            try:
                self._accept(state, row)
            except BaseException as fault:  # a panic in a Rust library is no `Exception`
                state.fault = fault

    def warm_up(self) -> None:
        """Run everything once, so that the first caller does not pay for what is set up on first use."""
        self._calls.warm_up()
        state = self._warm_reply("warm-up")
        for _ in range(8):
            self.decode([state])
        self.keep_features("warm-up", frozenset())

    def time_step(self, replies: int) -> float:
        """Seconds of a decoding step for so many replies. Before the engine's thread runs."""
        names = [f"measurement {number}" for number in range(replies)]
        states = [self._warm_reply(name) for name in names]
        clock = compute_clock()
        times: list[float] = []
        while len(times) < TIMED_STEPS and sum(times) < TIMED_SECONDS:
            began = clock()
            self.decode(states)
            times.append(clock() - began)
        for name in names:
            self.keep_features(name, frozenset())
        return min(times)

    def _warm_reply(self, name: str) -> DecodeState:
        """A reply to a second of silence, about to be decoded."""
        silence = Audio("warm-up", np.zeros(MODEL_SAMPLE_RATE, np.float32))
        options = GenerationOptions(True, SamplingParams())
        prompt = RenderedPrompt((self.render(Message("human", (silence,))), self.render_opening(options)))
        slot = Slot(name, self.new_cache())
        for segment in prompt.segments:
            self.encode(slot.name, segment)
        logits = self.prefill(slot, prompt, 0, prompt.length)
        return self.begin_decode(slot, prompt, PromptRequest(slot.name, (), options), logits)

    def _sampler(self, params: SamplingParams) -> Sampler:
        return Sampler(
            self._model.config.text.vocab_size,
            temperature=params.temperature,
            top_k=params.top_k,
            top_p=params.top_p,
            repetition_penalty=params.repetition_penalty,
            seed=params.seed,
            device=self._model.decoder.device,
        )

    def _accept(self, state: DecodeState, logits: Tensor) -> None:
        """Choose an id by its logits [V] and sort it into the reply."""
        id_ = state.newest = self._choose(state, logits)
        kind = self._model.tokens.kind(id_)
        if kind is TokenKind.STOP:
            if state.nothing_delivered and state.calls.doubts(state.call_confidence):
                state.without_calls()
                return
            if state.logprobs is not None:
                state.end_logprob = _logprob(logits, id_)
            self._finish(state, "stop", state.cached_ids)
            return
        if state.logprobs is not None and kind is TokenKind.TEXT:
            data = self._model.tokenizer.token_bytes(id_)
            state.logprobs.append(TokenLogProb(data, _logprob(logits, id_)))
        self._take(state, state.reply.push((id_,)))
        spoken = kind is TokenKind.SPEECH or id_ == self._model.tokens.speech_padding
        state.audio_count += spoken
        state.text_count += not spoken
        state.room -= 1
        hopeless = None if state.reply.in_rest else state.watch.push(id_, kind)
        if hopeless is not None:
            state.surplus = 0 if state.reply.has_markup else hopeless.surplus  # ids that were left out are not counted
            self._finish(state, hopeless.reason, [*state.cached_ids, id_])
        elif state.room <= 0:
            self._finish(state, "length", [*state.cached_ids, id_])

    def _take(self, state: DecodeState, delta: ReplyDelta) -> None:
        """Keep for the next delta what the reply's decoder passes on."""
        had_markup, state.malformed = state.malformed, state.reply.has_markup
        if state.malformed and not had_markup:
            logger.warning("left markup out of a reply's words")
            if state.logprobs is not None:
                state.logprobs = []  # of what was held back
        state._text += delta.text
        state._codes += delta.speech_codes
        state._ids += delta.ids

    def _choose(self, state: DecodeState, logits: Tensor) -> int:
        """Sampled, unless the rules of calling leave no choice. Raises `EngineError` for logits that are not numbers:
        a greedy choice would take one of them."""
        if bool(logits.isnan().any()):
            raise EngineError("the model's logits are not numbers")
        forced = state.calls.forced()
        if forced is not None:
            state.sampler.observe((forced,))
            state.calls.accept(forced)
            return forced
        id_ = state.sampler.next(logits, state.calls.allowed())
        state.calls.accept(id_, logits)
        return id_

    def _finish(
        self, state: DecodeState, reason: Literal["stop", "length", "looped", "silent"], ids: list[int]
    ) -> None:
        """``ids``: all of the reply, without what stopped it."""
        self._take(state, state.reply.finish())
        state.finished = reason
        state.rest = state.reply.rest
        state.rest_count = len(Demultiplexer(self._model.tokens).push(ids).rest)


def _text_length(message: Message) -> int:
    if isinstance(message.content, str):
        return len(message.content)
    return sum(len(part.text) for part in message.content or () if isinstance(part, Text))


def _logprob(logits: Tensor, id_: int) -> float:
    """Natural logarithm of the chance that logits [V] give an id."""
    return float(logits.float().log_softmax(-1)[id_])


def _kv(slot: Slot) -> KVCache:
    cache: Any = slot.cache
    assert isinstance(cache, KVCache)
    return cache
