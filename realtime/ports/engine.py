"""What a session needs of the language model: conversations in, text and speech tokens out.

The port speaks in increments: what the engine has is never sent again. A `Conversation` holds content (recordings, the
ids of earlier replies, schemas of functions), each under an id and sent once, and a list of messages that refer to it.
All values are frozen and serialisable, so an engine may be another process or machine. It does its work elsewhere and
never blocks the event loop: every method that is not a coroutine returns at once. The methods of one conversation are
carried out in the order of the calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from realtime.ports.messages import Message
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.tool_calls import AllowedCalls, CallableFunction

IDS_PER_SECOND = 31.25
"""Of a spoken reply: four ids of speech and one of text in turn."""

SPECULATIVE_SECONDS = 2.0
"""Speech of a speculative reply that is made before it is confirmed: enough to play while the rest is made, and a bound
to what is lost when the user goes on."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next id is sampled. Order: repetition penalty, temperature (0 = greedy), top_k (0 = off), top_p."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 50
    repetition_penalty: float = 1.05
    max_tokens: int = 4096
    seed: int | None = None
    call_confidence: float = 0.0
    """A function call whose ids together have less than this probability is withdrawn before it is reported, and the
    reply is made again without calls; 0: never. A call that the client requires stands."""


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How one reply to a conversation is made. ``speech``: with spoken output."""

    speech: bool
    sampling: SamplingParams
    background: bool = False
    """No caller is waiting: the prompt is computed when no other reply waits."""
    thinking: int = 0
    """The most ids of a thought before the answer; 0: the model answers at once."""
    logprobs: bool = False
    """Whether to report the log probability of each text id."""
    calls: AllowedCalls = AllowedCalls()
    playback_speed: float = 0.0
    """How fast the speech is played while it is made, relative to the model's own; 0: it is not. What is played is made
    only so far ahead of playback that an interruption wastes little
    (`realtime.engine.sequence.MAX_PLAYBACK_LEAD_SECONDS`).
    """
    opening: str | None = None
    """How the assistant's turn begins, where that is more than its header and ``<tts_start>``."""
    aside: bool = False
    """A reply beside the conversation, out of band: replies in conversations go before it."""
    payer: Payer = NOBODY


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
    """One text id: its UTF-8 bytes, perhaps part of a character, and the natural logarithm of its probability before
    temperature and penalties."""

    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """New ids of a reply: ``text`` (whole characters; may be empty), ``audio_tokens`` (speech codes, padding removed)
    and the raw ``ids`` for the history. ``thought``: text before the answer, which is not spoken; its ids are left out,
    since no history keeps it."""

    text: str
    audio_tokens: tuple[int, ...]
    ids: tuple[int, ...]
    thought: str = ""
    logprobs: tuple[TokenLogProb, ...] = ()
    """Of the new text ids, where the options ask for them."""


@dataclass(frozen=True, slots=True)
class GenerationTimings:
    """Seconds of the engine's own clock, each from the arrival of the request."""

    queued: float
    encoded: float
    first_token: float
    decode_seconds: float
    decode_tokens: int


Reason = Literal["stop", "length", "looped", "silent", "cancelled", "context_full", "over_budget", "failed"]
"""Why a generation ended."""


@dataclass(frozen=True, slots=True)
class GenerationDone:
    """The last event of a generation. ``context_full``: the prompt did not fit; drop old items and ask again.
    ``over_budget``: the prompts of this session or key have cost too much lately; ``error`` says when to ask again.

    ``rest``: the text behind the reply's words, where tool calls are (`realtime.ports.tool_calls`). It is in no
    delta's text; its ids are the last ``rest_count`` of those that the deltas gave.

    ``looped``, ``silent``: the engine ended a reply that repeated itself, or in which only silence came; a history
    leaves out its last ``surplus`` ids.

    ``malformed``: markup was left out of the reply's words; perhaps nothing else was in them.

    ``end_logprob``: log probability of the id that ended the reply, where the options ask for logprobs.
    """

    reason: Reason
    usage: TokenUsage
    timings: GenerationTimings
    error: str | None = None
    rest: str = ""
    rest_count: int = 0
    surplus: int = 0
    end_logprob: float | None = None
    malformed: bool = False


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
    """One reply being generated. Iterate to the `GenerationDone`; `cancel` makes that come soon."""

    def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]: ...

    def confirm(self) -> None:
        """The speculative reply is wanted now."""

    def cancel(self) -> None: ...

    def again(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        """Another reply to the messages that this one answers, whatever the conversation has become."""


class Conversation(Protocol):
    """One conversation in the engine: its content, its messages and what is computed of them (KV cache, features).

    A method that names what is not there breaks the conversation: from then on its generations end ``failed``.
    """

    @property
    def lost(self) -> bool:
        """The engine does not have it any more: `Engine.open` it anew and give it everything again."""

    # Content: each id once

    def append_audio(self, audio_id: str, samples: NDArray[np.float32]) -> None:
        """More of a recording, float32 [n] at 16 kHz; a new id begins one."""

    def add_reply(self, reply_id: str, ids: Sequence[int]) -> None:
        """The ids of an earlier reply."""

    def define_functions(self, functions: Sequence[CallableFunction]) -> None:
        """Functions that `GenerationOptions.calls` may name from now on; a known name gets the new schema."""

    def forget(self, content_ids: Sequence[str]) -> None:
        """Recordings and replies that no message refers to any more."""

    # Messages: parts are `Text`, `AudioRef` and `ReplyRef`

    def append(self, messages: Sequence[Message]) -> None:
        """Add messages at the end."""

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` messages."""

    def replace(self, start: int, stop: int, messages: Sequence[Message]) -> None:
        """Put ``messages`` in the place of those from ``start`` to ``stop``. A reply is truncated to what was heard by
        replacing its message with one whose `ReplyRef.heard_samples` says so."""

    # Work

    def generate(self, options: GenerationOptions, *, speculative: bool = False) -> Generation:
        """Reply to the messages as they are now; the engine opens the assistant's turn unless the last one is open.

        ``speculative``: the reply may not be wanted. Until it is confirmed it is made only as far as
        `SPECULATIVE_SECONDS` of speech, and only while no confirmed reply needs the machine. A later call of `generate`
        or `prefetch` cancels it. The longest common prefix with what the KV cache holds is not computed again.
        """

    def prefetch(self, options: GenerationOptions) -> None:
        """A hint: encode and prefill the messages as they are now; the last one may still be replaced."""

    def fork(self, name: str) -> Conversation:
        """A conversation with the same messages and a KV cache of its own. Content that either is given is known to
        both."""

    def close(self) -> None:
        """Cancel what runs and forget the conversation. Its forks live on."""


class Engine(Protocol):
    """Many conversations on one model."""

    def open(self, name: str) -> Conversation:
        """A new conversation. ``name``: unique among those that are open; it appears in logs."""
