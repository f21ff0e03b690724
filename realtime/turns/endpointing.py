"""Speech probabilities -> where speech starts, pauses and stops. No clock: time is the number of samples received.

The rules:

1. Speech starts with the frame that completes ``min_speech_ms`` of voiced frames (probability >= ``threshold``) with
   no more than ``min_speech_gap_ms`` between them. The turn's audio begins ``prefix_padding_ms`` before the first.
2. Silence begins with a frame below ``threshold - HYSTERESIS`` (so a weak syllable is not silence) and ends with a
   frame at or over ``threshold``.
3. ``short_silence_ms`` of silence is a short silence. ``pause_ms`` of silence is a pause: what was said so far may be
   the whole turn. A voiced frame ends both.
4. ``silence_ms`` of silence ends the speech. The turn's audio ends at its last short silence, so a reply speculated
   there answers exactly the committed audio. With ``delay`` the silence that ends the speech is chosen in each
   pause from the probability that the turn is complete (`turn_completion`, or a model: `set_completion_probability`)
   and from the pauses of this caller within turns. A model is asked again after 1, 2 and 4 s of silence. The highest of
   its answers counts, so one wrong "incomplete" does not cost the longest delay.
5. The end of speech resets the detector, and so do ``IDLE_RESET_MS`` without speech: its recurrent state drifts in
   endless streams and would miss the next word (silero-vad#725).
6. Overlapping speech (`begin_overlap`: it began during playback) is classified first, frame by frame, by the rules of
   `interruption`. It neither pauses nor stops before that. `TranscriptRequested` asks for the words of a short
   utterance; `apply_word_verdict` takes the answer.
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
from realtime.turns.interruption import (
    InterruptionConfig,
    OverlapClass,
    OverlappingSpeech,
    classify,
    speech_level,
)
from realtime.turns.turn_completion import RESUMES_MS, TAIL_SAMPLES, EndpointingDelay, Pauses, completion_probability
from realtime.turns.vad import FRAME_SAMPLES, VAD_SAMPLE_RATE, VoiceDetector

HYSTERESIS = 0.15
"""Distance between the thresholds of start and stop, as in Silero's ``VADIterator``."""

_MIN_THRESHOLD = 0.01  # below it silence would never be found; Silero's value

IDLE_RESET_MS = 20_000
"""Well under the 30 s after which users of Silero report that its confidence collapses."""

_KEPT_FRAMES = 4000 // 32
_ROOM_FRAMES = 1000 // 32
_FIRST_REPEAT_MS = 1000
"""Silence after which `PauseContinued` comes for the first time; each next one comes at twice the silence."""
_LEVEL_WEIGHT = 0.3  # of the newest turn in the caller's usual level


