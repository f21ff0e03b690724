"""The caller of a scripted conversation: its microphone, its loudspeaker, and what it was told when.

It sends 20 ms of sound at a time, plays what it gets at once, holds and resumes as it is told, and stops when the
server hears it speak. It knows neither session nor connection, nor a clock: who drives it tells the time.
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
"""Of the sound in both directions, PCM16 mono."""

FRAME_S = 0.02
_FRAME = round(FRAME_S * WIRE_RATE)
_FRAME_BYTES = 2 * _FRAME

STARTED = "input_audio_buffer.speech_started"
STOPPED = "input_audio_buffer.speech_stopped"
PAUSED = "output_audio_buffer.paused"
RESUMED = "output_audio_buffer.resumed"
SPOKEN = "response.output_audio.done"

PATIENCE_S = 4.0
"""A caller whose turn has not been ended by then speaks again: the end was missed."""

_NO_REPLY_S = 10.0  # after that, nothing will be heard over it
_HANGS_S = 30.0  # after that, a playback will not come to its end
_AFTER_S = 1.2  # how long it is watched whether the reply stops
_ROOM_TAPS_S = (0.0, 0.006, 0.013, 0.027, 0.051)
_ROOM_TAPS = np.array([1.0, 0.5, -0.4, 0.25, -0.15])


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event of the server that matters here, ``at`` seconds after the opening of the microphone."""

    at: float
    type: str


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What came of one case; times in seconds after the opening of the microphone.

    ``playback_began``: of the answer to the turn. ``over_began``: the first sample of what is heard over it, None where
    that did not come to be. ``played``: PCM16 of the answer, as far as it was played; ``reply``: all of it, None where
    that is not known. ``late_bytes``: audio of a reply that came after it was stopped. ``drafts``: replies made ahead.
    """

    told: tuple[ReceivedEvent, ...]
    playback_began: float | None
    over_began: float | None
    played: bytes = field(repr=False)
    reply: bytes | None = field(repr=False)
    late_bytes: int
    drafts: tuple[Speculated, ...] = ()


class Caller:
    """Plays one case."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._player = _Player()
        self._told: list[ReceivedEvent] = []
        self._stopped: set[str] = set()
        self._spoken: set[str] = set()
        self._received: dict[str, int] = {}
        self._late_bytes = 0
        self._speech = at_wire_rate(case.speech)
        self._room = _frames(at_wire_rate(case.room))
        self._over = None if case.over is None else at_wire_rate(case.over.samples)
        self._over_frame: int | None = None  # the frame with which it begins
        self._echo = Echo(case.echo_db, case.echo_delay_s)

    def hear_of(self, type: str, at: float, response_id: str = "") -> None:
        """An event of the server that holds no audio."""
        if type == STARTED:
            self._stopped.update(self._received)
            self._player.cut()
        elif type in (PAUSED, RESUMED):
            self._player.held = type == PAUSED
        elif type == SPOKEN:
            self._spoken.add(response_id)
        self._told.append(ReceivedEvent(at, type))

    def take_audio(self, response_id: str, data: bytes) -> None:
        """PCM16 of a reply."""
        if response_id in self._stopped:
            self._late_bytes += len(data)
        else:
            self._received[response_id] = self._received.get(response_id, 0) + len(data)
            self._player.feed(response_id, data)

    def sound(self, frame: int) -> Samples:
        """The microphone's 20 ms of this number, float32 [480]; each is asked for once, in order."""
        sound = _part(self._speech, frame * _FRAME) + self._room[frame % len(self._room)]
        sound += self._echo.push(self._player.tick(frame * FRAME_S))
        if self._over is not None:
            self._begin_over(frame)
            if self._over_frame is not None:
                sound += _part(self._over, (frame - self._over_frame) * _FRAME)
        return np.asarray(np.clip(sound, -1.0, 1.0), np.float32)

    def finished(self, now: float) -> bool:
        """Whether nothing more can come of the case."""
        spoken = self._case.turn_end_s
        if spoken is None:
            return now >= len(self._case.speech) / RATE + PATIENCE_S / 2
        if not self._case.floor_is_ours:
            ended = any(told.type == STOPPED and told.at >= spoken for told in self._told)
            return ended or now >= spoken + PATIENCE_S
        return self._reply_is_over(now, spoken)

    def observation(self, reply: bytes | None = None, drafts: tuple[Speculated, ...] = ()) -> Observation:
        """All that was seen."""
        answer = self._answer
        return Observation(
            told=tuple(self._told),
            playback_began=None if answer is None else self._player.began[answer],
            over_began=None if self._over_frame is None else self._over_frame * FRAME_S,
            played=b"" if answer is None else bytes(self._player.played[answer]),
            reply=reply,
            late_bytes=self._late_bytes,
            drafts=drafts,
        )

    @property
    def _answer(self) -> str | None:
        """The response that the case is about: the first that is heard after the turn's end."""
        end = self._case.turn_end_s or 0.0
        return next((name for name, began in self._player.began.items() if began >= end), None)

    def _begin_over(self, frame: int) -> None:
        answer, over = self._answer, self._case.over
        if self._over_frame is None and answer is not None and over is not None:
            if frame * FRAME_S >= self._player.began[answer] + over.after_s:
                self._over_frame = frame

    def _reply_is_over(self, now: float, spoken: float) -> bool:
        answer = self._answer
        if answer is None:
            return now >= spoken + _NO_REPLY_S
        if answer in self._stopped:
            watched = 0.0 if self._over is None or self._over_frame is None else len(self._over) / WIRE_RATE + _AFTER_S
            return now >= (self._over_frame or 0) * FRAME_S + watched
        heard = answer in self._spoken and len(self._player.played[answer]) >= self._received[answer]
        return heard or now >= self._player.began[answer] + _HANGS_S


