"""The user's words: each committed turn -> its transcript, made by the model itself beside the conversation.

A transcript never delays a reply: a turn waits until `free` says that no caller is waiting for an answer. Turns are
transcribed one after the other, in their order. Each gets any number of deltas and then exactly one `completed` or
`failed`, the latter also when its item was deleted meanwhile: clients look the item up when they are told `completed`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from realtime.errors import EngineError
from realtime.ports.engine import GenerationDone, SamplingParams, TokenLogProb, TokenUsage
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message
from realtime.protocol import events as wire
from realtime.protocol.session_config import Transcription
from realtime.session.config import SessionConfig
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.context.history import History
from realtime.session.log import SessionLogger
from realtime.session.outbox import Outbox
from realtime.session.transcription_hints import with_hints

_TOKENS_PER_SECOND = 12.5
"""As many as the model hears features: no language needs more text than that, and a model that babbles is stopped."""
_TOKENS_LEAST = 32


@dataclass(frozen=True, slots=True)
class _Turn:
    item_id: str
    audio: Audio
    prompt: str
    logprobs: bool

    @property
    def seconds(self) -> float:
        return self.audio.length / MODEL_SAMPLE_RATE


class Transcriber:
    """One session's transcripts. `run` it in a task; `wake` it when ``free`` may have become true."""

    def __init__(
        self,
        session_id: str,
        conversation: EngineConversation,
        outbox: Outbox,
        history: History,
        config: SessionConfig,
        log: SessionLogger,
        free: Callable[[], bool],
    ) -> None:
        self._name = f"{session_id}/transcript"
        self._conversation = conversation
        self._outbox = outbox
        self._history = history
        self._config = config
        self._log = log
        self._free = free
        self._waiting: deque[_Turn] = deque()
        self._woken = asyncio.Event()

    def add(self, item_id: str, audio: Audio, asked: Transcription, *, logprobs: bool = False) -> None:
        """Transcribe this turn, whose item is in the conversation, when its time comes. ``logprobs``: tell how likely
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
        self._woken.set()

    async def run(self) -> None:
        """Transcribe until cancelled."""
        while True:
            while not (self._waiting and self._free()):
                self._woken.clear()
                await self._woken.wait()
            # A client that commits by hand asks for its response in the next message: that one goes first.
            await asyncio.sleep(self._config.limits.transcript_grace_s)
            if self._free():
                await self._transcribe(self._waiting.popleft())

    async def _transcribe(self, turn: _Turn) -> None:
        conversation = self._conversation.fork(self._name)
        generation = conversation.generate(self._request(turn))
        transcript = ""
        logprobs: list[wire.LogProb] = []
        try:
            async for event in generation:
                if turn.item_id not in self._history:
                    return self._fail("item_deleted", turn, "The item was deleted.")
                if isinstance(event, GenerationDone):
                    return self._conclude(turn, transcript, tuple(logprobs) if turn.logprobs else None, event)
                if event.text:
                    transcript += event.text
                    new = tuple(map(_shown, event.logprobs)) if turn.logprobs else None
                    logprobs += new or ()
                    self._outbox.put(
                        wire.InputAudioTranscriptionDelta(item_id=turn.item_id, delta=event.text, logprobs=new)
                    )
            raise EngineError("a generation ended without its GenerationDone")
        except Exception:  # the transcript's border: the caller is told and the session lives on
            self._log.exception("the transcript of %s failed", turn.item_id)
            self._fail("internal_error", turn, "The server failed to make this transcript.")
        finally:
            generation.cancel()
            conversation.close()

    def _request(self, turn: _Turn) -> GenerationRequest:
        messages = (Message("system", turn.prompt), Message("human", (turn.audio,)))
        most = _TOKENS_LEAST + int(turn.seconds * _TOKENS_PER_SECOND)
        greedy = SamplingParams(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=most)
        return GenerationRequest(messages, speech=False, sampling=greedy, background=True, logprobs=turn.logprobs)

    def _conclude(
        self, turn: _Turn, transcript: str, logprobs: tuple[wire.LogProb, ...] | None, done: GenerationDone
    ) -> None:
        match done.reason:
            case "stop" | "length" | "looped" | "silent":
                # The item first: clients retrieve it as soon as they are told.
                self._history.set_transcript(turn.item_id, 0, transcript)
                self._outbox.put(
                    wire.InputAudioTranscriptionCompleted(
                        item_id=turn.item_id, transcript=transcript, usage=_usage(done.usage), logprobs=logprobs
                    )
                )
            case "context_full":
                self._fail("audio_too_long", turn, "The turn does not fit the model's context.")
            case _:
                self._log.error("the transcript of %s ended (%s): %s", turn.item_id, done.reason, done.error)
                self._fail("engine_error", turn, "The model failed to make this transcript.")

    def _fail(self, code: str, turn: _Turn, message: str) -> None:
        error = wire.TranscriptionError(code=code, message=message)
        self._outbox.put(wire.InputAudioTranscriptionFailed(item_id=turn.item_id, error=error))


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
