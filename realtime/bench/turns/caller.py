"""The simulated caller of a scripted conversation: its microphone, its loudspeaker, and a log of the events it
received.

It sends 20 ms of sound at a time, plays audio as soon as it arrives, pauses and resumes playback on the server's
events, and stops playback at `speech_started`. It has no session, connection or clock: the runner passes the time in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from realtime.audio.streams import Resampler, pcm16_to_float
from realtime.bench.turns.corpus import Case
from realtime.bench.turns.synthetic_noise import RATE, Samples
from realtime.metrics import Speculated

WIRE_RATE = 24_000
"""Sample rate of the audio in both directions, PCM16 mono."""

FRAME_S = 0.02
_FRAME = round(FRAME_S * WIRE_RATE)
_FRAME_BYTES = 2 * _FRAME

STARTED = "input_audio_buffer.speech_started"
STOPPED = "input_audio_buffer.speech_stopped"
PAUSED = "output_audio_buffer.paused"
RESUMED = "output_audio_buffer.resumed"
SPOKEN = "response.output_audio.done"

MISSED_END_S = 4.0
"""Seconds after the turn's end at which the end counts as missed: a real caller would ask again."""

_NO_REPLY_S = 10.0  # after the turn's end without a reply, the case is given up
_HANGS_S = 30.0  # after the reply began, the case is given up
_AFTER_S = 1.2  # after the overlap ended, the reply may still be stopped
_ROOM_TAPS_S = (0.0, 0.006, 0.013, 0.027, 0.051)
_ROOM_TAPS = np.array([1.0, 0.5, -0.4, 0.25, -0.15])


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One server event without audio, received ``at`` seconds after the microphone was opened."""

    at: float
    type: str


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The record of one case; times in seconds after the microphone was opened.

    ``events``: all events received. ``playback_began``: of the answer to the turn. ``overlap_began``: the first sample
    of the sound over it, None where it was not played. ``played``: PCM16 of the answer as far as it was played;
    ``reply``: the complete answer, None where it is not known. ``late_bytes``: audio of a reply received after that
    reply was stopped. ``speculations``: the speculative replies.
    """

    events: tuple[ReceivedEvent, ...]
    playback_began: float | None
    overlap_began: float | None
    played: bytes = field(repr=False)
    reply: bytes | None = field(repr=False)
    late_bytes: int
    speculations: tuple[Speculated, ...] = ()


class SimulatedCaller:
    """The caller in one case."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._player = _Player()
        self._events: list[ReceivedEvent] = []
        self._stopped: set[str] = set()
        self._spoken: set[str] = set()
        self._received: dict[str, int] = {}
        self._late_bytes = 0
        self._speech = at_wire_rate(case.speech)
        self._room = _frames(at_wire_rate(case.room))
        self._overlap = None if case.overlap is None else at_wire_rate(case.overlap.samples)
        self._overlap_frame: int | None = None  # the frame at which it begins
        self._echo = Echo(case.echo_db, case.echo_delay_s)

    def take_event(self, type: str, at: float, response_id: str = "") -> None:
        """A server event without audio."""
        if type == STARTED:
            self._stopped.update(self._received)
            self._player.cut()
        elif type in (PAUSED, RESUMED):
            self._player.paused = type == PAUSED
        elif type == SPOKEN:
            self._spoken.add(response_id)
        self._events.append(ReceivedEvent(at, type))

    def take_audio(self, response_id: str, data: bytes) -> None:
        """A piece of a reply, PCM16."""
        if response_id in self._stopped:
            self._late_bytes += len(data)
        else:
            self._received[response_id] = self._received.get(response_id, 0) + len(data)
            self._player.feed(response_id, data)

    def sound(self, frame: int) -> Samples:
        """The microphone's 20 ms number ``frame``, float32 [480]. Call once for each number, in order."""
        sound = _part(self._speech, frame * _FRAME) + self._room[frame % len(self._room)]
        sound += self._echo.push(self._player.next_frame(frame * FRAME_S))
        if self._overlap is not None:
            self._begin_overlap(frame)
            if self._overlap_frame is not None:
                sound += _part(self._overlap, (frame - self._overlap_frame) * _FRAME)
        return np.asarray(np.clip(sound, -1.0, 1.0), np.float32)

    def finished(self, now: float) -> bool:
        """Whether the outcome of the case is known."""
        spoken = self._case.turn_end_s
        if spoken is None:
            return now >= len(self._case.speech) / RATE + MISSED_END_S / 2
        if not self._case.during_reply:
            ended = any(event.type == STOPPED and event.at >= spoken for event in self._events)
            return ended or now >= spoken + MISSED_END_S
        return self._reply_is_over(now, spoken)

    def observation(self, reply: bytes | None = None, speculations: tuple[Speculated, ...] = ()) -> Observation:
        """The record so far."""
        answer = self._answer
        return Observation(
            events=tuple(self._events),
            playback_began=None if answer is None else self._player.began[answer],
            overlap_began=None if self._overlap_frame is None else self._overlap_frame * FRAME_S,
            played=b"" if answer is None else bytes(self._player.played[answer]),
            reply=reply,
            late_bytes=self._late_bytes,
            speculations=speculations,
        )

    @property
    def _answer(self) -> str | None:
        """The answer to the turn: the first response whose playback began after the turn's end."""
        end = self._case.turn_end_s or 0.0
        return next((name for name, began in self._player.began.items() if began >= end), None)

    def _begin_overlap(self, frame: int) -> None:
        answer, overlap = self._answer, self._case.overlap
        if self._overlap_frame is None and answer is not None and overlap is not None:
            if frame * FRAME_S >= self._player.began[answer] + overlap.after_s:
                self._overlap_frame = frame

    def _reply_is_over(self, now: float, spoken: float) -> bool:
        answer = self._answer
        if answer is None:
            return now >= spoken + _NO_REPLY_S
        if answer in self._stopped:
            if self._overlap is None or self._overlap_frame is None:
                return True
            return now >= self._overlap_frame * FRAME_S + len(self._overlap) / WIRE_RATE + _AFTER_S
        played = answer in self._spoken and len(self._player.played[answer]) >= self._received[answer]
        return played or now >= self._player.began[answer] + _HANGS_S