class _Player:
    """The caller's loudspeaker, at 24 kHz. Remembers what it played, as PCM16 of each response."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.played: dict[str, bytearray] = {}
        self.held = False
        self._queue: deque[tuple[str, bytes]] = deque()

    def feed(self, response_id: str, data: bytes) -> None:
        self._queue.append((response_id, data))

    def cut(self) -> None:
        self._queue.clear()
        self.held = False

    def tick(self, now: float) -> Samples:
        """The next 20 ms, which begin at ``now``."""
        out = bytearray()
        while self._queue and not self.held and len(out) < _FRAME_BYTES:
            response_id, data = self._queue.popleft()
            taken, rest = data[: _FRAME_BYTES - len(out)], data[_FRAME_BYTES - len(out) :]
            if rest:
                self._queue.appendleft((response_id, rest))
            self.began.setdefault(response_id, now)
            self.played.setdefault(response_id, bytearray()).extend(taken)
            out += taken
        return pcm16_to_float(bytes(out.ljust(_FRAME_BYTES, b"\0")))


class Echo:
    """What the microphone hears of the loudspeaker: later, softer, with the walls."""

    def __init__(self, db: float | None, delay_s: float) -> None:
        taps = _ROOM_TAPS if db is None else _ROOM_TAPS * 10 ** (db / 20) / np.sqrt(np.sum(_ROOM_TAPS**2))
        self._taps = np.zeros(1) if db is None else taps
        self._delays = [round((delay_s + tap_s) * WIRE_RATE) for tap_s in _ROOM_TAPS_S[: len(self._taps)]]
        self._past = np.zeros(max(self._delays) + _FRAME, np.float32)

    def push(self, played: Samples) -> Samples:
        """Float32 [480] that is played now -> float32 [480] that is heard now."""
        self._past = np.concatenate((self._past[_FRAME:], played))
        end = len(self._past)
        parts = [
            gain * self._past[end - delay - _FRAME : end - delay]
            for gain, delay in zip(self._taps, self._delays, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0), np.float32)


def _part(samples: Samples, start: int) -> Samples:
    """A frame from ``start`` on; outside it is silent."""
    part = samples[start : start + _FRAME] if start >= 0 else samples[:0]
    return np.pad(part, (0, _FRAME - len(part)))


def _frames(samples: Samples) -> Samples:
    """[n, 480], without what is over."""
    return samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)


def at_wire_rate(samples: Samples) -> Samples:
    """From 16 kHz."""
    resampler = Resampler(RATE, WIRE_RATE)
    return np.concatenate((resampler.push(samples), resampler.flush()), dtype=np.float32)
