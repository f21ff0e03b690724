"""An engine that thinks before it speaks, over one that only writes and speaks (spec/model.md section 10).

A reply with a thought is two generations of one assistant turn, both on the conversation's KV cache. The first opens
the turn with ``<think>`` and ends when the model has written ``</think>`` or its budget is spent; the second continues
the same turn behind the thought. The caller sees one `Generation`. ``<think>`` and ``</think>`` are ordinary text of
several ids each, so the end is found in the text.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from realtime.model.prompt import THINK_END, answer_after_thinking, think
from realtime.ports.engine import (
    Conversation,
    Engine,
    Generation,
    GenerationDone,
    GenerationOptions,
    GenerationTimings,
    TokenDelta,
    TokenUsage,
)
from realtime.ports.messages import Message
from realtime.ports.tool_calls import AllowedCalls


class ThinkingEngine:
    """`realtime.ports.engine.Engine`: generations that ask for no thought go to the other engine as they are."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock

    def open(self, name: str) -> Conversation:
        return _ThinkingConversation(self._engine.open(name), self._clock)


class _ThinkingConversation:
    """`realtime.ports.engine.Conversation` over another, which does all but the thinking."""

    def __init__(self, conversation: Conversation, clock: Callable[[], float]) -> None:
        self._conversation = conversation
        self._clock = clock
        self.append_audio = conversation.append_audio
        self.add_reply = conversation.add_reply
        self.define_functions = conversation.define_functions
        self.forget = conversation.forget
        self.append = conversation.append
        self.truncate = conversation.truncate
        self.replace = conversation.replace
        self.prefetch = conversation.prefetch
        self.close = conversation.close

    @property
    def lost(self) -> bool:
        return self._conversation.lost

    def generate(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        if not options.thinking:
            return self._conversation.generate(options, speculative=speculative)
        thought = self._conversation.generate(_thought_options(options), speculative=speculative)
        return _Deliberation(thought, options, self._clock, speculative)

    def fork(self, name: str) -> Conversation:
        return _ThinkingConversation(self._conversation.fork(name), self._clock)


def _thought_options(options: GenerationOptions) -> GenerationOptions:
    """Of the first of the two generations: calls belong to the answer."""
    budget = min(options.thinking, options.sampling.max_tokens)
    sampling = replace(options.sampling, max_tokens=budget)
    return replace(options, opening=_content(think()), sampling=sampling, thinking=0, calls=AllowedCalls())


def _content(message: Message) -> str:
    assert isinstance(message.content, str)
    return message.content


@dataclass(slots=True)
class _ThoughtText:
    """The thought as it comes; holds back what may be the beginning of `THINK_END`."""

    text: str = ""
    _shown: int = 0
    ended: bool = False

    def push(self, text: str) -> str:
        """More of the model's text -> what is certainly thought."""
        self.text += text
        at = self.text.find(THINK_END)
        if at >= 0:
            self.text, self.ended = self.text[:at], True
        return self._show(len(self.text) - (0 if self.ended else _overlap(self.text, THINK_END)))

    def finish(self) -> str:
        """What was held back, when nothing more comes."""
        return self._show(len(self.text))

    def _show(self, until: int) -> str:
        shown, self._shown = self.text[self._shown : until], max(until, self._shown)
        return shown


class _Deliberation:
    """The two generations as one."""

    def __init__(
        self, thought: Generation, options: GenerationOptions, clock: Callable[[], float], speculative: bool
    ) -> None:
        self._speculative = speculative
        self._options = options
        self._clock = clock
        self._began = clock()
        self._cancelled = False
        self._thought = self._current = thought

    def confirm(self) -> None:
        self._speculative = False
        self._current.confirm()

    def cancel(self) -> None:
        self._cancelled = True
        self._current.cancel()

    def again(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        if not options.thinking:
            return self._thought.again(options, speculative=speculative)
        thought = self._thought.again(_thought_options(options), speculative=speculative)
        return _Deliberation(thought, options, self._clock, speculative)

    async def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]:
        thought = _ThoughtText()
        thinking: GenerationDone | None = None
        async for event in self._current:
            if isinstance(event, GenerationDone):
                thinking = event
            elif not event.ids:
                yield event  # nothing new, but the engine works
            elif not thought.ended and (shown := thought.push(event.text)):
                yield _thought(shown)
            if thought.ended:
                self._current.cancel()  # its GenerationDone still comes, with what this has cost
        assert thinking is not None
        if rest := thought.finish():
            yield _thought(rest)
        closed = thought.ended or thinking.reason in ("stop", "length", "looped", "silent")
        if self._cancelled or not closed:
            yield replace(thinking, rest="", rest_count=0, surplus=0)
            return
        async for event in self._answer(thought.text, thinking):
            yield event

    async def _answer(self, thought: str, thinking: GenerationDone) -> AsyncIterator[TokenDelta | GenerationDone]:
        left = self._options.sampling.max_tokens - thinking.usage.output_text
        if left <= 0:
            yield replace(thinking, reason="length", rest="", rest_count=0, surplus=0)
            return
        options = replace(
            self._options,
            opening=_content(answer_after_thinking(thought, speech=self._options.speech)),
            sampling=replace(self._options.sampling, max_tokens=left),
            thinking=0,
        )
        spent = self._clock() - self._began
        self._current = self._thought.again(options, speculative=self._speculative)
        async for event in self._current:
            yield _joined(thinking, event, spent) if isinstance(event, GenerationDone) else event


def _thought(text: str) -> TokenDelta:
    return TokenDelta("", (), (), thought=text)


def _overlap(text: str, mark: str) -> int:
    """How many of the last characters may begin ``mark``."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0)


def _joined(thinking: GenerationDone, answer: GenerationDone, spent: float) -> GenerationDone:
    """The end of both. The prompt is counted once, as the first generation found it; ``spent``: seconds before the
    second was asked for."""
    first, second = thinking.usage, answer.usage
    usage = TokenUsage(
        input_text=first.input_text,
        input_audio=first.input_audio,
        cached_text=first.cached_text,
        cached_audio=first.cached_audio,
        output_text=first.output_text + second.output_text,
        output_audio=first.output_audio + second.output_audio,
    )
    timings = GenerationTimings(
        queued=thinking.timings.queued,
        encoded=thinking.timings.encoded,
        first_token=spent + answer.timings.first_token,
        decode_seconds=thinking.timings.decode_seconds + answer.timings.decode_seconds,
        decode_tokens=thinking.timings.decode_tokens + answer.timings.decode_tokens,
    )
    return replace(answer, usage=usage, timings=timings)
