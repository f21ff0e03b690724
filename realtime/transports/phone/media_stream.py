"""A carrier's or PBX's media stream over a WebSocket as a `CallLink`.

The far end queues our speech and plays it. At most about a second is sent ahead, so that a clear takes effect at once
also where it is slow, and its marks tell what was heard.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from realtime.audio.streams import AudioReader, Samples
from realtime.errors import ChannelClosed, PeerError, log_text
from realtime.ports.channel import DigitPressed, Report
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.transports.inbox import Inbox
from realtime.transports.phone.buffered import BufferedPlayout
from realtime.transports.phone.dialects import Dialect
from realtime.transports.phone.line_audio import ChunkOrder, LineWriter
from realtime.transports.phone.messages import (
    Clear,
    Command,
    Digit,
    HangUp,
    Mark,
    Marked,
    Media,
    Message,
    Play,
    Started,
    Stopped,
    wrong,
)
from realtime.transports.websocket.channel import CLOSE_SECONDS
from realtime.transports.websocket.rate_limit import RateLimiter

logger = logging.getLogger(__name__)

TICK_S = 0.02
"""How often speech is sent and what was heard is looked at while some is played."""
MAX_MESSAGE = 256 * 1024
"""Characters or bytes; 20 ms of audio have less than 2000."""
MAX_WAITING = 50
"""Reports that wait for the session; beyond that nothing more is read."""
START_SECONDS = 10.0
"""Limit of the time until the stream's start is told: vendors do so at once."""
WRONG_MESSAGE = 1008
"""The close code where the far end breaks the rules; the reason says which."""


class MediaSocket:
    """The messages of one accepted WebSocket."""

    def __init__(self, websocket: WebSocket, dialect: Dialect) -> None:
        self._websocket = websocket
        self._dialect = dialect
        self._format = dialect.format
        self._pace = RateLimiter()
        self._first: deque[Message] = deque()

    def assume_rate(self, rate: int) -> None:
        """The rate where the far end names none. Raises `PeerError`."""
        self._format = self._dialect.assumed(rate)

    async def start(self) -> Started:
        """Read to the stream's start. Raises `PeerError` and `ChannelClosed`."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    for message in await self._read():
                        if isinstance(message, Started):
                            return message
                        if isinstance(message, Media) and self._dialect.binary_start:
                            self._first.append(message)
                            return Started(self._format)
                        if isinstance(message, Stopped):
                            raise ChannelClosed(message.reason)
        except TimeoutError:
            raise wrong(f"No message has started the stream within {START_SECONDS:g} s.") from None

    async def receive(self) -> tuple[Message, ...]:
        """What the next message says. Raises `PeerError` and `ChannelClosed`."""
        return (self._first.popleft(),) if self._first else await self._read()

    async def send(self, command: Command, start: Started) -> None:
        """Raises `ChannelClosed`."""
        try:
            for message in self._dialect.write(command, start):
                if isinstance(message, str):
                    await self._websocket.send_text(message)
                else:
                    await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:  # starlette raises each of them on a dead socket
            raise ChannelClosed("the far end is gone") from error

    async def close(self, code: int, reason: str) -> None:
        """Never raises."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._websocket.close(code, reason)

    async def _read(self) -> tuple[Message, ...]:
        if self._websocket.client_state is not WebSocketState.CONNECTED:
            raise ChannelClosed("the far end is gone")
        await self._pace.ready()
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ChannelClosed(f"the far end closed the connection (code {message.get('code')})")
        content: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
        self._pace.took(len(content))
        self._pace.took_audio(len(content))
        if len(content) > MAX_MESSAGE:
            raise PeerError("message_too_long", f"A message has {len(content)} bytes, more than {MAX_MESSAGE}.")
        return self._dialect.read(content, self._format)


