"""Admission of sessions, the list of running sessions, and shutdown.

A transport takes a lease before it accepts a connection, so that a client is refused before anything starts::

    with manager.admit() as lease:           # raises CapacityError
        await websocket.accept()
        await lease.serve(channel)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from realtime.admission.queue import AdmissionQueue, QueueEntry, QueueInfo
from realtime.errors import AdmissionClosed, CapacityError, Draining, SessionEnd
from realtime.ports.channel import Channel, plays_audio
from realtime.protocol.ids import Ids, shown_session_id
from realtime.protocol.session_config import (
    AudioIn,
    AudioOut,
    SessionAudio,
    Transcription,
    TranscriptionAudio,
    TranscriptionSession,
    merge,
    merge_transcription,
)
from realtime.protocol.session_config import Session as WireSession
from realtime.session.config import SessionConfig
from realtime.session.inputs import InputQueue, Recorder
from realtime.session.journal import Memory
from realtime.session.quota import Quota
from realtime.session.recording import Opening, RecordedChannel, Recording
from realtime.session.services import Services
from realtime.session.session import Session
from realtime.session.status import SessionStatus, status_of
from realtime.session.tools.tool_checks import ToolChecks

logger = logging.getLogger(__name__)


QUIET_S = 2.0
"""A draining server ends a session in which nobody has spoken and no reply was made or played for this time. People
answer each other within a second, so a conversation goes on, and a forgotten connection does not use up the grace."""

LAST_WAIT_S = 5.0
"""Limit of the wait for sessions that were told to end: their last event and the close frame may take 2 s each."""

_LOOK_S = 0.1
"""How often a draining server looks for quiet sessions."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One running session, for the operator. ``seconds``: its age. ``owner``: of whom it is
    (`realtime.transports.http.access.Caller`). ``is_call``: over WebRTC."""

    id: str
    seconds: float
    owner: str
    is_call: bool
    status: SessionStatus


class SessionManager:
    """Admission, the list of sessions, and draining."""

    def __init__(
        self,
        services: Services,
        config: SessionConfig,
        *,
        max_sessions: int,
        max_waiting: int = 0,
        record: Path | None = None,
    ) -> None:
        """``max_waiting``: clients that may wait when all sessions are taken. ``record``: the folder to record every
        session in; None: do not record."""
        self._record = record
        self._services = services
        self._config = config
        self._max_sessions = max_sessions
        self._leases: set[SessionLease] = set()
        self._queue: AdmissionQueue[SessionLease] = AdmissionQueue(max_waiting)
        self.draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """The sessions that run now."""
        return tuple(lease.info for lease in self._leases if lease.session is not None)

    def oldest(self, count: int) -> tuple[SessionLease, ...]:
        """The leases of the ``count`` sessions that run longest, the oldest first."""
        running = (lease for lease in self._leases if lease.session is not None)
        return tuple(sorted(running, key=lambda lease: lease.since)[:count])

    @property
    def running(self) -> int:
        """How many sessions run now."""
        return sum(lease.session is not None for lease in self._leases)

    @property
    def waiting(self) -> int:
        """The number of clients in the queue."""
        return len(self._queue)

    @property
    def max_sessions(self) -> int:
        """Sessions that are admitted at a time."""
        return self._max_sessions

    @property
    def queue(self) -> tuple[QueueInfo, ...]:
        """The clients that wait, the next one first."""
        return self._queue.clients

    @property
    def max_waiting(self) -> int:
        """Clients that may wait."""
        return self._queue.max_waiting

    @property
    def pending_inputs(self) -> int:
        """Inputs of all sessions that wait to be handled."""
        return sum(lease.session.pending_inputs for lease in self._leases if lease.session is not None)

    def admit(self) -> SessionLease:
        """A lease for one session, to be entered with ``with``. Raises `CapacityError` when none is free."""
        if self.draining:
            raise AdmissionClosed
        if self._queue or len(self._leases) >= self._max_sessions:
            raise CapacityError(f"The server is full: {self._max_sessions} sessions are running. Try again later.")
        return self._new_lease()

    def join_queue(self, key: str = "") -> QueueEntry[SessionLease]:
        """A queue entry, for when `admit` has no lease. Raises `CapacityError` when the queue is full too."""
        if self.draining:
            raise AdmissionClosed
        return self._queue.join(key)

    async def check_tools(self, first: WireSession | TranscriptionSession, quota: Quota) -> None:
        """Raises `ProtocolError` when no session can begin with the tools of ``first``. ``quota``: the caller's."""
        if isinstance(first, WireSession):
            await ToolChecks(self._services, quota, time.monotonic).first_settings(first)

    def find(self, call_id: str) -> SessionLease | None:
        """The lease whose session or call has this id."""
        return next((lease for lease in self._leases if lease.session is not None and lease.answers_to(call_id)), None)

    def find_shown(self, shown_id: str) -> SessionLease | None:
        """The lease whose session is shown under this id (`realtime.protocol.ids.shown_session_id`)."""
        return next((lease for lease in self._leases if lease.shown_id == shown_id), None)

    def _new_lease(self) -> SessionLease:
        lease = SessionLease(self, self._services, self._config)
        self._leases.add(lease)
        self._empty.clear()
        return lease

    @contextmanager
    def recorder(self, first: WireSession | TranscriptionSession, ids: Ids, channel: Channel) -> Iterator[Recorder]:
        """A recorder for the inputs of the session ``first``: a folder, or the latest inputs in memory."""
        if self._record is None:
            yield Memory()
            return
        try:
            recording = Recording.in_folder(self._record, first.id)
        except OSError as error:
            logger.error("session %s is not recorded: %s", first.id, error)
            yield Memory()
            return
        try:
            recording.begin(Opening(time.monotonic(), first, self._config, self._services, ids, plays_audio(channel)))
            yield recording
        finally:
            recording.close()

    async def drain(self, grace_s: float = 0.0) -> None:
        """Stop admission, let sessions continue for at most ``grace_s`` seconds, then end them.

        A session that has been quiet for `QUIET_S` ends before. Returns when all have ended, at the latest
        `LAST_WAIT_S` after the grace: a session whose peer reads nothing does not hold the server."""
        self.draining = True
        self._queue.close(AdmissionClosed())
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._end_quiet_sessions()
        for lease in self._leases:
            lease.end_session()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WAIT_S):
                await self._empty.wait()
        if self._leases:
            logger.error("%d sessions did not end within %g s and are left", len(self._leases), LAST_WAIT_S)

    async def _end_quiet_sessions(self) -> None:
        """Returns when no session is left."""
        while self._leases:
            for lease in self._leases:
                lease.end_quiet_session()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._empty.wait()

    def leave(self, lease: SessionLease) -> None:
        """Return a lease; called by its ``with``. The first client in the queue gets a new one."""
        self._leases.discard(lease)
        if self._queue and not self.draining:
            self._queue.assign(self._new_lease())
        if not self._leases:
            self._empty.set()


