"""Plays one scripted conversation with a real session in virtual time.

Everything is real but the model (`scripted_model`) and the network: the channel delivers at once.
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
from realtime.bench.turns.caller import FRAME_S, WIRE_RATE, Observation, SimulatedCaller, at_wire_rate
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


def observe(case: Case, mode: Mode, vad: VoiceModel) -> Observation:
    """Play the case in virtual time; the same case and mode give the same observation."""
    return virtual_time.run(_play(case, mode, vad), thread_s=_MODEL_S)


async def _play(case: Case, mode: Mode, vad: VoiceModel) -> Observation:
    """Plays until the case is finished, then closes the channel."""
    caller, speculations, now = SimulatedCaller(case), list[Speculated](), asyncio.get_running_loop().time
    channel = _Channel(caller)
    recording = at_wire_rate(case.reply.samples)[: round(case.reply_s * WIRE_RATE)]
    services = Services(
        ScriptedEngine(case.reply_s, case.overlap.transcript if case.overlap is not None else ""),
        ScriptedVocoder(recording),
        vad,
        on_speculation=speculations.append,
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
    return caller.observation(float_to_pcm16(recording), tuple(speculations))


class _Channel:
    """See `realtime.ports.channel.Channel`."""

    def __init__(self, caller: SimulatedCaller) -> None:
        self._caller = caller
        self._inbound: asyncio.Queue[Inbound | None] = asyncio.Queue()

    def put(self, event: Inbound | None) -> None:
        """None closes the channel, as a caller who hangs up."""
        self._inbound.put_nowait(event)

    async def receive(self) -> Inbound:
        event = await self._inbound.get()
        if event is None:
            raise ChannelClosed("the simulated caller hung up")
        return event

    async def send(self, event: wire.ServerEvent) -> None:
        if isinstance(event, wire.ResponseOutputAudioDelta):
            self._caller.take_audio(event.response_id, bytes(event.delta))
        elif isinstance(event, wire.Error):
            raise AssertionError(f"unexpected error event: {event.error.message}")
        else:
            now = asyncio.get_running_loop().time()
            self._caller.take_event(event.type, now, getattr(event, "response_id", ""))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """The caller has already closed it."""
