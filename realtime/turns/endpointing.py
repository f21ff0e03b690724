"""Speech probabilities -> where speech starts, pauses and stops. No clock: time is the number of samples heard.

The rules:

1. Speech starts with the frame that completes ``min_speech_ms`` of voiced frames (probability >= ``threshold``) with
   no more than ``min_speech_gap_ms`` between them. It began ``prefix_padding_ms`` before the first of them.
2. Silence begins with a frame below ``threshold - HYSTERESIS`` (a weak syllable is none) and is broken by one at or
   over ``threshold``.
3. Silence of ``pause_ms`` is a pause: what was said so far may be the whole turn. A voiced frame ends the pause.
4. Silence of ``silence_ms`` ends the speech.
5. Confirmed silence resets the detector, also every ``IDLE_RESET_MS`` of an empty room: its recurrent state drifts in
   endless streams and would miss the next word (silero-vad#725).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.audio import Framer, samples_of_ms
from realtime.turns.events import PauseEnded, PauseStarted, SpeechEvent, SpeechStarted, SpeechStopped
from realtime.turns.vad import FRAME_SAMPLES, VAD_SAMPLE_RATE, VoiceDetector

HYSTERESIS = 0.15
"""Silero's own distance between the thresholds of start and stop (its ``VADIterator``)."""

_LEAST_THRESHOLD = 0.01  # below it silence would never be found (also Silero's)

IDLE_RESET_MS = 20_000
"""Well under the 30 s after which the field reports a collapse of confidence."""


@dataclass(frozen=True, slots=True)
class EndpointingConfig:
    """What `server_vad` can be told, and our own limits. The words "no" and "stop" last 150 ms or more, so
    ``min_speech_ms`` must stay well under that."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_ms: int = 500
    min_speech_ms: int = 64
    min_speech_gap_ms: int = 32
    pause_ms: int = 192


class Endpointer:
    """One stream. Give it every sample once, in order; `position` is how many it has judged."""

    def __init__(self, detector: VoiceDetector, config: EndpointingConfig | None = None) -> None:
        self.config = config or EndpointingConfig()
        self.position = 0
        self._detector = detector
        self._framer = Framer(FRAME_SAMPLES)
        self._speaking = False
        self._pausing = False
        self._voiced = 0  # samples of voiced frames, until speech has started
        self._voiced_from = 0  # where the first of them begins
        self._voiced_until = 0  # where the last voiced frame ends
        self._reset_at = 0

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not yet stopped."""
        return self._speaking

    def push(self, samples: NDArray[np.float32]) -> Iterator[SpeechEvent]:
        """Float32 [n] at 16 kHz -> what happened, in order. Consume it all before the next push."""
        for frame in self._framer.push(samples):
            self.position += len(frame)
            yield from self._judge(self._detector.probability(frame))

    def end_speech(self) -> None:
        """The turn was ended by somebody else (a commit, a limit): no `SpeechStopped` will follow."""
        self._speaking = False
        self._confirm_silence()

    def skip_to(self, position: int) -> None:
        """Samples up to ``position`` were not pushed (detection was off): go on from there."""
        self._framer.clear()
        self.position = position
        self.end_speech()

    def _judge(self, probability: float) -> Iterator[SpeechEvent]:
        if self._speaking:
            yield from self._judge_speech(probability)
        else:
            yield from self._judge_silence(probability)

    def _judge_silence(self, probability: float) -> Iterator[SpeechEvent]:
        if probability >= self.config.threshold:
            if not self._voiced:
                self._voiced_from = self.position - FRAME_SAMPLES
            self._voiced += FRAME_SAMPLES
            self._voiced_until = self.position
        elif self._silence > self._samples(self.config.min_speech_gap_ms):
            self._voiced = 0
        if self._voiced >= self._samples(self.config.min_speech_ms):
            self._speaking = True
            self._pausing = False
            padding = self._samples(self.config.prefix_padding_ms)
            yield SpeechStarted(self.position, max(0, self._voiced_from - padding))
        elif not self._voiced and self.position - self._reset_at >= self._samples(IDLE_RESET_MS):
            self._confirm_silence()

    def _judge_speech(self, probability: float) -> Iterator[SpeechEvent]:
        was_voiced = self._silence <= FRAME_SAMPLES
        floor = self.config.threshold - (HYSTERESIS if was_voiced else 0.0)
        if probability >= max(floor, _LEAST_THRESHOLD):
            self._voiced_until = self.position
            if self._pausing:
                self._pausing = False
                yield PauseEnded(self.position)
        if self._silence >= max(self._samples(self.config.silence_ms), FRAME_SAMPLES):
            self._speaking = False
            voiced_until = self._voiced_until
            self._confirm_silence()
            yield SpeechStopped(self.position, voiced_until)
        elif not self._pausing and self._silence >= self._samples(self.config.pause_ms):
            self._pausing = True
            yield PauseStarted(self.position, self._voiced_until)

    @property
    def _silence(self) -> int:
        return self.position - self._voiced_until

    def _confirm_silence(self) -> None:
        self._detector.reset()
        self._pausing = False
        self._voiced = 0
        self._voiced_until = self._reset_at = self.position

    @staticmethod
    def _samples(ms: float) -> int:
        return samples_of_ms(ms, VAD_SAMPLE_RATE)
