"""Speech probabilities -> where speech starts, pauses and stops. No clock: time is the number of samples heard.

The rules:

1. Speech starts with the frame that completes ``min_speech_ms`` of voiced frames (probability >= ``threshold``) with
   no more than ``min_speech_gap_ms`` between them. It began ``prefix_padding_ms`` before the first of them.
2. Silence begins with a frame below ``threshold - HYSTERESIS`` (a weak syllable is none) and is broken by one at or
   over ``threshold``.
3. Silence of ``lull_ms`` is a lull; silence of ``pause_ms`` is a pause: what was said so far may be the whole turn. A
   voiced frame ends both.
4. Silence of ``silence_ms`` ends the speech. Its audio ends where its last lull was found: that was known before it was
   sure that the user has finished, so the answer can be made ahead. With ``patience`` the silence that ends it is
   chosen in each pause, by how finished the speech sounds (`finality`, or a model: `set_completion_probability`) and
   how long this caller pauses within turns. A model is asked again when a pause has lasted twice as long: the most
   finished of its answers counts, so that one wrong "not finished" is not waited out.
5. Confirmed silence resets the detector, also every ``IDLE_RESET_MS`` of an empty room: its recurrent state drifts in
   endless streams and would miss the next word (silero-vad#725).
6. Speech that is contested (`begin_overlap`: it began over our own) is first judged, frame by frame, by the rules of
   `judging`: it neither pauses nor stops before the verdict. What a short word says is asked for
   (`TranscriptRequested`) and told to `apply_word_verdict`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realtime.audio.streams import Framer, samples_of_ms
from realtime.turns.echo import EchoGate
from realtime.turns.events import (
    BargeInConfirmed,
    FalseInterruption,
    PauseContinued,
    PauseStarted,
    ShortSilenceStarted,
    SpeechEvent,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TranscriptRequested,
)
from realtime.turns.interruption import InterruptionConfig, Verdict, Voice, judge, speech_level
from realtime.turns.turn_completion import GOES_ON_MS, TAIL_SAMPLES, EndpointingDelay, Pauses, completion_probability
from realtime.turns.vad import FRAME_SAMPLES, VAD_SAMPLE_RATE, VoiceDetector

HYSTERESIS = 0.15
"""Silero's own distance between the thresholds of start and stop (its ``VADIterator``)."""

_LEAST_THRESHOLD = 0.01  # below it silence would never be found (also Silero's)

IDLE_RESET_MS = 20_000
"""Well under the 30 s after which the field reports a collapse of confidence."""

_REMEMBERED_FRAMES = 4000 // 32
_ROOM_FRAMES = 1000 // 32
_ASKED_AGAIN_MS = 1000
"""Silence after which a pause is judged anew for the first time; then after each time twice as long."""
_LEVEL_MEMORY = 0.3  # weight of the newest turn in the caller's usual level


