"""One scripted conversation with a real session in virtual time: what the caller was told when, and what it played.

Only model and network are not real (`script`, and a channel without delay). The caller sends 20 ms of sound at a time,
plays what it gets at once, holds and resumes as it is told, and stops when the server hears it speak.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realtime.audio import Resampler, float_to_pcm16, pcm16_to_float
from realtime.errors import ChannelClosed
from realtime.metrics import Speculated
from realtime.protocol import events as wire
from realtime.protocol.ids import Ids
from realtime.session.channel import Inbound
from realtime.session.config import SessionConfig
from realtime.session.manager import first_settings
from realtime.session.ports import OUTPUT_SAMPLE_RATE
from realtime.session.session import Services, Session
from realtime.turn_bench import virtual_time
from realtime.turn_bench.corpus import Case
from realtime.turn_bench.script import ScriptedEngine, ScriptedVocoder
from realtime.turn_bench.sounds import RATE, Samples
from realtime.turns.smart_turn import EndOfTurnModel
from realtime.turns.vad import VoiceModel

FRAME_S = 0.02
_FRAME = round(FRAME_S * OUTPUT_SAMPLE_RATE)
_FRAME_BYTES = 2 * _FRAME

PATIENCE_S = 4.0
"""A caller whose turn has not been ended by then speaks again: the end was missed."""

_NO_REPLY_S = 10.0  # after that, nothing will be heard over it
_AFTER_S = 1.2  # how long it is watched whether the reply stops
_MODEL_S = 0.05  # what the end-of-turn model takes
_ROOM_TAPS_S = (0.0, 0.006, 0.013, 0.027, 0.051)
_ROOM_TAPS = np.array([1.0, 0.5, -0.4, 0.25, -0.15])


@dataclass(frozen=True, slots=True)
class Mode:
    """How turns are taken. ``detection``: the session's ``turn_detection``."""

    name: str
    detection: Mapping[str, Any]
    model: EndOfTurnModel | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the server that matters here, ``at`` seconds after the opening of the microphone."""

    at: float
    type: str


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What came of one case; times in seconds after the opening of the microphone.

    ``playback_began``: of the answer to the turn. ``over_began``: the first sample of what is heard over it, None where
    that did not come to be. ``played``: PCM16 of the answer, as far as it was played; ``reply``: all of it.
    ``late_bytes``: audio of the answer that came after it was stopped. ``drafts``: replies made ahead.
    """

    told: tuple[Told, ...]
    playback_began: float | None
    over_began: float | None
    played: bytes = field(repr=False)
    reply: bytes = field(repr=False)
    late_bytes: int
    drafts: tuple[Speculated, ...]


def observe(case: Case, mode: Mode, vad: VoiceModel) -> Observation:
    """Play the case. Deterministic, and as fast as the machine can."""
    return virtual_time.run(_Stage(case, mode, vad).play(), thread_s=_MODEL_S)


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


class _Channel:
    """The connection: nothing takes time on it. See `realtime.session.channel.Channel`."""

    def __init__(self, player: _Player) -> None:
        self.told: list[Told] = []
        self.stopped: set[str] = set()
        self.late_bytes = 0
        self._player = player
        self._inbound: asyncio.Queue[Inbound | None] = asyncio.Queue()

    def put(self, event: Inbound | None) -> None:
        """None: the caller hangs up."""
        self._inbound.put_nowait(event)

    async def receive(self) -> Inbound:
        event = await self._inbound.get()
        if event is None:
            raise ChannelClosed("the caller has hung up")
        return event

    async def send(self, event: wire.ServerEvent) -> None:
        match event:
            case wire.ResponseOutputAudioDelta():
                self._take_audio(event)
                return
            case wire.InputAudioBufferSpeechStarted():
                self.stopped.update(self._player.began)
                self._player.cut()
            case wire.OutputAudioBufferPaused():
                self._player.held = True
            case wire.OutputAudioBufferResumed():
                self._player.held = False
            case wire.Error():
                raise AssertionError(f"the session complains: {event.error.message}")
            case _:
                pass
        self.told.append(Told(asyncio.get_running_loop().time(), event.type))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """The caller has gone already."""

    def _take_audio(self, event: wire.ResponseOutputAudioDelta) -> None:
        data = bytes(event.delta)
        if event.response_id in self.stopped:
            self.late_bytes += len(data)
        else:
            self._player.feed(event.response_id, data)


