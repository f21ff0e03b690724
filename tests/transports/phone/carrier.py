"""A carrier in Twilio's dialect: it opens a stream, sends the caller's audio in real time, plays what it is given and
echoes marks when they were played or cleared."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.transports.phone.dialects import MULAW_8K
from realtime.transports.phone.line_audio import silence

FRAME = 160
"""Bytes of 20 ms."""


class Carrier:
    """One call. ``heard``: the audio that was played to the caller, without what was cleared."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.clears = 0
        self.marks: list[str] = []
        self.received = bytearray()
        self.played_at_clear: list[float] = []
        self._ends_at = 0.0
        self._echoes: dict[str, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> float:
        """Seconds that wait to be played."""
        return max(0.0, self._ends_at - self._loop.time())

    async def start(self, parameters: Mapping[str, str] | None = None) -> None:
        await self.send(event="connected", protocol="Call", version="1.0.0")
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": "8000", "channels": "1"}
        details = {"streamSid": "MZ1", "callSid": "CA1", "mediaFormat": media_format}
        await self.send(event="start", streamSid="MZ1", start={**details, "customParameters": dict(parameters or {})})

    async def send(self, **fields: Any) -> None:
        await self.ws.send(json.dumps(fields))

    async def say(self, audio: bytes, *, real_time: bool = True) -> None:
        """Audio of the caller, in pieces of 20 ms."""
        due = self._loop.time()
        for start in range(0, len(audio), FRAME):
            piece = audio[start : start + FRAME].ljust(FRAME, b"\xff")
            media = {"track": "inbound", "payload": base64.b64encode(piece).decode()}
            await self.send(event="media", streamSid="MZ1", media=media)
            due += 0.02
            if real_time:
                await asyncio.sleep(max(0.0, due - self._loop.time()))

    async def be_silent(self, seconds: float, *, real_time: bool = True) -> None:
        await self.say(silence(MULAW_8K, round(seconds * 50) * FRAME), real_time=real_time)

    async def until(self, condition: Any, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    async def listen(self) -> None:
        """Until the connection ends."""
        with suppress(ConnectionClosed):
            async for message in self.ws:
                self._take(json.loads(message))
                self._changed.set()

    def _take(self, message: dict[str, Any]) -> None:
        assert message["streamSid"] == "MZ1"
        now = self._loop.time()
        match message["event"]:
            case "media":
                audio = base64.b64decode(message["media"]["payload"], validate=True)
                assert len(audio) % FRAME == 0
                self.received += audio
                self._ends_at = max(now, self._ends_at) + len(audio) / 8000
            case "mark":
                name = message["mark"]["name"]
                self.marks.append(name)
                self._echoes[name] = self._loop.call_at(max(now, self._ends_at), self._echo, name)
            case "clear":
                self.clears += 1
                self.played_at_clear.append(len(self.received) / 8000 - self.queued)
                self._ends_at = now
                for name in list(self._echoes):
                    self._echoes[name].cancel()
                    self._echo(name)

    def _echo(self, name: str) -> None:
        self._echoes.pop(name, None)
        task = asyncio.create_task(self._send_mark(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_mark(self, name: str) -> None:
        with suppress(ConnectionClosed):
            await self.send(event="mark", streamSid="MZ1", mark={"name": name})


@asynccontextmanager
async def calling(url: str, parameters: Mapping[str, str] | None = None, **options: Any) -> AsyncIterator[Carrier]:
    """A call whose stream has started."""
    async with connect(url, **options) as ws:
        carrier = Carrier(ws)
        listening = asyncio.create_task(carrier.listen())
        await carrier.start(parameters)
        try:
            yield carrier
        finally:
            await ws.close()
            await listening


async def attached(url: str, **headers: str) -> ClientConnection:
    """A second connection to the call, as soon as its session runs."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await connect(f"{url}?call_id=CA1", additional_headers=headers)
            except InvalidStatus:
                await asyncio.sleep(0.02)
