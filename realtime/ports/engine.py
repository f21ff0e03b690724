"""What a session needs from the model side, as Protocols: tests pass fakes, and no session imports torch.

An `Engine` turns a conversation into text and speech tokens; a `Vocoder` turns speech tokens into samples. Both do
their work elsewhere (own threads today; other processes or machines behind the same port) and never block the
event loop: every method that is not a coroutine returns at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from realtime.ports.messages import Message
from realtime.ports.tool_calls import CallRules


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next id is chosen. Order: repetition penalty, temperature (0 = greedy), top_k (0 = off), top_p."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 50
    repetition_penalty: float = 1.05
    max_tokens: int = 4096
    seed: int | None = None
    call_confidence: float = 0.0
    """A call of a function that the model itself finds less likely than this, all its ids together, is withdrawn before
    anybody hears of it, and the reply made again without calls; 0: never. A call that the client requires stands."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """The whole conversation, oldest first. The engine opens the assistant turn (``speech``: with spoken output).

    ``cache_key`` names the conversation whose KV cache may be reused: the longest common prefix of ids is kept, the
    rest is computed. The request is complete without it. ``background``: nobody waits for it with open ears, so its
    prompt is computed when no other reply waits. ``calls``: what may and what must be called; decoding keeps to it.
    """

    messages: tuple[Message, ...]
    speech: bool
    sampling: SamplingParams
    cache_key: str
    background: bool = False
    thinking: int = 0
    """The most ids of a thought before the answer; 0: the model answers at once."""
    logprobs: bool = False
    """Whether to tell how likely each text id was."""
    calls: CallRules = CallRules()


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Ids by kind. Input counts the prompt, output what was generated."""

    input_text: int = 0
    input_audio: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    output_text: int = 0
    output_audio: int = 0


@dataclass(frozen=True, slots=True)
class TokenLogProb:
    """One text id that was chosen: its UTF-8 bytes, perhaps part of a character, and the natural logarithm of the
    chance that the model gave it, before temperature and penalties."""

    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """What new ids say: ``text`` (whole characters; may be empty), ``audio_tokens`` (speech codes, padding removed)
    and the raw ``ids`` themselves (to be kept for the history). ``thought``: text that comes before the answer, is not
    spoken and has no ids here, since no history keeps it."""

    text: str
    audio_tokens: tuple[int, ...]
    ids: tuple[int, ...]
    thought: str = ""
    logprobs: tuple[TokenLogProb, ...] = ()
    """Of the new text ids, where the request asks for them."""


@dataclass(frozen=True, slots=True)
class GenerationTimings:
    """Seconds of the engine's own clock, each from the arrival of the request."""

    queued: float
    encoded: float
    first_token: float
    decode_seconds: float
    decode_tokens: int


Reason = Literal["stop", "length", "looped", "silent", "cancelled", "context_full", "failed"]
"""Why a generation ended."""


@dataclass(frozen=True, slots=True)
class GenerationDone:
    """The last event of a generation. ``context_full``: the prompt did not fit; drop old items and ask again.

    ``rest``: the text behind the reply's words, where tool calls are (`realtime.ports.tool_calls`). It is in no
    delta's text; its ids are the last ``rest_count`` of those that the deltas gave.

    ``looped``, ``silent``: the engine ended a reply that only repeated itself, or in which nothing came any more; its
    last ``surplus`` ids say nothing new, and a history is better off without them.

    ``end_logprob``: how likely the model found the end where it stopped by itself, if the request asks for logprobs.
    """

    reason: Reason
    usage: TokenUsage
    timings: GenerationTimings
    error: str | None = None
    rest: str = ""
    rest_count: int = 0
    surplus: int = 0
    end_logprob: float | None = None


def reply_room(context_tokens: int, max_tokens: int) -> int:
    """Ids of the context that a prompt must leave for a reply of at most ``max_tokens``: all of them, but no more than
    half the context. A prompt that does not is ``context_full``."""
    return min(max_tokens, context_tokens // 2)


class TokenCounter(Protocol):
    """How much of the model's context a conversation fills."""

    @property
    def context_tokens(self) -> int:
        """Ids of one prompt and its reply together."""

    def measure(self, message: Message) -> int:
        """Ids of one turn in a prompt. Quick: it is called on the event loop, once for each new message."""


class Generation(Protocol):
    """One reply being generated. Iterate to the `GenerationDone`; `cancel` makes that come soon.

    `confirm`: what was made ahead is wanted now.
    """

    def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]: ...

    def confirm(self) -> None: ...

    def cancel(self) -> None: ...


class Engine(Protocol):
    """Many conversations on one model."""

    def generate(self, request: GenerationRequest, *, ahead: bool = False) -> Generation:
        """``ahead``: perhaps nobody will want this reply. Until it is confirmed it is made only as far as
        `HELD_SECONDS` of speech, and only while no confirmed reply needs the machine. A later request of the same
        conversation cancels it."""

    def prefetch(self, request: GenerationRequest) -> None:
        """A hint: encode and prefill what this conversation has so far; its last message may still grow."""

    def release(self, cache_key: str) -> None:
        """Forget a conversation: its slot and its cached features."""
