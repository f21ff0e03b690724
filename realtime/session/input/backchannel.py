"""What a short word over the assistant's speech says: the model itself writes it down, while the playback is paused.

"Yeah" and "stop" sound alike enough to pause for both. Only what is surely a backchannel (`turns.backchannels`) gives
the floor back, or what surely says nothing, like a cough with a voice in it. A transcript less likely to the model
than all others together, a failure, or none in time leave it with the caller. One question at a time; the voice that
goes on makes the last one void.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import numpy as np

from realtime.audio.streams import samples_of_ms
from realtime.ports.engine import Engine, Generation, GenerationDone, GenerationRequest, SamplingParams
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message
from realtime.session.config import SessionConfig
from realtime.session.input.audio_input import AudioInput
from realtime.session.log import SessionLogger
from realtime.turns.backchannels import Backchannels
from realtime.turns.events import TranscriptRequested

ANSWER_S = 1.0
"""A word in so much of the end of a reply may answer it ("shall I?", "yes"), and takes the floor unheard."""

_MOST_TOKENS = 8  # "that's right, yeah": what is longer is no backchannel
_SURE = math.log(0.5)
_PADDING_MS = 404  # as behind the turns of a conversation: the model knows recordings with an end

Answer = Callable[[int, bool], None]
"""Takes the end of the voice and whether it wants the floor."""


class BackchannelClassifier:
    """One session's questions to the model."""

    def __init__(
        self, session_id: str, engine: Engine, mic: AudioInput, config: SessionConfig, log: SessionLogger
    ) -> None:
        self._session_id = session_id
        self._engine = engine
        self._audio_input = mic
        self._prompt = config.transcription_prompt
        self._backchannels = Backchannels(config.backchannels)
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._asked = 0

    def __bool__(self) -> bool:
        """Whether there are words that do not take the floor."""
        return bool(self._backchannels)

    def ask(self, word: TranscriptRequested, group: asyncio.TaskGroup, answer: Answer) -> None:
        """What does it want? Answered once, unless it is dropped before."""
        self.drop()
        samples = np.pad(self._audio_input.peek(word.at), (0, samples_of_ms(_PADDING_MS, MODEL_SAMPLE_RATE)))
        self._asked += 1
        audio = Audio(f"{self._session_id}/word{self._asked}", samples)
        self._task = group.create_task(self._find_out(audio, word.voiced_until, answer), name=audio.id)

    def drop(self) -> None:
        """Nobody needs the answer any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _find_out(self, audio: Audio, voiced_until: int, answer: Answer) -> None:
        generation = self._engine.generate(self._request(audio))
        try:
            transcript = await _transcript(generation)
        except Exception as error:  # the border of a side question: the floor goes to the caller
            self._log.warning("what was said over the reply is not known: %s", error)
            transcript = None
        finally:
            generation.cancel()
            self._engine.release(audio.id)
        self._task = None  # before the answer, which may drop the question
        listens = transcript is not None and (not transcript.strip() or self._backchannels.cover(transcript))
        self._log.debug("a short word over the reply: %r", transcript)
        answer(voiced_until, not listens)

    def _request(self, audio: Audio) -> GenerationRequest:
        messages = (Message("system", self._prompt), Message("human", (audio,)))
        greedy = SamplingParams(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=_MOST_TOKENS)
        return GenerationRequest(messages, speech=False, sampling=greedy, cache_key=audio.id, logprobs=True)


async def _transcript(generation: Generation) -> str | None:
    """None: not sure, or more than a word."""
    transcript = ""
    logprobs: list[float] = []
    async for event in generation:
        if isinstance(event, GenerationDone):
            if event.reason != "stop" or event.end_logprob is None:
                return None
            return transcript if sum(logprobs) + event.end_logprob >= _SURE else None
        transcript += event.text
        logprobs += [token.logprob for token in event.logprobs]
        if sum(logprobs) < _SURE:
            return None
    return None