class MediaStreamLink:
    """`realtime.transports.phone.link.CallLink`, buffered. `run` it beside the session."""

    def __init__(self, socket: MediaSocket, dialect: Dialect, start: Started) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._dialect = dialect
        self._start = start
        self._frame_bytes = dialect.frame_bytes(start.format)
        self._reader = AudioReader(start.format, MODEL_SAMPLE_RATE)
        self._order = ChunkOrder(start.format)
        self._playout = BufferedPlayout(dialect.lead_s, marks=dialect.marks)
        self._writer = LineWriter(start.format, self._frame_bytes)
        self._commands: deque[Command] = deque()
        self._silent_until = 0.0
        self._inbox: Inbox[Report] = Inbox()
        self._room = asyncio.Event()
        self._work = asyncio.Event()
        self._over = ""
        self._end: tuple[int, str] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def run(self) -> None:
        """Begin to read and to send."""
        work = {"reader": self._read(), "sender": self._send()}
        self._tasks = [asyncio.create_task(self._until_over(one), name=f"phone {name}") for name, one in work.items()]

    # Playback

    def add(self, response_id: str, item_id: str, samples: Samples) -> None:
        self._playout.add(response_id, item_id, samples)
        self._work.set()

    def complete(self, response_id: str, now: float) -> None:
        self._playout.complete(response_id)
        self._work.set()

    def clear(self) -> None:
        self._clear_line(self._playout.clear(self._loop.time()))

    def pause(self) -> None:
        self._clear_line(self._playout.pause(self._loop.time()))

    def resume(self) -> None:
        self._playout.resume()
        self._work.set()

    def _clear_line(self, needed: bool) -> None:
        self._writer = LineWriter(self._start.format, self._frame_bytes)
        if needed:
            self._commands.append(Clear())
            self._silent_until = self._loop.time() + self._dialect.settle_s
        self._work.set()

    # CallLink

    async def receive(self) -> Report:
        report = await self._inbox.take(self.check)
        if len(self._inbox) < MAX_WAITING:
            self._room.set()
        return report

    def check(self) -> None:
        if self._over:
            raise ChannelClosed(f"the call is over: {self._over}")

    async def close(self, code: int, reason: str) -> None:
        if not self._over:
            self._over = "the session has ended"
            with suppress(ChannelClosed, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._socket.send(HangUp(), self._start)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close(*(self._end or (code, reason)))
        self._inbox.wake()

    # Tasks

    async def _until_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Until the call ends, whoever ends it."""
        try:
            await work
        except ChannelClosed as closed:
            self._finish(str(closed))
        except PeerError as error:
            logger.warning("a phone call ends: its media stream is wrong: %s", error.code)
            self._finish("the far end sent a wrong message", (WRONG_MESSAGE, close_reason(error)))
        except Exception as error:  # the task's border: no other task awaits it
            logger.exception("a phone call failed: %s", log_text(error))
            self._finish("the server failed", (1011, "internal_error"))

    def _finish(self, why: str, end: tuple[int, str] | None = None) -> None:
        self._over = self._over or why
        self._end = self._end or end
        self._inbox.wake()

    async def _read(self) -> None:
        while True:
            while len(self._inbox) >= MAX_WAITING:
                self._room.clear()
                await self._room.wait()
            for message in await self._socket.receive():
                self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case Media():
                for audio in self._order.push(message):
                    self._inbox.hear(self._reader.push(audio))
            case Digit(digit):
                self._inbox.put(DigitPressed(digit, int(time.time())))
            case Marked(name):
                self._playout.marked(name, self._loop.time())
                self._work.set()
            case Stopped(reason):
                raise ChannelClosed(reason)

    async def _send(self) -> None:
        while True:
            while self._commands:
                await self._socket.send(self._commands.popleft(), self._start)
            now = self._loop.time()
            for report in self._playout.reports(now):
                self._inbox.put(report)
            if now >= self._silent_until:
                await self._send_speech(now)
            if self._commands:
                continue
            self._work.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S if self._playout.active else None):
                    await self._work.wait()

    async def _send_speech(self, now: float) -> None:
        for piece in self._playout.pieces(now):
            writer = self._writer
            if audio := writer.push(piece.samples, ends=piece.ends):
                await self._socket.send(Play(audio), self._start)
            if self._commands:  # a clear came while this was sent: its mark is behind it
                return
            if piece.mark:
                await self._socket.send(Mark(piece.mark), self._start)


def close_reason(error: PeerError) -> str:
    """For a close frame, which takes 123 bytes."""
    return f"{error.code}: {error.message}".encode()[:123].decode(errors="ignore")