class SessionLease(AbstractContextManager["SessionLease"]):
    """The right to run one session."""

    def __init__(self, manager: SessionManager, services: Services, config: SessionConfig) -> None:
        self.session: Session | None = None
        self.owner = ""
        self.secret_id = ""
        self.call_id: str | None = None
        self._manager = manager
        self._services = services
        self._config = config
        self.since = time.monotonic()
        self._ended = False
        self._quiet_since: float | None = None

    @property
    def info(self) -> SessionInfo:
        """The state of the session; only while one runs."""
        assert self.session is not None
        now = time.monotonic()
        is_call = self.call_id is not None
        return SessionInfo(self.session.id, now - self.since, self.owner, is_call, status_of(self.session, now))

    @property
    def shown_id(self) -> str | None:
        """As logs and operators see the session; None while none runs."""
        return None if self.session is None else shown_session_id(self.session.id)

    async def serve(
        self,
        channel: Channel,
        *,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        ids: Ids | None = None,
        owner: str = "",
        secret_id: str = "",
        quota: Quota | None = None,
        call_id: str | None = None,
    ) -> None:
        """Run a session over ``channel`` to its end.

        ``model``: the name that the client requested, echoed unchanged. ``settings``: an initial patch of the session
        object, as in `session.update`; raises `ProtocolError` when it is invalid. Only here can it select a
        transcription session: ``{"type": "transcription"}``. ``ids``: shared with the transport, which numbers the
        events. ``owner``: who may attach to the session. ``secret_id``: of the client secret that opened it, whose
        holder may end it. ``quota``: the caller's quota. ``call_id``: an additional id for `SessionManager.find`.
        """
        ids = ids or Ids()
        first = first_settings(self._config, ids, model=model, patch=settings)
        self.owner, self.secret_id, self.call_id = owner, secret_id, call_id
        with self._manager.recorder(first, ids, channel) as recorder:
            if isinstance(recorder, Recording):
                channel = RecordedChannel(channel, recorder)
            inputs = InputQueue(recorder=recorder)
            self.session = Session(channel, self._services, self._config, first, ids, inputs, quota)
            if self._manager.draining:
                self.end_session()
            try:
                await self.session.run()
            finally:
                self.session = None

    def answers_to(self, call_id: str) -> bool:
        """Whether ``call_id`` is the id of the session or of its call."""
        return self.session is not None and call_id in (self.session.id, self.call_id)

    def end_session(self, reason: SessionEnd | None = None) -> None:
        """End the session; None: because the server shuts down. More than once is harmless."""
        if self.session is not None and not self._ended:
            self._ended = True
            self.session.end(reason or Draining("The server is shutting down. Connect again."))

    def end_quiet_session(self) -> None:
        """End the session if it has been quiet at each call of the last `QUIET_S` seconds."""
        now = asyncio.get_running_loop().time()
        if self.session is None or self.session.busy:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= QUIET_S:
            self.end_session()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager.leave(self)


def first_settings(
    config: SessionConfig, ids: Ids, *, model: str | None = None, patch: Mapping[str, Any] | None = None
) -> WireSession | TranscriptionSession:
    """The initial session object: the defaults with ``patch`` applied. Raises `ProtocolError`."""
    if patch and patch.get("type") == "transcription":
        return merge_transcription(_first_transcription(config, ids, model), patch)
    first = WireSession(
        id=ids.session(),
        model=model or config.model,
        expires_at=int(config.wall_clock() + config.limits.session_s),
        instructions=config.instructions,
        audio=SessionAudio(output=AudioOut(voice=config.voice)),
    )
    return merge(first, patch) if patch else first


def _first_transcription(config: SessionConfig, ids: Ids, model: str | None) -> TranscriptionSession:
    listening = AudioIn(transcription=Transcription(model=model or config.model))
    return TranscriptionSession(
        id=ids.session(),
        expires_at=int(config.wall_clock() + config.limits.session_s),
        audio=TranscriptionAudio(input=listening),
    )
