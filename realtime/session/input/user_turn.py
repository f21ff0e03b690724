"""The user's turn while it lasts: the item that it becomes, its recording, and what is prepared before its end.

What was said before the turn will not change, so the engine prepares it from the turn's first word on; nor will the
full segments of the turn itself. At a short silence the turn's audio is known, should it end there: so it is encoded
then, and at a pause the reply to it is speculated (`speculation`).
"""

from __future__ import annotations

import numpy as np

from realtime.audio.streams import Samples, samples_of_ms
from realtime.ports.messages import MODEL_SAMPLE_RATE, SEGMENT_SAMPLES, Audio, Message
from realtime.protocol.responses import ResponseConfig, configure_response
from realtime.protocol.session_config import Session
from realtime.session.context.history import History, to_messages
from realtime.session.environment import Environment
from realtime.session.input.audio_input import AudioInput
from realtime.session.output.prompt_builder import PromptBuilder
from realtime.session.output.speculation import Speculator

_TRAILING_SILENCE_MS = 404
"""Digital silence behind a turn that ends with a short silence of 96 ms: 500 in all. Without it nano mistook words
(measured: "two" for "three"), with it it answers as after 500 ms of the real silence, for which no one has to wait."""


class UserTurn:
    """One session's turns, one at a time. ``item_id``: of the turn that has been announced, None between turns."""

    def __init__(
        self,
        env: Environment,
        audio_input: AudioInput,
        history: History,
        prompts: PromptBuilder,
        speculator: Speculator,
    ) -> None:
        self._session_id = env.id
        self._audio_input = audio_input
        self._ids = env.ids
        self._history = history
        self._prompts = prompts
        self._conversation = env.conversation
        self._speculator = speculator
        self._silence_start: int | None = None
        self._audio_at_silence: Audio | None = None  # the turn up to the short silence
        self._segments = 0
        self.item_id: str | None = None

    def announce(self) -> str:
        """The item that the turn is to become."""
        self.item_id = self._ids.item()
        return self.item_id

    def take(self, end: int) -> tuple[str, Audio]:
        """The turn is over at this sample: its item and its recording."""
        item_id = self.item_id or self.announce()
        if end == self._silence_start:
            audio = self._audio_until_silence()
        else:
            audio = self._audio(self._audio_input.peek(end))
        self._audio_input.pass_over(end)
        self.item_id = self._audio_at_silence = None
        return item_id, audio

    def drop(self) -> None:
        """It was nothing."""
        self._audio_input.drop()
        self.item_id = None

    # What is prepared before its end

    def begin(self) -> None:
        """A voice was heard: nothing is prepared of this turn so far."""
        self._segments = 0
        self._silence_start = self._audio_at_silence = None

    def prepare(self, settings: Session) -> None:
        """What was said before the turn."""
        self._prepare(settings, Message("human", None))

    def silence_started(self, at: int) -> None:
        """The turn may be over at this sample."""
        self._silence_start, self._audio_at_silence = at, None

    def prepare_at_silence(self, settings: Session) -> None:
        """The turn as it is if it ends with the last short silence."""
        self._prepare(settings, Message("human", (self._audio_until_silence(),)))

    def prepare_segments(self, settings: Session, start: int) -> None:
        """The full segments of the turn that began at this sample."""
        count = (self._audio_input.received - start) // SEGMENT_SAMPLES
        if count > self._segments and not self._speculator.holds:
            self._segments = count
            audio = self._audio(self._audio_input.peek(start + count * SEGMENT_SAMPLES))
            self._prepare(settings, Message("human", (audio,), closed=False))

    def speculate(self, settings: Session) -> None:
        """Make the reply to the turn as it is at its last short silence, and keep it back until the turn has ended."""
        config = configure_response(settings)
        messages = (*to_messages(self._history), Message("human", (self._audio_until_silence(),)))
        request = self._prompts.request(config, messages)
        self._speculator.begin(request, config, "speculative reply")

    def make_room(self, settings: Session) -> None:
        """Between turns: cut a conversation that has grown too long now and not in the next turn."""
        config = configure_response(settings)
        if self._prompts.fit(config, settings.truncation, early=True):
            self._prefetch(config, Message("human", None))

    def _prepare(self, settings: Session, turn: Message) -> None:
        config = configure_response(settings)
        self._prompts.fit(config, settings.truncation, early=True)
        self._prefetch(config, turn)

    def _prefetch(self, config: ResponseConfig, turn: Message) -> None:
        messages = (*to_messages(self._history), turn)
        self._conversation.prefetch(self._prompts.request(config, messages))

    def _audio_until_silence(self) -> Audio:
        """Made once: a copy of a long turn takes milliseconds, and at its end the user waits."""
        assert self._silence_start is not None
        if self._audio_at_silence is None:
            samples = self._audio_input.peek(self._silence_start)
            silence = samples_of_ms(_TRAILING_SILENCE_MS, MODEL_SAMPLE_RATE)
            self._audio_at_silence = self._audio(np.pad(samples, (0, silence)), silence)
        return self._audio_at_silence

    def _audio(self, samples: Samples, silence: int = 0) -> Audio:
        """The recording so far, its last ``silence`` samples added. Where it began is its name: with the same beginning
        it can only grow."""
        return Audio(f"{self._session_id}/{self._audio_input.kept_from}", samples, silence)
