"""A second connection to a running session: it receives the session's events and may send all client events but audio.

The operator's page attaches one that only reads (`read_only`): it sends nothing, and does not count among those of the
session's owner.

A back end attaches one to a session that a page or a phone has opened, to watch it, to answer its tool calls or to
change its instructions. It gets no audio unless it asks for it. It has an outbox of its own: a connection that does not
read is closed, and the session goes on.
"""

from __future__ import annotations

import asyncio

from realtime.errors import CapacityError, ChannelClosed, SessionEnd
from realtime.ports.channel import AudioHeard, AudioPlayed, Channel, Inbound, PlaybackChanged, plays_audio
from realtime.protocol import events as wire
from realtime.protocol.codec import error_event
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import shown_session_id
from realtime.session.config import SessionLimits
from realtime.session.inputs import ClientEventReceived, InputQueue
from realtime.session.outbox import Outbox

MAX_SIDEBANDS = 4
"""Of one session; as many again that only read."""


class Sideband:
    """One such connection. `run` it; `tell` it what the caller is told; `end` it with the session."""

    def __init__(
        self,
        channel: Channel,
        limits: SessionLimits,
        inputs: InputQueue,
        source: int,
        *,
        audio: bool,
        read_only: bool = False,
    ) -> None:
        """``source``: its number among the connections of the session. ``read_only``: its events are refused."""
        self.read_only = read_only
        self._channel = channel
        self._limits = limits
        self._inputs = inputs
        self._source = source
        self._audio = audio
        self.outbox = Outbox(channel, limits)
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def tell(self, event: wire.ServerEvent) -> None:
        if self.read_only:
            event = _without_id(event)
        if self._audio or not isinstance(event, wire.ResponseOutputAudioDelta):
            self.outbox.put(event)
            self.outbox.flush()

    def end(self, code: int, reason: str) -> None:
        """The session has ended."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def run(self) -> None:
        """Until this connection or the session ends. Never raises but to be cancelled."""
        code, reason = 1000, ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.outbox.run(), name="sideband sender")
                group.create_task(self._receive(), name="sideband receiver")
                group.create_task(self._watch_end(), name="sideband watch")
        except* _SessionIsOver:
            code, reason = self._ending.result()
        except* SessionEnd as ends:
            first = _first(ends)
            code, reason = first.close_code, first.code
        await self._channel.close(code, reason)

    async def _receive(self) -> None:
        while True:
            try:
                await self._take(await self._channel.receive())
            except ProtocolError as error:
                self.outbox.put(error_event(error))
                self.outbox.flush()

    async def _take(self, event: Inbound) -> None:
        if isinstance(event, AudioHeard | AudioPlayed | PlaybackChanged):
            return
        if self.read_only:
            message = "This connection only reads the session's events. Attach by call_id to send some."
            raise ProtocolError("invalid_value", message, param="type", event_id=event.event_id)
        if isinstance(event, wire.InputAudioBufferAppend):
            raise ProtocolError(
                "invalid_value",
                "A side connection (call_id) sends no audio: the caller's own connection does.",
                param="type",
                event_id=event.event_id,
            )
        await self._inputs.offer(ClientEventReceived(event, self._source))

    async def _watch_end(self) -> None:
        await asyncio.shield(self._ending)
        try:
            async with asyncio.timeout(self._limits.farewell_s):
                await self.outbox.all_taken()
        except TimeoutError:
            pass
        raise _SessionIsOver


class SharedChannel:
    """`Channel`: the caller's, and those who listen in."""

    def __init__(self, main: Channel) -> None:
        self.plays_audio = plays_audio(main)
        self._main = main
        self._sidebands: list[Sideband] = []
        self._closed: tuple[int, str] | None = None

    async def receive(self) -> Inbound:
        return await self._main.receive()

    async def send(self, event: wire.ServerEvent) -> None:
        for sideband in self._sidebands:
            sideband.tell(event)
        await self._main.send(event)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self._closed = (code, reason)
        for sideband in self._sidebands:
            sideband.end(code, reason)
        await self._main.close(code, reason)

    @property
    def attached(self) -> int:
        """Connections beside the caller's."""
        return len(self._sidebands)

    async def attach(self, sideband: Sideband) -> None:
        """Serve one more to its end. Raises `CapacityError`."""
        alike = sum(other.read_only == sideband.read_only for other in self._sidebands)
        if alike >= MAX_SIDEBANDS:
            raise CapacityError(f"The session has {MAX_SIDEBANDS} side connections, the most allowed. Close one.")
        self._sidebands.append(sideband)
        if self._closed is not None:
            sideband.end(*self._closed)
        try:
            await sideband.run()
        finally:
            self._sidebands.remove(sideband)


def _without_id(event: wire.ServerEvent) -> wire.ServerEvent:
    """The event with the beginning of the session's id: on a server without keys the whole id lets anybody attach."""
    if not isinstance(event, wire.SessionCreated | wire.SessionUpdated):
        return event
    session = event.session.model_copy(update={"id": shown_session_id(event.session.id)})
    return event.model_copy(update={"session": session})


class _SessionIsOver(Exception):
    """Ends the tasks of a sideband."""


def _first(group: BaseExceptionGroup[SessionEnd]) -> SessionEnd:
    """One of the reasons for the end."""
    for exception in group.exceptions:
        return _first(exception) if isinstance(exception, BaseExceptionGroup) else exception
    return ChannelClosed("the peer is gone")
