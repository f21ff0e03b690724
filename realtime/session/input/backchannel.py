"""Whether short speech over the assistant's is a backchannel: the model transcribes it while playback is paused.

"Yeah" and "stop" sound alike enough to pause for both. A clear backchannel (`turns.backchannels`) lets playback go on,
and so does speech without words, like a cough. Below probability 0.5, on error or on timeout, the speech counts as a
barge-in. One request at a time; speech that goes on makes the last one void.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import numpy as np

from realtime.audio.streams import samples_of_ms
from realtime.ports.engine import Generation, GenerationDone, SamplingParams
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message
from realtime.session.config import SessionConfig
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest
from realtime.session.input.audio_input import AudioInput
from realtime.session.log import SessionLogger
from realtime.turns.backchannels import Backchannels
from realtime.turns.events import TranscriptRequested

ANSWER_S = 1.0
"""A word this close to the end of a reply may answer it ("shall I?", "yes") and counts as a barge-in at once."""

_MOST_TOKENS = 8  # "that's right, yeah": what is longer is no backchannel
_SURE = math.log(0.5)
_PADDING_MS = 404  # as behind the turns of a conversation: the model knows recordings with an end

Answer = Callable[[int, bool], None]
"""Takes the end of the speech and whether it is a barge-in."""


class BackchannelClassifier:
    """One session's requests to classify short speech."""

    def __init__(
        self,
        session_id: str,
        conversation: EngineConversation,
        mic: AudioInput,
        config: SessionConfig,
        log: SessionLogger,
    ) -> None:
        self._session_id = session_id
        self._conversation = conversation
        self._audio_input = mic
        self._prompt = config.transcription_prompt
        self._backchannels = Backchannels(config.backchannels)
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._asked = 0

    def __bool__(self) -> bool:
        """Whether there are backchannels to listen for."""
        return bool(self._backchannels)

    def ask(self, word: TranscriptRequested, group: asyncio.TaskGroup, answer: Answer) -> None:
        """Classify this speech. Answered once, unless it is dropped before."""
        self.drop()
        silence = samples_of_ms(_PADDING_MS, MODEL_SAMPLE_RATE)
        samples = np.pad(self._audio_input.peek(word.at), (0, silence))
        audio = Audio(f"{self._session_id}/{self._audio_input.kept_from}", samples, silence)  # the turn's, if it is one
        self._asked += 1
        name = f"{self._session_id}/word{self._asked}"
        self._task = group.create_task(self._classify(name, audio, word.voiced_until, answer), name=name)

    def drop(self) -> None:
        """The answer is not needed any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _classify(self, name: str, audio: Audio, voiced_until: int, answer: Answer) -> None:
        conversation = self._conversation.fork(name)
        generation = conversation.generate(self._request(audio))
        try:
            transcript = await _transcript(generation)
        except Exception as error:  # a task's border: the speech counts as a barge-in
            self._log.warning("speech over the reply could not be transcribed: %s", error)
            transcript = None
        finally:
            generation.cancel()
            conversation.close()
        self._task = None  # before the answer, which may drop the question
        listens = transcript is not None and (not transcript.strip() or self._backchannels.cover(transcript))
        self._log.debug("a short word over the reply: %r", transcript)
        answer(voiced_until, not listens)

    def _request(self, audio: Audio) -> GenerationRequest:
        messages = (Message("system", self._prompt), Message("human", (audio,)))
        greedy = SamplingParams(temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=_MOST_TOKENS)
        return GenerationRequest(messages, speech=False, sampling=greedy, logprobs=True)


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
