"""One scripted conversation with a real session in virtual time.

Only model and network are not real: `script`, and a channel on which nothing takes time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime.admission.manager import first_settings
from realtime.audio.streams import float_to_pcm16
from realtime.bench import virtual_time
from realtime.bench.scripted_model import ScriptedEngine, ScriptedVocoder
from realtime.bench.turns.caller import FRAME_S, WIRE_RATE, Caller, Observation, at_wire_rate
from realtime.bench.turns.corpus import Case
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

_MODEL_S = 0.05  # what the end-of-turn model takes


@dataclass(frozen=True, slots=True)
class Mode:
    """How turns are taken. ``detection``: the session's ``turn_detection``."""

    name: str
    detection: Mapping[str, Any]
    model: EndOfTurnModel | None = field(default=None, repr=False)

    @property
    def patch(self) -> dict[str, Any]:
        """Of the session object."""
        return {"type": "realtime", "audio": {"input": {"turn_detection": dict(self.detection)}}}


def observe(case: Case, mode: Mode, vad: VoiceModel) -> Observation:
    """Play the case. Deterministic, and as fast as the machine can."""
    return virtual_time.run(_play(case, mode, vad), thread_s=_MODEL_S)


async def _play(case: Case, mode: Mode, vad: VoiceModel) -> Observation:
    """From the opening of the microphone until nothing more can come of the case."""
    caller, drafts, now = Caller(case), list[Speculated](), asyncio.get_running_loop().time
    channel = _Channel(caller)
    recording = at_wire_rate(case.reply.samples)[: round(case.reply_s * WIRE_RATE)]
    services = Services(
        ScriptedEngine(case.reply_s, case.over.said if case.over is not None else ""),
        ScriptedVocoder(recording),
        vad,
        on_speculation=drafts.append,
        end_of_turn=mode.model,
    )
    config, ids = SessionConfig(echo_gate=True), Ids("bench")  # as `realtime serve` has it
    session = Session(channel, services, config, first_settings(config, ids, patch=mode.patch), ids, InputQueue(now))
    running = asyncio.create_task(session.run(), name="session")
    frame = 0
    while not caller.finished(frame * FRAME_S):
        sound = caller.sound(frame)
        frame += 1
        await asyncio.sleep(frame * FRAME_S - now())
        channel.put(wire.InputAudioBufferAppend(audio=float_to_pcm16(sound)))
    channel.put(None)
    await running
    return caller.observation(float_to_pcm16(recording), tuple(drafts))


class _Channel:
    """See `realtime.ports.channel.Channel`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
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
        if isinstance(event, wire.ResponseOutputAudioDelta):
            self._caller.take_audio(event.response_id, bytes(event.delta))
        elif isinstance(event, wire.Error):
            raise AssertionError(f"the session complains: {event.error.message}")
        else:
            now = asyncio.get_running_loop().time()
            self._caller.hear_of(event.type, now, getattr(event, "response_id", ""))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """The caller has gone already."""