class _Player:
    """The caller's loudspeaker at 24 kHz. Records what it played of each response, as PCM16."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.played: dict[str, bytearray] = {}
        self.paused = False
        self._queue: deque[tuple[str, bytes]] = deque()

    def feed(self, response_id: str, data: bytes) -> None:
        self._queue.append((response_id, data))

    def cut(self) -> None:
        self._queue.clear()
        self.paused = False

    def next_frame(self, now: float) -> Samples:
        """Play the next 20 ms, which begin at ``now``; silence where nothing is queued or playback is paused."""
        out = bytearray()
        while self._queue and not self.paused and len(out) < _FRAME_BYTES:
            response_id, data = self._queue.popleft()
            taken, rest = data[: _FRAME_BYTES - len(out)], data[_FRAME_BYTES - len(out) :]
            if rest:
                self._queue.appendleft((response_id, rest))
            self.began.setdefault(response_id, now)
            self.played.setdefault(response_id, bytearray()).extend(taken)
            out += taken
        return pcm16_to_float(bytes(out.ljust(_FRAME_BYTES, b"\0")))


class Echo:
    """The echo path from loudspeaker to microphone: a delay, an attenuation and four reflections."""

    def __init__(self, db: float | None, delay_s: float) -> None:
        taps = _ROOM_TAPS if db is None else _ROOM_TAPS * 10 ** (db / 20) / np.sqrt(np.sum(_ROOM_TAPS**2))
        self._taps = np.zeros(1) if db is None else taps
        self._delays = [round((delay_s + tap_s) * WIRE_RATE) for tap_s in _ROOM_TAPS_S[: len(self._taps)]]
        self._past = np.zeros(max(self._delays) + _FRAME, np.float32)

    def push(self, played: Samples) -> Samples:
        """Float32 [480] played now -> float32 [480] of echo in the microphone now."""
        self._past = np.concatenate((self._past[_FRAME:], played))
        end = len(self._past)
        parts = [
            gain * self._past[end - delay - _FRAME : end - delay]
            for gain, delay in zip(self._taps, self._delays, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0), np.float32)


def _part(samples: Samples, start: int) -> Samples:
    """One frame from sample ``start`` on, zeros outside the signal."""
    part = samples[start : start + _FRAME] if start >= 0 else samples[:0]
    return np.pad(part, (0, _FRAME - len(part)))


def _frames(samples: Samples) -> Samples:
    """[n, 480], without the incomplete last frame."""
    return samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)


def at_wire_rate(samples: Samples) -> Samples:
    """16 kHz -> 24 kHz."""
    resampler = Resampler(RATE, WIRE_RATE)
    return np.concatenate((resampler.push(samples), resampler.flush()), dtype=np.float32)
