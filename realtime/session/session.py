"""One caller's session: its tasks, its input queue, and its end.

Tasks put inputs into one queue (`realtime.session.inputs`): the receiver, the sender, and those of outside work. One
loop handles them, so nothing else changes the session's state. The rules are elsewhere: `client_events`,
`speech_events` and `floor` (with the table in `realtime.turns`), over the `parts`.

A session that only transcribes (`TranscriptionSession`) is the same with turns that are never answered.

A peer's fault becomes an `error` event and the session lives; the server's ends it, logged with its traceback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from realtime.errors import ChannelClosed, SessionEnd, SessionExpired, SessionFault, forget_frames
from realtime.ports.channel import AudioHeard, AudioPlayed, Channel, Inbound, PlaybackChanged
from realtime.protocol import events as wire
from realtime.protocol.codec import error_event
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import Ids
from realtime.protocol.session_config import Session as WireSession
from realtime.session.client_events import ClientEvents
from realtime.session.config import SessionConfig
from realtime.session.environment import Environment
from realtime.session.floor import FloorControl
from realtime.session.inputs import (
    CALLER,
    AudioReceived,
    ClientEventReceived,
    Ending,
    EventSent,
    Input,
    InputQueue,
    MessageRefused,
    TimerExpired,
    WorkEnded,
    WorkProgress,
)
from realtime.session.parts import Parts, build_parts
from realtime.session.quota import Quota
from realtime.session.services import Services
from realtime.session.settings import AnySession
from realtime.session.sideband import SharedChannel, Sideband
from realtime.session.speech_events import SpeechEvents
from realtime.turns.floor import Floor

_SLICE_BYTES = 4800
"""Audio is handled in slices of this size (100 ms at 24 kHz), so that a client that sends minutes at once does not hold
up other callers."""


class Session:
    """One caller. `run` it to its end; `end` makes that come."""

    def __init__(
        self,
        channel: Channel,
        services: Services,
        config: SessionConfig,
        settings: AnySession,
        ids: Ids,
        inputs: InputQueue | None = None,
        quota: Quota | None = None,
    ) -> None:
        """``settings``: the session object to begin with; its id is the session's name everywhere. ``quota``: what the
        caller may use; None: as much as it likes."""
        self.id = settings.id
        self._inputs = inputs or InputQueue()
        self._channel = SharedChannel(channel)
        self._tasks = _Tasks(self.id)
        self._env = Environment.of(self.id, services, config, ids, quota or Quota(), self._inputs, self._tasks.start)
        self._parts = build_parts(self._env, self._channel, settings)
        self._floor = FloorControl(self._parts)
        self._speech = SpeechEvents(self._parts, self._floor)
        self._events = ClientEvents(self._parts, self._floor)
        self._sidebands: dict[int, Sideband] = {}
        self._sources = CALLER

    @property
    def settings(self) -> AnySession:
        """The session object in force."""
        return self._parts.settings.current

    @property
    def parts(self) -> Parts:
        """What it is made of."""
        return self._parts

    @property
    def floor(self) -> Floor:
        """Who has the floor now."""
        return self._floor.floor

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, a reply, transcript or tool call is under way, or speech is still being played."""
        parts = self._parts
        recording = not parts.settings.detects_turns and parts.audio_input.uncommitted_ms > 0
        speaking = self.floor is not Floor.NOBODY or parts.playout.remaining(self._inputs.clock()) > 0
        working = self._env.work.any or parts.transcriber.any or self._inputs.depth > 0
        return recording or speaking or working

    @property
    def pending_inputs(self) -> int:
        """How many inputs wait to be handled."""
        return self._inputs.depth

    @property
    def side_connections(self) -> int:
        """Connections beside the caller's own."""
        return self._channel.attached

    def end(self, reason: SessionEnd) -> None:
        """Let the session end soon; the peer is told."""
        self._inputs.put(Ending(reason))

    async def attach(self, channel: Channel, *, audio: bool = False, read_only: bool = False) -> None:
        """Serve a second connection to this session to its end; ``audio``: the replies' speech goes there, too.
        ``read_only``: it may send nothing.

        Raises `CapacityError` when it has enough of them.
        """
        self._sources += 1
        source = self._sources
        sideband = Sideband(channel, self._env.config.limits, self._inputs, source, audio=audio, read_only=read_only)
        self._sidebands[source] = sideband
        sideband.tell(wire.SessionCreated(session=self.settings))
        self._env.log.info("a side connection was attached%s", ", which only reads" if read_only else "")
        try:
            await self._channel.attach(sideband)
        finally:
            del self._sidebands[source]

    async def run(self) -> None:
        """From `session.created` until the channel closes. Leaves no task, no engine conversation and no stream, and
        no cycle of references: the session is freed with the last reference to it."""
        began = self._inputs.clock()
        self._env.log.info("opened")
        self._parts.outbox.put(wire.SessionCreated(session=self.settings))
        self._parts.outbox.flush()
        ending: SessionEnd = ChannelClosed("the session was cancelled")
        try:
            ending = await self._run_tasks()
        except asyncio.CancelledError as cancelled:
            forget_frames(cancelled)
            raise
        finally:
            self._stop()
            await self._say_farewell(ending)
            self._log_end(ending, self._inputs.clock() - began)

    async def _run_tasks(self) -> SessionEnd:
        """Handle inputs until the session ends; why it did."""
        ending: SessionEnd = SessionFault("The server failed. Connect again.")
        try:
            async with self._tasks.group:
                self._tasks.start(self._send(), "sender")
                self._tasks.start(self._receive(), "receiver")
                self._begin()
                await self._inputs.run(self._handle)
        except* SessionEnd as ends:
            ending = next(_leaves(ends))
            forget_frames(ends)
        except* Exception as faults:  # the session's border: others must not suffer from what fails here
            self._env.log.error("failed after these inputs:\n%s", "\n".join(self._inputs.last(30)), exc_info=faults)
            forget_frames(faults)
        return ending

    # Tasks: they only put inputs into the queue

    async def _receive(self) -> None:
        while True:
            try:
                event = await self._channel.receive()
            except ProtocolError as error:
                forget_frames(error)
                await self._inputs.offer(MessageRefused(error))
            except SessionEnd as reason:
                forget_frames(reason)
                self._inputs.put(Ending(reason))
                return
            else:
                await self._offer(event)

    async def _offer(self, event: Inbound) -> None:
        if isinstance(event, AudioHeard | AudioPlayed | PlaybackChanged):
            await self._inputs.offer(event)
        elif isinstance(event, wire.InputAudioBufferAppend):
            for start in range(0, len(event.audio), _SLICE_BYTES):
                await self._inputs.offer(AudioReceived(event.audio[start : start + _SLICE_BYTES]))
        else:
            await self._inputs.offer(ClientEventReceived(event))

    async def _send(self) -> None:
        try:
            await self._parts.outbox.run()
        except SessionEnd as reason:
            forget_frames(reason)
            self._inputs.put(Ending(reason))

    # The one loop

    def _begin(self) -> None:
        self._parts.timeline.begin()
        limit = self._env.config.limits.session_s
        text = f"The session has lasted {limit:g} s, the longest allowed. Open another."
        self._env.timers.after(limit, lambda: self.end(SessionExpired(text)))
        if isinstance(self.settings, WireSession):
            self._parts.tools.configure(self.settings)

    async def _handle(self, input: Input) -> None:
        await self._dispatch(input)
        self._inputs.run_deferred()
        self._speech.watch()
        self._parts.outbox.flush()

    async def _dispatch(self, input: Input) -> None:
        match input:
            case AudioReceived(data):
                self._speech.hear(data)
            case AudioHeard(samples):
                self._speech.hear_samples(samples)
            case ClientEventReceived(event, source):
                try:
                    await self._events.handle(event)
                except ProtocolError as error:
                    self._refuse(error, source, event.event_id)
            case MessageRefused(error, source):
                self._refuse(error, source, error.event_id)
            case AudioPlayed(item_id, samples):
                self._parts.playout.played(item_id, samples, self._inputs.now())
            case PlaybackChanged(response_id, playing):
                started, stopped = wire.OutputAudioBufferStarted, wire.OutputAudioBufferStopped
                self._parts.outbox.put((started if playing else stopped)(response_id=response_id))
            case EventSent(number):
                self._parts.outbox.sent(number)
            case TimerExpired():
                self._env.timers.expired(input)
            case WorkProgress():
                self._env.work.progressed(input)
            case WorkEnded():
                self._env.work.finished(input)
            case Ending(reason):
                raise reason

    def _refuse(self, error: ProtocolError, source: int, event_id: str | None) -> None:
        """Send the error to the connection that caused it, if it is still there."""
        self._env.errors.add(error.code, self._inputs.now())
        if source == CALLER:
            self._parts.outbox.put(error_event(error, event_id))
        elif (sideband := self._sidebands.get(source)) is not None:
            sideband.tell(error_event(error, event_id))

    # The end

    def _stop(self) -> None:
        parts = self._parts
        parts.speculator.drop()
        parts.replies.stop()
        parts.transcriber.stop()
        parts.backchannels.drop()
        parts.outbox.close()
        self._floor.stop()
        self._env.work.stop()
        self._env.timers.stop()
        self._env.conversation.close()

    async def _say_farewell(self, ending: SessionEnd) -> None:
        try:
            async with asyncio.timeout(self._env.config.limits.farewell_s):
                if not ending.silent:
                    details = wire.ErrorDetails(type=ending.type, code=ending.code, message=str(ending))
                    await self._channel.send(wire.Error(error=details))
        except (TimeoutError, ChannelClosed):
            self._env.log.debug("the peer did not take the last event")
        await self._channel.close(ending.close_code, ending.code)

    def _log_end(self, ending: SessionEnd, duration_s: float) -> None:
        """One line for the call."""
        replies, turns = self._parts.replies.figures, self._parts.items.user_turns
        fields = {
            "duration_s": round(duration_s, 1),
            "turns": turns,
            "replies": replies.replies,
            "first_audio_p50_ms": replies.first_audio_ms,
            "late_chunks": replies.late_chunks,
            "close_code": ending.close_code,
            "reason": ending.code,
        }
        figures = " ".join(f"{name}={value}" for name, value in fields.items())
        self._env.log.info("closed: %s: %s", ending, figures, extra={"fields": fields})


class _Tasks:
    """The tasks of one session."""

    def __init__(self, session_id: str) -> None:
        self.group = asyncio.TaskGroup()
        self._session_id = session_id

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with the session."""
        return self.group.create_task(work, name=f"{self._session_id} {name}")


def _leaves(group: BaseExceptionGroup[SessionEnd]) -> Iterator[SessionEnd]:
    for exception in group.exceptions:
        if isinstance(exception, BaseExceptionGroup):
            yield from _leaves(exception)
        else:
            yield exception