@dataclass(frozen=True, slots=True)
class EndpointingConfig:
    """What `server_vad` can be told, and our own limits. The words "no" and "stop" last 150 ms or more, so
    ``min_speech_ms`` must stay well under that."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_ms: int = 500
    patience: EndpointingDelay | None = None
    min_speech_ms: int = 64
    min_speech_gap_ms: int = 32
    lull_ms: int = 96
    pause_ms: int = 192
    judge: InterruptionConfig = field(default_factory=InterruptionConfig)


class Endpointer:
    """One stream. Give it every sample once, in order; `position` is how many it has judged."""

    def __init__(
        self, detector: VoiceDetector, config: EndpointingConfig | None = None, echo: EchoGate | None = None
    ) -> None:
        """``echo``: tells our own voice from the caller's, where what we play is given to `push`."""
        self.config = config or EndpointingConfig()
        self.position = 0
        self._detector = detector
        self._echo = echo
        self._waiting: deque[tuple[NDArray[np.float32], float]] = deque()  # frames that the echo gate holds back
        self._framer, self._played_framer = Framer(FRAME_SAMPLES), Framer(FRAME_SAMPLES)
        self._speaking = False
        self._pausing = False
        self._short_silence: int | None = None  # where the lull was found
        self._voiced = 0  # samples of voiced frames, until speech has started
        self._voiced_from = 0  # where the first of them begins
        self._voiced_until = 0  # where the last voiced frame ends
        self._reset_at = 0
        self._contested = False
        self._words = False  # what a contested voice says can be asked for
        self._asked_until = -1  # the end of the last voice that was asked about
        self._frames: deque[NDArray[np.float32]] = deque(maxlen=_REMEMBERED_FRAMES)
        self._usual_db: float | None = None
        self._pauses = Pauses()
        self._prosody_ms = math.inf  # the silence that ends the speech, where `patience` chooses it and no model
        self._finished: float | None = None  # a model's word on the pause
        self._ask_ms = 0  # of silence, when the pause is judged anew
        self._stopped_at = -samples_of_ms(GOES_ON_MS, VAD_SAMPLE_RATE)  # the last voice of the last turn

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not yet stopped."""
        return self._speaking

    def push(self, samples: NDArray[np.float32], played: NDArray[np.float32] | None = None) -> Iterator[SpeechEvent]:
        """Float32 [n] at 16 kHz -> what happened, in order. Consume it all before the next push.

        ``played``: float32 [n], what of ours was played in the same time; None: nothing.
        """
        if played is None:
            played = np.zeros_like(samples)
        for frame, own in zip(self._framer.push(samples), self._played_framer.push(played), strict=True):
            probability = self._detector.probability(frame)
            self._waiting.append((frame, probability))
            starts = not self._speaking and probability >= self.config.threshold
            yield from self._hear_waiting([True] if self._echo is None else self._echo.judge(frame, own, starts=starts))

    def gate_echo(self, gate: EchoGate | None) -> None:
        """Tell our own voice from the caller's by this gate from now on, or not at all. What the last one holds back
        counts as silence."""
        held = self._echo.settle() if self._echo is not None else []
        self._echo = gate
        for _ in self._hear_waiting([False] * len(held)):
            raise AssertionError("silence before any speech is no event")

    @property
    def gated(self) -> bool:
        """Whether our own voice is told from the caller's."""
        return self._echo is not None

    def set_completion_probability(self, voiced_until: int, finished: float) -> None:
        """A model's word on the pause after ``voiced_until``; late words, on a pause that is over, do not count."""
        if self._pausing and voiced_until == self._voiced_until:
            self._finished = max(finished, self._finished or 0.0)

    def begin_overlap(self, *, words: bool = False) -> None:
        """The speech that has just started is over our own: give a verdict on it before anything else. ``words``:
        `TranscriptRequested` will be answered."""
        self._contested = True
        self._words = words

    def end_overlap(self) -> None:
        """No verdict is needed any more: it is speech as any other."""
        self._contested = False

    def apply_word_verdict(self, voiced_until: int, *, wants_floor: bool) -> Iterator[SpeechEvent]:
        """What was said by the voice that ended at ``voiced_until``. Gives nothing when it has gone on since, or no
        verdict is awaited."""
        if self._contested and voiced_until == self._voiced_until:
            yield from self._settle(Verdict.TAKES if wants_floor else Verdict.NOTHING)

    def decide(self) -> Iterator[SpeechEvent]:
        """The verdict now, with what was heard: no more may come. Gives nothing when none is awaited."""
        if self._contested:
            yield from self._decide(ended=True)

    def end_speech(self) -> None:
        """The turn was ended by somebody else (a commit, a limit): no `SpeechStopped` will follow."""
        self._speaking = False
        self._contested = False
        self._confirm_silence()

    def skip_to(self, position: int) -> None:
        """Samples up to ``position`` were not pushed (detection was off): go on from there."""
        if self._echo is not None:
            self._echo.settle()
        self._waiting.clear()
        self._framer.clear()
        self._played_framer.clear()
        self._frames.clear()
        self.position = position
        self.end_speech()

    def _hear_waiting(self, verdicts: list[bool]) -> Iterator[SpeechEvent]:
        """Hear the frames on which there is a verdict now: whether they are more than our echo."""
        for foreign in verdicts:
            frame, probability = self._waiting.popleft()
            self.position += len(frame)
            self._frames.append(frame)
            yield from self._hear(probability if foreign else 0.0)

    def _hear(self, probability: float) -> Iterator[SpeechEvent]:
        if self._speaking:
            yield from self._hear_speech(probability)
        else:
            yield from self._hear_silence(probability)

    def _hear_silence(self, probability: float) -> Iterator[SpeechEvent]:
        if probability >= self.config.threshold:
            if not self._voiced:
                self._voiced_from = self.position - FRAME_SAMPLES
            self._voiced += FRAME_SAMPLES
            self._voiced_until = self.position
        elif self._silence > self._samples(self.config.min_speech_gap_ms):
            self._voiced = 0
        if self._voiced >= self._samples(self.config.min_speech_ms):
            self._speaking = True
            self._contested = False
            self._forget_pause()
            gap_ms = _ms(self._voiced_from - self._stopped_at)
            if gap_ms < GOES_ON_MS:
                self._pauses.add(gap_ms)
            padding = self._samples(self.config.prefix_padding_ms)
            yield SpeechStarted(self.position, max(0, self._voiced_from - padding))
        elif not self._voiced and self.position - self._reset_at >= self._samples(IDLE_RESET_MS):
            self._confirm_silence()

    def _hear_speech(self, probability: float) -> Iterator[SpeechEvent]:
        was_voiced = self._silence <= FRAME_SAMPLES
        floor = self.config.threshold - (HYSTERESIS if was_voiced else 0.0)
        if probability >= max(floor, _LEAST_THRESHOLD):
            if self._pausing:
                self._pauses.add(_ms(self._silence - FRAME_SAMPLES))
                yield SpeechResumed(self.position)
            self._forget_pause()
            self._voiced_until = self.position
            self._voiced += FRAME_SAMPLES
            self._short_silence = None
        stops = self._silence >= max(self._samples(self._silence_ms), FRAME_SAMPLES)
        if self._contested:
            yield from self._decide(ended=stops)
        elif stops:
            self._learn_level()
            self._speaking = False
            voiced_until, end = (
                self._voiced_until,
                self.position if self._short_silence is None else self._short_silence,
            )
            self._stopped_at = voiced_until
            self._confirm_silence()
            yield SpeechStopped(self.position, voiced_until, end)
        else:
            yield from self._hear_hush()

    def _hear_hush(self) -> Iterator[SpeechEvent]:
        if self._short_silence is None and self._silence >= self._samples(self.config.lull_ms):
            self._short_silence = self.position
            yield ShortSilenceStarted(self.position)
        if not self._pausing and self._silence >= self._samples(self.config.pause_ms):
            self._pausing = True
            self._ask_ms = _ASKED_AGAIN_MS
            yield PauseStarted(self.position, self._voiced_until, self._choose_silence())
        elif self._pausing and self.config.patience is not None and self._silence >= self._samples(self._ask_ms):
            self._ask_ms *= 2
            yield PauseContinued(self.position, self._voiced_until)

    def _choose_silence(self) -> float | None:
        if self.config.patience is None:
            return None
        finished = completion_probability(self._heard(self._voiced_until - TAIL_SAMPLES, self._voiced_until))
        self._prosody_ms = self.config.patience.by_prosody_ms(finished, self._pauses)
        return finished

    def _forget_pause(self) -> None:
        self._pausing = False
        self._prosody_ms = math.inf
        self._finished = None

    @property
    def _silence_ms(self) -> float:
        """That ends the speech."""
        patience = self.config.patience
        if patience is None:
            return self.config.silence_ms
        if self._finished is not None:
            return patience.by_model_ms(self._finished, _ms(self._silence), self._pauses)
        return min(self._prosody_ms, patience.most_ms)

    def _decide(self, *, ended: bool) -> Iterator[SpeechEvent]:
        verdict = judge(self._contested_voice(ended), self.config.judge)
        if verdict is Verdict.WORD and self._asked_until != self._voiced_until:
            self._asked_until = self._voiced_until
            yield TranscriptRequested(self.position, self._voiced_from, self._voiced_until)
        yield from self._settle(verdict)

    def _settle(self, verdict: Verdict) -> Iterator[SpeechEvent]:
        if verdict is Verdict.TAKES:
            self._contested = False
            yield BargeInConfirmed(self.position)
        elif verdict is Verdict.NOTHING:
            self.end_speech()
            yield FalseInterruption(self.position)

    def _contested_voice(self, ended: bool) -> Voice:
        return Voice(
            samples=self._heard(self._voiced_from, self._voiced_until),
            voiced_ms=_ms(self._voiced),
            hushed_ms=_ms(self._silence),
            lasted_ms=_ms(self.position - self._voiced_from),
            room=self._heard(self._voiced_from - _ROOM_FRAMES * FRAME_SAMPLES, self._voiced_from),
            usual_db=self._usual_db,
            ended=ended,
            words=self._words,
        )

    def _heard(self, start: int, end: int) -> NDArray[np.float32]:
        """The samples from ``start`` to ``end``, as far as they are remembered; both at the edge of a frame."""
        count = len(self._frames)
        first, last = (count - (self.position - sample) // FRAME_SAMPLES for sample in (start, end))
        frames = [self._frames[index] for index in range(max(0, first), max(0, last))]
        return np.concatenate(frames) if frames else np.zeros(0, np.float32)

    def _learn_level(self) -> None:
        """How loud the caller speaks who has just finished a turn."""
        level = speech_level(self._heard(self._voiced_from, self._voiced_until))
        if level is not None:
            usual = level if self._usual_db is None else self._usual_db
            self._usual_db = usual + _LEVEL_MEMORY * (level - usual)

    @property
    def _silence(self) -> int:
        return self.position - self._voiced_until

    def _confirm_silence(self) -> None:
        self._detector.reset()
        self._forget_pause()
        self._short_silence = None
        self._voiced = 0
        self._voiced_until = self._reset_at = self.position

    @staticmethod
    def _samples(ms: float) -> int:
        return samples_of_ms(ms, VAD_SAMPLE_RATE)


def _ms(samples: int) -> float:
    return samples * 1000 / VAD_SAMPLE_RATE
