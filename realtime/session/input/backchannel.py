"""Classifies short speech over the assistant's: the model transcribes it while playback is paused.

"Yeah" and "stop" sound alike enough to pause for both. Speech is a false interruption if its transcript is a known
backchannel (`turns.backchannels`) or empty, such as a cough with a voice in it. Below probability 0.5, on error or on
timeout, it counts as a barge-in. One transcript at a time; speech that goes on drops it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from realtime.audio.streams import samples_of_ms
from realtime.ports.engine import Generation, GenerationDone, SamplingParams, TokenDelta
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.environment import Environment
from realtime.session.input.audio_input import AudioInput
from realtime.session.work import Work
from realtime.turns.backchannels import Backchannels
from realtime.turns.events import TranscriptRequested

ANSWER_S = 1.0
"""A word in so much of the end of a reply may answer it ("shall I?", "yes"), and counts as a barge-in without a
transcript."""

_MOST_TOKENS = 8  # "that's right, yeah": what is longer is no backchannel
_SURE = math.log(0.5)
_PADDING_MS = 404  # as behind the turns of a conversation: the model knows recordings with an end

Answer = Callable[[int, bool], None]
"""Takes the end of the voice and whether it wants the floor."""


@dataclass(slots=True)
class _Question:
    """One word that is being transcribed. ``logprob``: of the transcript so far."""

    conversation: EngineConversation
    generation: Generation
    answer: Callable[[bool], None]
    work: Work | None = None
    transcript: str = ""
    logprob: float = 0.0


class BackchannelClassifier:
    """One session's questions to the model."""

    def __init__(self, env: Environment, audio_input: AudioInput) -> None:
        self._conversation = env.conversation
        self._audio_input = audio_input
        self._prompt = env.config.transcription_prompt
        self._backchannels = Backchannels(env.config.backchannels)
        self._work = env.work
        self._log = env.log
        self._question: _Question | None = None
        self._count = 0

    def __bool__(self) -> bool:
        """Whether there are words that do not take the floor."""
        return bool(self._backchannels)

    def ask(self, word: TranscriptRequested, answer: Answer) -> None:
        """What does it want? Answered once, unless it is dropped before."""
        self.drop()
        silence = samples_of_ms(_PADDING_MS, MODEL_SAMPLE_RATE)
        samples = np.pad(self._audio_input.peek(word.at), (0, silence))
        session_id = self._log.session_id
        audio = Audio(f"{session_id}/{self._audio_input.kept_from}", samples, silence)  # the turn's, if it is one
        self._count += 1
        name = f"{session_id}/word{self._count}"
        conversation = self._conversation.fork(name)
        generation = conversation.generate(self._request(audio))
        question = _Question(conversation, generation, lambda wants: answer(word.voiced_until, wants))
        self._question = question
        take, ended = partial(self._take, question), partial(self._ended, question)
        question.work = self._work.start(generation, take, ended, name)

    def drop(self) -> None:
        """The answer is not needed any more."""
        if self._question is not None:
            self._close(self._question)

    def _take(self, question: _Question, event: TokenDelta | GenerationDone) -> None:
        if isinstance(event, GenerationDone):
            sure = event.reason == "stop" and event.end_logprob is not None
            sure = sure and question.logprob + (event.end_logprob or 0.0) >= _SURE
            self._conclude(question, question.transcript if sure else None)
            return
        question.transcript += event.text
        question.logprob += sum(token.logprob for token in event.logprobs)
        if question.logprob < _SURE:
            self._conclude(question, None)

    def _ended(self, question: _Question, fault: str | None) -> None:
        """The generation failed: the speech counts as a barge-in."""
        self._log.warning("what was said over the reply is not known: %s", fault)
        self._conclude(question, None)

    def _conclude(self, question: _Question, transcript: str | None) -> None:
        """``transcript`` None: not sure, or more than a word."""
        self._close(question)  # before the answer, which may drop the question
        listens = transcript is not None and (not transcript.strip() or self._backchannels.cover(transcript))
        question.answer(not listens)

    def _close(self, question: _Question) -> None:
        self._question = None
        question.generation.cancel()
        if question.work is not None:
            self._work.cancel(question.work)
        question.conversation.close()

    def _request(self, audio: Audio) -> GenerationRequest:
        messages = (Message("system", self._prompt), Message("human", (audio,)))
        greedy = SamplingParams(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=_MOST_TOKENS)
        return GenerationRequest(messages, speech=False, sampling=greedy, logprobs=True)
