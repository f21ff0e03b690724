"""The caller's audio: samples go to the audio input, and what it finds in them goes to the floor and to speculation.

Where audio stops coming while something waits for it (an open turn, the idle timeout, a verdict on overlapping speech),
silence is assumed after `SessionLimits.audio_gap_s`: a muted microphone or a file that has ended must not leave a turn
open for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime.audio.streams import Samples
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.session.floor import FloorControl
from realtime.session.parts import Parts
from realtime.session.work import Timer
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
    TimerFired,
    TranscriptRequested,
)

_GAP_STEP_S = 0.2
"""How often assumed silence goes on: well under the shortest silence that ends a turn (500 ms by default)."""


class SpeechEvents:
    """One session's audio, as it comes."""

    def __init__(self, parts: Parts, floor: FloorControl) -> None:
        self._parts = parts
        self._env = parts.env
        self._floor = floor
        self._last_audio: float | None = None
        self._filled_until: float | None = None  # where silence is assumed now
        self._gap: Timer | None = None
        self._overlap: tuple[int, Timer] | None = None

    def hear(self, data: bytes) -> None:
        """Take in a slice of the caller's audio."""
        audio_input = self._parts.audio_input
        self._hear(audio_input.format.duration_ms(len(data)) / 1000, audio_input.push(data))

    def hear_samples(self, samples: Samples) -> None:
        """Take in the caller's audio from a transport that decodes it: float32 at 16 kHz."""
        self._hear(len(samples) / MODEL_SAMPLE_RATE, self._parts.audio_input.push_samples(samples))

    def _hear(self, seconds: float, found: Iterable[SpeechEvent]) -> None:
        self._floor.spend_audio(seconds)
        self._last_audio = self._env.inputs.now()
        if self._filled_until is not None:
            self._filled_until = None
            self._parts.echo.restart_clock()
        self._take(found)

    def watch(self) -> None:
        """Look whether audio is waited for that may not come. Called after every input."""
        self._watch_overlap()
        wanted = self._floor.waits_for_audio and self._parts.settings.detects_turns
        gap_s = self._env.config.limits.audio_gap_s
        if self._gap is None and wanted and gap_s and self._last_audio is not None:
            self._gap = self._env.timers.after(gap_s, self._look_at_gap)

    def _watch_overlap(self) -> None:
        """A caller whose audio stops in mid-word must not leave the reply hanging."""
        if self._overlap is not None and self._floor.overlap != self._overlap[0]:
            self._overlap[1].cancel()
            self._overlap = None
        if self._overlap is None and self._floor.overlap:
            timer = self._env.timers.after(self._env.config.limits.overlap_s, self._decide_overlap)
            self._overlap = self._floor.overlap, timer

    def _decide_overlap(self) -> None:
        self.heard(self._parts.audio_input.decide())

    def heard(self, events: Iterable[SpeechEvent]) -> None:
        """Act on what was found in the audio."""
        for event in events:
            self._heard(event)

    def _look_at_gap(self) -> None:
        self._gap = None
        now, last, gap_s = self._env.inputs.now(), self._last_audio, self._env.config.limits.audio_gap_s
        if last is None or not (self._floor.waits_for_audio and self._parts.settings.detects_turns):
            return
        if now - last >= gap_s:
            since = last if self._filled_until is None else self._filled_until
            self._filled_until = now
            self._take(self._parts.audio_input.push_silence(int((now - since) * MODEL_SAMPLE_RATE)))
        wait = _GAP_STEP_S if self._filled_until is not None else max(_GAP_STEP_S, last + gap_s - now)
        self._gap = self._env.timers.after(wait, self._look_at_gap)

    def _take(self, events: Iterable[SpeechEvent]) -> None:
        self.heard(events)
        received = self._parts.audio_input.received
        if self._floor.timer_at is not None and received >= self._floor.timer_at:
            self._floor.timer_at = None
            self._floor.step(TimerFired(received))
        if self._floor.answers_turn:
            self._parts.turn.prepare_segments(self._parts.settings.answering(), self._floor.turns.turn_start)

    def _heard(self, event: SpeechEvent) -> None:
        parts, floor = self._parts, self._floor
        match event:
            case SpeechStarted():
                start = parts.audio_input.begin_turn(event.start)
                parts.prompts.begin_turn()
                floor.step(SpeechStarted(event.at, start))
                parts.turn.begin()
                self._prepare_turn()
            case ShortSilenceStarted():
                parts.turn.silence_started(event.at)
                if self._env.config.speculate and floor.answers_turn:
                    parts.turn.prepare_at_silence(parts.settings.answering())
            case PauseStarted():
                parts.timeline.mark("pause_started", voiced_until=event.voiced_until)
                parts.end_of_turn.ask(event)
                if floor.may_speculate:
                    parts.turn.speculate(parts.settings.answering())
            case PauseContinued():
                parts.end_of_turn.ask(event)
            case SpeechResumed():
                parts.timeline.mark("pause_ended")
                parts.speculator.drop()
            case SpeechStopped():
                now = self._env.inputs.now()
                late = (parts.audio_input.received - event.voiced_until) / MODEL_SAMPLE_RATE
                floor.speech_end = (now - late, now)
                floor.step(event)
            case TranscriptRequested():
                parts.backchannels.ask(event, self._apply_word_verdict)
            case BargeInConfirmed():
                floor.step(event)
                self._prepare_turn()
            case FalseInterruption():
                floor.step(event)

    def _apply_word_verdict(self, voiced_until: int, wants_floor: bool) -> None:
        self.heard(self._parts.audio_input.apply_word_verdict(voiced_until, wants_floor=wants_floor))

    def _prepare_turn(self) -> None:
        if self._floor.answers_turn:
            self._parts.turn.prepare(self._parts.settings.answering())
