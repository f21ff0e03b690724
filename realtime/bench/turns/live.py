"""Plays one scripted conversation with a running server in real time: the same caller over a real connection."""

from __future__ import annotations

import asyncio
import time

from realtime.audio.streams import float_to_pcm16
from realtime.bench.turns.caller import FRAME_S, Observation, SimulatedCaller
from realtime.bench.turns.corpus import Case
from realtime.bench.turns.runner import Mode
from realtime.client.connection import RealtimeConnection, open_session


async def observe_live(url: str, case: Case, mode: Mode, *, api_key: str | None = None) -> Observation:
    """Play the case. The observation lacks the complete reply and the speculation, which only the server knows.

    Raises `ClientError` when no server answers or it sends an error.
    """
    async with open_session(url, api_key=api_key) as connection:
        await connection.send("session.update", session=mode.patch)
        while (await connection.receive()).type != "session.updated":
            pass
        caller, opened = SimulatedCaller(case), time.perf_counter()
        listening = asyncio.create_task(_listen(connection, caller, opened), name="listening")
        try:
            frame = 0
            while not caller.finished(frame * FRAME_S) and not listening.done():
                sound = caller.sound(frame)
                frame += 1
                await asyncio.sleep(opened + frame * FRAME_S - time.perf_counter())
                await connection.append(float_to_pcm16(sound))
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        if not listening.cancelled():
            listening.result()  # raises what ended it
        return caller.observation()


async def _listen(connection: RealtimeConnection, caller: SimulatedCaller, opened: float) -> None:
    while True:
        event = await connection.receive()
        response_id = str(event.body.get("response_id", ""))
        if event.type == "response.output_audio.delta":
            caller.take_audio(response_id, event.audio())
        else:
            caller.take_event(event.type, event.at - opened, response_id)
