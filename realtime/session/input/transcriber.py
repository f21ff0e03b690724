"""Input transcription: the model transcribes each committed turn, beside the conversation.

A transcript never delays a reply: a turn waits until `free` says that no caller is waiting for an answer. Turns are
transcribed one after the other, in order. Each gets any number of deltas and then exactly one `completed` or
`failed`, the latter also when its item was deleted meanwhile: clients look the item up at `completed`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from realtime.ports.engine import (
    Generation,
    GenerationDone,
    SamplingParams,
    TokenDelta,
    TokenLogProb,
    TokenUsage,
)
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message
from realtime.protocol import events as wire
from realtime.protocol.session_config import Transcription
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.context.history import History
from realtime.session.environment import Environment
from realtime.session.outbox import Outbox
from realtime.session.output.deadline import Deadline
from realtime.session.work import Timer, Work

_TOKENS_PER_SECOND = 12.5
"""As many as the model hears features: no language needs more text than that, and a model that babbles is stopped."""
_TOKENS_LEAST = 32

_SILENT_PEAK = 10 ** (-70 / 20)
"""A recording that never reaches -70 dBFS, ten steps of 16 bits, holds no speech: its transcript is empty. Microphones
are louder when nobody speaks; what is digital silence is a muted one."""


@dataclass(frozen=True, slots=True)
class _Turn:
    item_id: str
    audio: Audio
    prompt: str
    logprobs: bool

    @property
    def seconds(self) -> float:
        return self.audio.length / MODEL_SAMPLE_RATE


@dataclass(slots=True)
class _Running:
    """The turn that is being transcribed."""

    turn: _Turn
    conversation: EngineConversation
    generation: Generation
    deadline: Deadline
    work: Work | None = None
    transcript: str = ""
    logprobs: list[wire.LogProb] = field(default_factory=list)


class Transcriber:
    """One session's transcripts. `wake` it when ``free`` may have become true."""

    def __init__(self, env: Environment, outbox: Outbox, history: History) -> None:
        self._env = env
        self._name = f"{env.id}/transcript"
        self._conversation = env.conversation
        self._outbox = outbox
        self._history = history
        self._config = env.config
        self._log = env.log
        self._timers = env.timers
        self._work = env.work
        self._waiting: deque[_Turn] = deque()
        self._grace: Timer | None = None
        self._running: _Running | None = None
        self.free: Callable[[], bool] = lambda: True
        """Whether no caller waits for an answer."""

    @property
    def any(self) -> bool:
        """Whether any transcript is being made or waits."""
        return self._running is not None or bool(self._waiting)

    def add(self, item_id: str, audio: Audio, asked: Transcription, *, logprobs: bool = False) -> None:
        """Transcribe this turn, whose item is in the conversation, when its time comes. ``logprobs``: say how likely
        its words are."""
        prompt = self._config.transcription_prompt
        if self._config.transcription_hints:
            prompt = with_hints(prompt, asked)
        turn = _Turn(item_id, audio, prompt, logprobs)
        if sum(other.seconds for other in self._waiting) + turn.seconds > self._config.limits.history_audio_s:
            self._fail("transcription_backlog", turn, "Too much speech waits for its transcript already.")
            return
        self._waiting.append(turn)
        self.wake()

    def wake(self) -> None:
        """Look whether there is something to do now."""
        if self._waiting and self._running is None and self._grace is None and self.free():
            # A client that commits by hand asks for its response in the next message: that one goes first.
            self._grace = self._timers.after(self._config.limits.transcript_grace_s, self._begin)

    def stop(self) -> None:
        """The session ends."""
        if self._running is not None:
            self._end(self._running)

    def _begin(self) -> None:
        self._grace = None
        if not (self._waiting and self.free()):
            return
        turn = self._waiting.popleft()
        if _is_silent(turn.audio):
            self._conclude_silent(turn)
            self.wake()
            return
        conversation = self._conversation.fork(self._name)
        generation = conversation.generate(self._request(turn))
        deadline = Deadline(self._env, self._time_out)
        running = self._running = _Running(turn, conversation, generation, deadline)
        deadline.start()
        running.work = self._work.start(
            generation, partial(self._take, running), partial(self._ended, running), f"transcript of {turn.item_id}"
        )

    def _take(self, running: _Running, event: TokenDelta | GenerationDone) -> None:
        turn = running.turn
        running.deadline.progress()
        if turn.item_id not in self._history:
            self._end(running)
            self._fail("item_deleted", turn, "The item was deleted.")
        elif isinstance(event, GenerationDone):
            self._end(running)
            self._conclude(turn, running.transcript, tuple(running.logprobs) if turn.logprobs else None, event)
        elif event.text:
            running.transcript += event.text
            new = tuple(map(_shown, event.logprobs)) if turn.logprobs else None
            running.logprobs += new or ()
            self._outbox.put(wire.InputAudioTranscriptionDelta(item_id=turn.item_id, delta=event.text, logprobs=new))
        self.wake()

    def _ended(self, running: _Running, fault: str | None) -> None:
        """The generation ended without its `GenerationDone`."""
        self._log.error("the transcript of %s failed: %s", running.turn.item_id, fault)
        self._end(running)
        self._fail("internal_error", running.turn, "The server failed to make this transcript.")
        self.wake()

    def _time_out(self) -> None:
        """The engine has given nothing for too long."""
        assert self._running is not None
        turn = self._running.turn
        self._log.error("the transcript of %s failed: nothing came of the model any more", turn.item_id)
        self._end(self._running)
        self._fail("engine_timeout", turn, "The model made nothing of this transcript for too long.")
        self.wake()

    def _end(self, running: _Running) -> None:
        self._running = None
        running.deadline.stop()
        running.generation.cancel()
        if running.work is not None:
            self._work.cancel(running.work)
        running.conversation.close()

    def _request(self, turn: _Turn) -> GenerationRequest:
        messages = (Message("system", turn.prompt), Message("human", (turn.audio,)))
        most = _TOKENS_LEAST + int(turn.seconds * _TOKENS_PER_SECOND)
        greedy = SamplingParams(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=most)
        return GenerationRequest(
            messages,
            speech=False,
            sampling=greedy,
            background=True,
            logprobs=turn.logprobs,
        )

    def _conclude_silent(self, turn: _Turn) -> None:
        if turn.item_id not in self._history:
            self._fail("item_deleted", turn, "The item was deleted.")
        else:
            self._complete(turn, "", () if turn.logprobs else None, TokenUsage())

    def _conclude(
        self, turn: _Turn, transcript: str, logprobs: tuple[wire.LogProb, ...] | None, done: GenerationDone
    ) -> None:
        match done.reason:
            case "stop" | "length" | "looped" | "silent":
                self._complete(turn, transcript, logprobs, done.usage)
            case "context_full":
                self._fail("audio_too_long", turn, "The turn does not fit the model's context.")
            case _:
                self._log.error("the transcript of %s ended (%s)", turn.item_id, done.reason)
                self._fail("engine_error", turn, "The model failed to make this transcript.")

    def _complete(
        self, turn: _Turn, transcript: str, logprobs: tuple[wire.LogProb, ...] | None, usage: TokenUsage
    ) -> None:
        # The item first: clients retrieve it at this event.
        self._history.set_transcript(turn.item_id, 0, transcript)
        self._outbox.put(
            wire.InputAudioTranscriptionCompleted(
                item_id=turn.item_id, transcript=transcript, usage=_usage(usage), logprobs=logprobs
            )
        )

    def _fail(self, code: str, turn: _Turn, message: str) -> None:
        error = wire.TranscriptionError(code=code, message=message)
        self._outbox.put(wire.InputAudioTranscriptionFailed(item_id=turn.item_id, error=error))


