"""A scripted engine and vocoder that play a recording instead of running a model: the same output at a fixed speed.

The speed is about that of nano on two cores (docs/performance.md). A speculative reply pauses at `SPECULATIVE_SECONDS`
until it is confirmed, as in the real engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
from numpy.typing import NDArray

from realtime.bench.turns.synthetic_noise import RATE, Samples
from realtime.ports.engine import (
    SPECULATIVE_SECONDS,
    Conversation,
    Generation,
    GenerationDone,
    GenerationOptions,
    GenerationTimings,
    TokenDelta,
    TokenLogProb,
    TokenUsage,
)
from realtime.ports.messages import AudioRef, Message
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.tool_calls import CallableFunction
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE, AudioChunk

FIRST_TOKEN_S = 0.025
TRANSCRIPT_S = 0.15
"""Time to transcribe a short word."""
REAL_TIME_FACTOR = 0.2
"""Compute time per second of speech, engine and vocoder together."""

TOKEN_SAMPLES = OUTPUT_SAMPLE_RATE // 25
_TOKENS = 5  # speech tokens that come with one text token
_STEP_S = _TOKENS / 25
_HEARD_TOKENS_PER_S = 12.5


class ScriptedEngine:
    """Answers every request with ``reply_s`` seconds of speech, and every transcription with ``transcript``."""

    def __init__(self, reply_s: float, transcript: str = "") -> None:
        self._steps = round(reply_s / _STEP_S)
        self._transcript = transcript

    def open(self, name: str) -> Conversation:
        return ScriptedConversation(self._steps, self._transcript)


class ScriptedConversation:
    """See `realtime.ports.engine.Conversation`. Of all that it is given, only the messages count."""

    lost = False

    def __init__(self, steps: int, transcript: str, messages: Sequence[Message] = ()) -> None:
        self._steps = steps
        self._transcript = transcript
        self._messages = list(messages)

    def append_audio(self, audio_id: str, samples: NDArray[np.float32]) -> None:
        """Its references say how long it is."""

    def add_reply(self, reply_id: str, ids: Sequence[int]) -> None:
        """Nothing to remember."""

    def define_functions(self, functions: Sequence[CallableFunction]) -> None:
        """None is called."""

    def forget(self, content_ids: Sequence[str]) -> None:
        """Nothing was remembered."""

    def append(self, messages: Sequence[Message]) -> None:
        self._messages.extend(messages)

    def truncate(self, length: int) -> None:
        del self._messages[length:]

    def replace(self, start: int, stop: int, messages: Sequence[Message]) -> None:
        self._messages[start:stop] = messages

    def generate(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        if not options.speech:
            return ScriptedTranscript(self._transcript)
        return ScriptedGeneration(self._steps, _heard_tokens(self._messages), speculative=speculative)

    def prefetch(self, options: GenerationOptions) -> None:
        """Nothing to prepare."""

    def fork(self, name: str) -> Conversation:
        return ScriptedConversation(self._steps, self._transcript, self._messages)

    def close(self) -> None:
        """Nothing to forget."""


class ScriptedGeneration:
    """See `realtime.ports.engine.Generation`."""

    def __init__(self, steps: int, prompt: int, *, speculative: bool) -> None:
        self._steps = steps
        self._prompt = prompt
        self._wanted = asyncio.Event()
        self._cancelled = False
        if not speculative:
            self._wanted.set()

    def confirm(self) -> None:
        self._wanted.set()

    def cancel(self) -> None:
        self._cancelled = True
        self._wanted.set()

    def again(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        return ScriptedGeneration(self._steps, self._prompt, speculative=speculative)

    async def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]:
        await asyncio.sleep(FIRST_TOKEN_S)
        for step in range(self._steps):
            if step * _STEP_S >= SPECULATIVE_SECONDS:
                await self._wanted.wait()
            if self._cancelled:
                yield self._done("cancelled", step)
                return
            tokens = tuple(range(step * _TOKENS, (step + 1) * _TOKENS))
            yield TokenDelta("word ", tokens, (1, *(2 for _ in tokens)))
            await asyncio.sleep(_STEP_S * REAL_TIME_FACTOR)
        yield self._done("cancelled" if self._cancelled else "stop", self._steps)

    def _done(self, reason: str, steps: int) -> GenerationDone:
        usage = TokenUsage(input_audio=self._prompt, output_text=steps, output_audio=steps * _TOKENS)
        timings = GenerationTimings(0.0, FIRST_TOKEN_S, FIRST_TOKEN_S, steps * _STEP_S * REAL_TIME_FACTOR, steps)
        return GenerationDone("cancelled" if reason == "cancelled" else "stop", usage, timings)


class ScriptedTranscript:
    """See `realtime.ports.engine.Generation`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def confirm(self) -> None:
        """Nothing to do: a transcript is never speculative."""

    def cancel(self) -> None:
        """Nothing to free."""

    def again(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        return ScriptedTranscript(self._text)

    async def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]:
        await asyncio.sleep(TRANSCRIPT_S)
        if self._text:
            yield TokenDelta(self._text, (), (1,), logprobs=(TokenLogProb(self._text.encode(), -0.05),))
        timings = GenerationTimings(0.0, TRANSCRIPT_S, TRANSCRIPT_S, 0.0, 1)
        yield GenerationDone("stop", TokenUsage(output_text=1), timings, end_logprob=-0.05)


class ScriptedVocoder:
    """Speaks ``recording``, float32 at 24 kHz: token n is its n-th 40 ms."""

    voices = ("default",)

    def __init__(self, recording: Samples) -> None:
        self._recording = recording

    def open(
        self, voice: str, *, speculative: bool = False, aside: bool = False, payer: Payer = NOBODY
    ) -> ScriptedVoice:
        return ScriptedVoice(self._recording)


class ScriptedVoice:
    """See `realtime.ports.engine.VocoderStream`. Its tokens come at the pace of both, so it takes no time itself."""

    def __init__(self, recording: Samples) -> None:
        self._recording = recording
        self._chunks: asyncio.Queue[AudioChunk | None] = asyncio.Queue()
        self._closed = False
        self._made = 0.0

    @property
    def made_seconds(self) -> float:
        return self._made

    def confirm(self) -> None:
        """It makes what it is given."""

    def push(self, tokens: Sequence[int]) -> None:
        samples = self._recording[tokens[0] * TOKEN_SAMPLES : (tokens[-1] + 1) * TOKEN_SAMPLES]
        self._made += len(samples) / OUTPUT_SAMPLE_RATE
        self._chunks.put_nowait(AudioChunk(samples, compute_seconds=0.0))

    def finish(self) -> None:
        self._chunks.put_nowait(None)

    def close(self) -> None:
        self._closed = True
        self._chunks.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        while (chunk := await self._chunks.get()) is not None and not self._closed:
            yield chunk


def _heard_tokens(messages: Sequence[Message]) -> int:
    """Ids of the newest turn: what came before is in the cache."""
    content = messages[-1].content if messages else None
    parts = content if isinstance(content, tuple) else ()
    return round(sum(part.length for part in parts if isinstance(part, AudioRef)) / RATE * _HEARD_TOKENS_PER_S)