class _Stage:
    """The caller."""

    def __init__(self, case: Case, mode: Mode, vad: VoiceModel) -> None:
        self._case = case
        self._mode = mode
        self._vad = vad
        self._player = _Player()
        self._channel = _Channel(self._player)
        self._drafts: list[Speculated] = []
        self._speech = _at_wire_rate(case.speech)
        self._room = _frames(_at_wire_rate(case.room))
        self._over = None if case.over is None else _at_wire_rate(case.over.samples)
        self._echo = Echo(case.echo_db, case.echo_delay_s)
        self._over_frame: int | None = None  # the frame with which it begins
        self._recording = _at_wire_rate(case.reply.samples)[: round(case.reply_s * OUTPUT_SAMPLE_RATE)]

    async def play(self) -> Observation:
        """From the opening of the microphone until nothing more can come of the case."""
        session = asyncio.create_task(self._session().run(), name="session")
        frame = 0
        while not self._finished(frame * FRAME_S):
            sound = self._sound(frame)
            frame += 1
            await asyncio.sleep(frame * FRAME_S - asyncio.get_running_loop().time())
            self._channel.put(wire.InputAudioBufferAppend(audio=float_to_pcm16(sound)))
        self._channel.put(None)
        await session
        answer = self._answer
        return Observation(
            told=tuple(self._channel.told),
            playback_began=None if answer is None else self._player.began[answer],
            over_began=None if self._over_frame is None else self._over_frame * FRAME_S,
            played=b"" if answer is None else bytes(self._player.played[answer]),
            reply=float_to_pcm16(self._recording),
            late_bytes=self._channel.late_bytes,
            drafts=tuple(self._drafts),
        )

    def _session(self) -> Session:
        config, ids = SessionConfig(), Ids("bench")
        patch = {"type": "realtime", "audio": {"input": {"turn_detection": dict(self._mode.detection)}}}
        services = Services(
            ScriptedEngine(self._case.reply_s),
            ScriptedVocoder(self._recording),
            self._vad,
            on_speculation=self._drafts.append,
            end_of_turn=self._mode.model,
        )
        settings = first_settings(config, ids, patch=patch)
        return Session(self._channel, services, config, settings, ids, asyncio.get_running_loop().time)

    @property
    def _answer(self) -> str | None:
        """The response that the case is about: the first that is heard after the turn's end."""
        end = self._case.turn_end_s or 0.0
        return next((name for name, began in self._player.began.items() if began >= end), None)

    def _sound(self, frame: int) -> Samples:
        """20 ms at the microphone."""
        start = frame * _FRAME
        sound = _part(self._speech, start) + self._room[frame % len(self._room)]
        sound += self._echo.push(self._player.tick(frame * FRAME_S))
        if self._over is not None:
            self._begin_over(frame)
            if self._over_frame is not None:
                sound += _part(self._over, (frame - self._over_frame) * _FRAME)
        return np.asarray(np.clip(sound, -1.0, 1.0), np.float32)

    def _begin_over(self, frame: int) -> None:
        answer, over = self._answer, self._case.over
        if self._over_frame is None and answer is not None and over is not None:
            if frame * FRAME_S >= self._player.began[answer] + over.after_s:
                self._over_frame = frame

    def _finished(self, now: float) -> bool:
        spoken = self._case.turn_end_s
        if spoken is None:
            return now >= len(self._case.speech) / RATE + PATIENCE_S / 2
        if not self._case.floor_is_ours:
            ended = any(
                told.type == "input_audio_buffer.speech_stopped" and told.at >= spoken for told in self._channel.told
            )
            return ended or now >= spoken + PATIENCE_S
        answer = self._answer
        if answer is None:
            return now >= spoken + _NO_REPLY_S
        if self._over_frame is not None and answer in self._channel.stopped and self._over is not None:
            return now >= self._over_frame * FRAME_S + len(self._over) / OUTPUT_SAMPLE_RATE + _AFTER_S
        over = answer in self._channel.stopped or len(self._player.played[answer]) >= 2 * len(self._recording)
        return over or now >= self._player.began[answer] + 3 * self._case.reply_s


class Echo:
    """What the microphone hears of the loudspeaker: later, softer, with the walls."""

    def __init__(self, db: float | None, delay_s: float) -> None:
        taps = _ROOM_TAPS if db is None else _ROOM_TAPS * 10 ** (db / 20) / np.sqrt(np.sum(_ROOM_TAPS**2))
        self._taps = np.zeros(1) if db is None else taps
        self._delays = [round((delay_s + tap_s) * OUTPUT_SAMPLE_RATE) for tap_s in _ROOM_TAPS_S[: len(self._taps)]]
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


def _at_wire_rate(samples: Samples) -> Samples:
    resampler = Resampler(RATE, OUTPUT_SAMPLE_RATE)
    return np.concatenate((resampler.push(samples), resampler.flush()), dtype=np.float32)