def _is_silent(audio: Audio) -> bool:
    """Whether the recording holds no signal: for digital silence the model writes "mm"."""
    seconds = range(0, audio.recorded, MODEL_SAMPLE_RATE)
    blocks = (audio.read(start, min(start + MODEL_SAMPLE_RATE, audio.recorded)) for start in seconds)
    return not any(np.abs(block).max() >= _SILENT_PEAK for block in blocks)


def _shown(chosen: TokenLogProb) -> wire.LogProb:
    return wire.LogProb(
        token=chosen.data.decode("utf-8", "replace"), bytes=tuple(chosen.data), logprob=round(chosen.logprob, 6)
    )


def _usage(usage: TokenUsage) -> wire.TokensUsage:
    given, made = usage.input_text + usage.input_audio, usage.output_text + usage.output_audio
    return wire.TokensUsage(
        total_tokens=given + made,
        input_tokens=given,
        output_tokens=made,
        input_token_details=wire.TranscriptionInputTokens(text_tokens=usage.input_text, audio_tokens=usage.input_audio),
    )


def with_hints(prompt: str, asked: Transcription) -> str:
    """The prompt for one turn's transcript."""
    languages = asked.languages or ((asked.language,) if asked.language else ())
    lines = [prompt]
    if languages:
        lines.append(f"Language of the speech: {', '.join(languages)}.")
    if asked.keywords:
        lines.append(f"Words that may occur: {', '.join(asked.keywords)}.")
    if asked.prompt:
        lines.append(asked.prompt)
    return "\n".join(lines)