@dataclass(frozen=True, slots=True)
class EndpointingConfig:
    """The settings of `server_vad`, and limits that a client cannot set. The words "no" and "stop" last 150 ms or more,
    so ``min_speech_ms`` must stay well under that."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_ms: int = 500
    delay: EndpointingDelay | None = None
    min_speech_ms: int = 64
    min_speech_gap_ms: int = 32
    short_silence_ms: int = 96
    pause_ms: int = 192
    interruption: InterruptionConfig = field(default_factory=InterruptionConfig)


class Endpointer:
    """One stream. Give it every sample once, in order; `position` is the number of samples processed."""

    def __init__(
        self, detector: VoiceDetector, config: EndpointingConfig | None = None, echo: EchoGate | None = None
    ) -> None:
        """``echo``: separates the echo of playback from the caller's speech; `push` then needs the playback."""
        self.config = config or EndpointingConfig()
        self.position = 0
        self._detector = detector
        self._echo = echo
        self._held: deque[tuple[NDArray[np.float32], float]] = deque()  # frames that the echo gate holds back
        self._framer, self._played_framer = Framer(FRAME_SAMPLES), Framer(FRAME_SAMPLES)
        self._speaking = False
        self._pausing = False
        self._short_silence: int | None = None  # where it was found
        self._voiced = 0  # samples of voiced frames, until speech has started
        self._voiced_from = 0  # where the first of them begins
        self._voiced_until = 0  # where the last voiced frame ends
        self._reset_at = 0
        self._overlapping = False
        self._has_transcripts = False  # the words of overlapping speech can be asked for
        self._asked_until = -1  # the end of the last speech whose words were asked for
        self._frames: deque[NDArray[np.float32]] = deque(maxlen=_KEPT_FRAMES)
        self._usual_db: float | None = None
        self._pauses = Pauses()
        self._prosody_ms = math.inf  # the silence that ends the speech by prosody, with `delay` and without a model
        self._finished: float | None = None  # a model's probability that the turn ended with this pause
        self._next_ask_ms = 0  # the silence at which `PauseContinued` comes next
        self._stopped_at = -samples_of_ms(RESUMES_MS, VAD_SAMPLE_RATE)  # the end of the last turn's last voiced frame

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not yet stopped."""
        return self._speaking

    def push(self, samples: NDArray[np.float32], played: NDArray[np.float32] | None = None) -> Iterator[SpeechEvent]:
        """Float32 [n] at 16 kHz -> what happened, in order. Consume it all before the next push.

        ``played``: float32 [n], the playback of the same time; None: nothing was played.
        """
        if played is None:
            played = np.zeros_like(samples)
        for frame, own in zip(self._framer.push(samples), self._played_framer.push(played), strict=True):
            probability = self._detector.probability(frame)
            self._held.append((frame, probability))
            starts = not self._speaking and probability >= self.config.threshold
            yield from self._process_held([True] if self._echo is None else self._echo.push(frame, own, starts=starts))

    def gate_echo(self, gate: EchoGate | None) -> None:
        """Use this echo gate from now on, or none. Frames that the last one holds back count as silence."""
        held = self._echo.release() if self._echo is not None else []
        self._echo = gate
        for _ in self._process_held([False] * len(held)):
            raise AssertionError("silence before any speech is no event")

    @property
    def gated(self) -> bool:
        """Whether there is an echo gate."""
        return self._echo is not None

    def set_completion_probability(self, voiced_until: int, finished: float) -> None:
        """A model's probability that the turn ended at ``voiced_until``. Ignored when that pause is over."""
        if self._pausing and voiced_until == self._voiced_until:
            self._finished = max(finished, self._finished or 0.0)

    def begin_overlap(self, *, words: bool = False) -> None:
        """The speech that has just started overlaps playback: `BargeInConfirmed` or `FalseInterruption` comes before
        anything else. ``words``: `TranscriptRequested` will be answered."""
        self._overlapping = True
        self._has_transcripts = words

    def end_overlap(self) -> None:
        """The playback has ended: this is speech like any other."""
        self._overlapping = False

    def apply_word_verdict(self, voiced_until: int, *, wants_floor: bool) -> Iterator[SpeechEvent]:
        """Whether the words of the speech that ended at ``voiced_until`` are a barge-in. Gives nothing when it has gone
        on since, or is classified already."""
        if self._overlapping and voiced_until == self._voiced_until:
            yield from self._conclude(OverlapClass.BARGE_IN if wants_floor else OverlapClass.FALSE_INTERRUPTION)

    def decide(self) -> Iterator[SpeechEvent]:
        """Classify overlapping speech now, as if it had ended. Gives nothing when there is none."""
        if self._overlapping:
            yield from self._classify(ended=True)

    def end_speech(self) -> None:
        """Something else ended the turn (a commit, a limit): no `SpeechStopped` will follow."""
        self._speaking = False
        self._overlapping = False
        self._confirm_silence()

    def skip_to(self, position: int) -> None:
        """Samples up to ``position`` were not pushed (detection was off): continue from there."""
        if self._echo is not None:
            self._echo.release()
        self._held.clear()
        self._framer.clear()
        self._played_framer.clear()
        self._frames.clear()
        self.position = position
        self.end_speech()

    def _process_held(self, near_end: list[bool]) -> Iterator[SpeechEvent]:
        """Process the oldest held frames. ``near_end``: for each, whether it holds more than echo."""
        for is_near_end in near_end:
            frame, probability = self._held.popleft()
            self.position += len(frame)
            self._frames.append(frame)
            yield from self._process(probability if is_near_end else 0.0)

    def _process(self, probability: float) -> Iterator[SpeechEvent]:
        if self._speaking:
            yield from self._while_speaking(probability)
        else:
            yield from self._while_silent(probability)

    def _while_silent(self, probability: float) -> Iterator[SpeechEvent]:
        if probability >= self.config.threshold:
            if not self._voiced:
                self._voiced_from = self.position - FRAME_SAMPLES
            self._voiced += FRAME_SAMPLES
            self._voiced_until = self.position
        elif self._silence > self._samples(self.config.min_speech_gap_ms):
            self._voiced = 0
        if self._voiced >= self._samples(self.config.min_speech_ms):
            self._speaking = True
            self._overlapping = False
            self._end_pause()
            gap_ms = _ms(self._voiced_from - self._stopped_at)
            if gap_ms < RESUMES_MS:
                self._pauses.add(gap_ms)
            padding = self._samples(self.config.prefix_padding_ms)
            yield SpeechStarted(self.position, max(0, self._voiced_from - padding))
        elif not self._voiced and self.position - self._reset_at >= self._samples(IDLE_RESET_MS):
            self._confirm_silence()

    def _while_speaking(self, probability: float) -> Iterator[SpeechEvent]:
        was_voiced = self._silence <= FRAME_SAMPLES
        floor = self.config.threshold - (HYSTERESIS if was_voiced else 0.0)
        if probability >= max(floor, _MIN_THRESHOLD):
            if self._pausing:
                self._pauses.add(_ms(self._silence - FRAME_SAMPLES))
                yield SpeechResumed(self.position)
            self._end_pause()
            self._voiced_until = self.position
            self._voiced += FRAME_SAMPLES
            self._short_silence = None
        stops = self._silence >= max(self._samples(self._silence_ms), FRAME_SAMPLES)
        if self._overlapping:
            yield from self._classify(ended=stops)
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
            yield from self._while_pausing()

    def _while_pausing(self) -> Iterator[SpeechEvent]:
        if self._short_silence is None and self._silence >= self._samples(self.config.short_silence_ms):
            self._short_silence = self.position
            yield ShortSilenceStarted(self.position)
        if not self._pausing and self._silence >= self._samples(self.config.pause_ms):
            self._pausing = True
            self._next_ask_ms = _FIRST_REPEAT_MS
            yield PauseStarted(self.position, self._voiced_until, self._prosody_probability())
        elif self._pausing and self.config.delay is not None and self._silence >= self._samples(self._next_ask_ms):
            self._next_ask_ms *= 2
            yield PauseContinued(self.position, self._voiced_until)

    def _prosody_probability(self) -> float | None:
        if self.config.delay is None:
            return None
        finished = completion_probability(self._kept(self._voiced_until - TAIL_SAMPLES, self._voiced_until))
        self._prosody_ms = self.config.delay.by_prosody_ms(finished, self._pauses)
        return finished

    def _end_pause(self) -> None:
        self._pausing = False
        self._prosody_ms = math.inf
        self._finished = None

    @property
    def _silence_ms(self) -> float:
        """The silence that ends the speech."""
        delay = self.config.delay
        if delay is None:
            return self.config.silence_ms
        if self._finished is not None:
            return delay.by_model_ms(self._finished, _ms(self._silence), self._pauses)
        return min(self._prosody_ms, delay.max_ms)

    def _classify(self, *, ended: bool) -> Iterator[SpeechEvent]:
        found = classify(self._overlapping_speech(ended), self.config.interruption)
        if found is OverlapClass.SHORT_UTTERANCE and self._asked_until != self._voiced_until:
            self._asked_until = self._voiced_until
            yield TranscriptRequested(self.position, self._voiced_from, self._voiced_until)
        yield from self._conclude(found)

    def _conclude(self, found: OverlapClass) -> Iterator[SpeechEvent]:
        if found is OverlapClass.BARGE_IN:
            self._overlapping = False
            yield BargeInConfirmed(self.position)
        elif found is OverlapClass.FALSE_INTERRUPTION:
            self.end_speech()
            yield FalseInterruption(self.position)

    def _overlapping_speech(self, ended: bool) -> OverlappingSpeech:
        return OverlappingSpeech(
            samples=self._kept(self._voiced_from, self._voiced_until),
            voiced_ms=_ms(self._voiced),
            silence_ms=_ms(self._silence),
            elapsed_ms=_ms(self.position - self._voiced_from),
            room=self._kept(self._voiced_from - _ROOM_FRAMES * FRAME_SAMPLES, self._voiced_from),
            usual_db=self._usual_db,
            ended=ended,
            has_transcripts=self._has_transcripts,
        )

    def _kept(self, start: int, end: int) -> NDArray[np.float32]:
        """The samples from ``start`` to ``end``, as far as they are kept; both at the edge of a frame."""
        count = len(self._frames)
        first, last = (count - (self.position - sample) // FRAME_SAMPLES for sample in (start, end))
        frames = [self._frames[index] for index in range(max(0, first), max(0, last))]
        return np.concatenate(frames) if frames else np.zeros(0, np.float32)

    def _learn_level(self) -> None:
        """The level of the turn that has just ended, into this caller's usual one."""
        level = speech_level(self._kept(self._voiced_from, self._voiced_until))
        if level is not None:
            usual = level if self._usual_db is None else self._usual_db
            self._usual_db = usual + _LEVEL_WEIGHT * (level - usual)

    @property
    def _silence(self) -> int:
        return self.position - self._voiced_until

    def _confirm_silence(self) -> None:
        self._detector.reset()
        self._end_pause()
        self._short_silence = None
        self._voiced = 0
        self._voiced_until = self._reset_at = self.position

    @staticmethod
    def _samples(ms: float) -> int:
        return samples_of_ms(ms, VAD_SAMPLE_RATE)


def _ms(samples: int) -> float:
    return samples * 1000 / VAD_SAMPLE_RATE
