"""Plays one scripted conversation with a real session in virtual time.

Everything is real but the model (`scripted_model`) and the network (`path`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime.admission.manager import first_settings
from realtime.audio.streams import float_to_pcm16
from realtime.bench import virtual_time
from realtime.bench.scripted_model import ScriptedEngine, ScriptedVocoder
from realtime.bench.turns.caller import FRAME_S, WIRE_RATE, Observation, SimulatedCaller, at_wire_rate
from realtime.bench.turns.corpus import Case
from realtime.bench.turns.path import DIRECT, Path, PathConfig
from realtime.errors import ChannelClosed
from realtime.metrics import Speculated
from realtime.ports.channel import Inbound
from realtime.protocol import events as wire
from realtime.protocol.ids import Ids
from realtime.session.config import SessionConfig
from realtime.session.inputs import InputQueue
from realtime.session.services import Services
from realtime.session.session import Session
from realtime.turns.smart_turn import EndOfTurnModel
from realtime.turns.vad import VoiceModel

_MODEL_S = 0.05  # time charged for one run of the end-of-turn model, which works in a thread


@dataclass(frozen=True, slots=True)
class Mode:
    """Settings to compare. ``detection``: the session's ``turn_detection``; ``model``: the end-of-turn model, if
    any."""

    name: str
    detection: Mapping[str, Any]
    model: EndOfTurnModel | None = field(default=None, repr=False)

    @property
    def patch(self) -> dict[str, Any]:
        """The patch for `session.update`."""
        return {"type": "realtime", "audio": {"input": {"turn_detection": dict(self.detection)}}}


def observe(case: Case, mode: Mode, vad: VoiceModel, path: PathConfig = DIRECT, seed: int = 0) -> Observation:
    """Play the case in virtual time; the same arguments give the same observation. ``seed``: of the path."""
    return virtual_time.run(_play(case, mode, vad, Path(path, seed)), thread_s=_MODEL_S)


async def _play(case: Case, mode: Mode, vad: VoiceModel, path: Path) -> Observation:
    """Plays until the case is finished, then closes the channel."""
    loop = asyncio.get_running_loop()
    caller, speculations = SimulatedCaller(case), list[Speculated]()
    channel = _Channel(caller, path)
    recording = at_wire_rate(case.reply.samples)[: round(case.reply_s * WIRE_RATE)]
    services = Services(
        ScriptedEngine(case.reply_s, case.overlap.transcript if case.overlap is not None else ""),
        ScriptedVocoder(recording),
        vad,
        on_speculation=speculations.append,
        end_of_turn=mode.model,
    )
    config, ids = SessionConfig(echo_gate=True), Ids("bench")  # as `realtime serve` has it
    queue = InputQueue(loop.time)
    session = Session(channel, services, config, first_settings(config, ids, patch=mode.patch), ids, queue)
    running = asyncio.create_task(session.run(), name="session")
    frame = 0
    while not caller.finished(frame * FRAME_S):
        channel.deliver(frame * FRAME_S)
        sound = caller.sound(frame)
        frame += 1
        await asyncio.sleep(frame * FRAME_S - loop.time())
        channel.put_at(path.up(frame * FRAME_S), wire.InputAudioBufferAppend(audio=float_to_pcm16(sound)))
    channel.put(None)
    await running
    return caller.observation(float_to_pcm16(recording), tuple(speculations))


class _Channel:
    """See `realtime.ports.channel.Channel`."""

    def __init__(self, caller: SimulatedCaller, path: Path) -> None:
        self._caller = caller
        self._path = path
        self._inbound: asyncio.Queue[Inbound | None] = asyncio.Queue()
        self._late: deque[Inbound] = deque()  # on their way to the server
        self._outbound: deque[tuple[float, wire.ServerEvent]] = deque()  # on their way to the caller

    def put(self, event: Inbound | None) -> None:
        """None closes the channel, as a caller who hangs up."""
        self._inbound.put_nowait(event)

    def put_at(self, at: float, event: Inbound) -> None:
        """As `put`, when that time has come."""
        self._late.append(event)
        loop = asyncio.get_running_loop()
        if at <= loop.time():
            self._put_next()
        else:
            loop.call_at(at, self._put_next)

    def deliver(self, now: float) -> None:
        """Give the caller what has arrived there."""
        while self._outbound and self._outbound[0][0] <= now:
            at, event = self._outbound.popleft()
            if isinstance(event, wire.ResponseOutputAudioDelta):
                self._caller.take_audio(event.response_id, bytes(event.delta))
            else:
                self._caller.take_event(event.type, at, getattr(event, "response_id", ""))

    async def receive(self) -> Inbound:
        event = await self._inbound.get()
        if event is None:
            raise ChannelClosed("the simulated caller hung up")
        return event

    async def send(self, event: wire.ServerEvent) -> None:
        if isinstance(event, wire.Error):
            raise AssertionError(f"unexpected error event: {event.error.message}")
        loop = asyncio.get_running_loop()
        self._outbound.append((self._path.down(loop.time()), event))
        response_id = event.response_id if isinstance(event, wire.ResponseOutputAudioDelta) else None
        if isinstance(loop, virtual_time.VirtualLoop):
            loop.stall(self._path.server_stall(loop.time(), response_id))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """The caller has already closed it."""

    def _put_next(self) -> None:
        self.put(self._late.popleft())
