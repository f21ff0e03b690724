"""All sessions of this server: who may come in, who is there, and how they leave.

A transport asks for a seat first, so that a caller who cannot be served well is told before anything begins::

    with manager.admit() as seat:           # raises CapacityError
        await websocket.accept()
        await seat.serve(channel)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from realtime.admission.queue import AdmissionQueue, QueueEntry
from realtime.errors import CapacityError, Draining
from realtime.ports.channel import Channel
from realtime.protocol.ids import Ids
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
from realtime.session.quota import Quota
from realtime.session.services import Services
from realtime.session.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session, for people who look after the server."""

    id: str
    seconds: float
    floor: str


class SessionManager:
    """Admission, the list of sessions, and draining."""

    def __init__(self, services: Services, config: SessionConfig, *, max_sessions: int, max_waiting: int = 0) -> None:
        """``max_waiting``: callers who may wait for a seat when all are taken."""
        self._services = services
        self._config = config
        self._max_sessions = max_sessions
        self._seats: set[SessionLease] = set()
        self._line: AdmissionQueue[SessionLease] = AdmissionQueue(max_waiting)
        self.draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """Those that run now."""
        return tuple(seat.info for seat in self._seats if seat.session is not None)

    def admit(self) -> SessionLease:
        """A place for one caller, to be entered with ``with``. Raises `CapacityError` when there is none."""
        if self.draining:
            raise CapacityError("The server is shutting down. Try again in a minute.")
        if self._line or len(self._seats) >= self._max_sessions:
            raise CapacityError(
                f"The server holds {self._max_sessions} sessions, as many as it serves. Try again later."
            )
        return self._new_seat()

    def join_queue(self) -> QueueEntry[SessionLease]:
        """A place in the line for a seat, where `admit` has none. Raises `CapacityError` when that is full as well."""
        if self.draining:
            raise CapacityError("The server is shutting down. Try again in a minute.")
        return self._line.join()

    def find(self, call_id: str) -> SessionLease | None:
        """The seat whose session, or whose call, has this id."""
        return next((seat for seat in self._seats if seat.session is not None and seat.answers_to(call_id)), None)

    def _new_seat(self) -> SessionLease:
        seat = SessionLease(self, self._services, self._config)
        self._seats.add(seat)
        self._empty.clear()
        return seat

    async def drain(self, grace_s: float = 0.0) -> None:
        """Admit nobody any more, let the sessions go on for ``grace_s``, then end them; returns when all are gone."""
        self.draining = True
        self._line.dissolve(CapacityError("The server is shutting down. Try again in a minute."))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        for seat in self._seats:
            seat.end_session()
        await self._empty.wait()

    def leave(self, seat: SessionLease) -> None:
        """Give a seat back; done by its ``with``."""
        self._seats.discard(seat)
        if self._line and not self.draining:
            self._line.call(self._new_seat())
        if not self._seats:
            self._empty.set()


class SessionLease(AbstractContextManager["SessionLease"]):
    """A place for one session."""

    def __init__(self, manager: SessionManager, services: Services, config: SessionConfig) -> None:
        self.session: Session | None = None
        self.owner = ""
        self.call_id: str | None = None
        self._manager = manager
        self._services = services
        self._config = config
        self._since = time.monotonic()

    @property
    def info(self) -> SessionInfo:
        """As it is now; only while a session runs here."""
        assert self.session is not None
        return SessionInfo(self.session.id, time.monotonic() - self._since, self.session.floor.value)

    async def serve(
        self,
        channel: Channel,
        *,
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
        ids: Ids | None = None,
        owner: str = "",
        quota: Quota | None = None,
        call_id: str | None = None,
    ) -> None:
        """Run a session over ``channel`` to its end.

        ``model``: the name that the client asked for, echoed whatever it is. ``settings``: a patch of the
        session object to begin with, as in `session.update`; raises `ProtocolError` when it is wrong. Only here can
        it ask for a session that transcribes: ``{"type": "transcription"}``.
        ``ids``: shared with the transport, which numbers the events. ``owner``: who may attach to it. ``quota``: what
        the caller may use. ``call_id``: another name by which `SessionManager.find` finds it.
        """
        ids = ids or Ids()
        first = first_settings(self._config, ids, model=model, patch=settings)
        self.owner, self.call_id = owner, call_id
        self.session = Session(channel, self._services, self._config, first, ids, quota=quota)
        if self._manager.draining:
            self.end_session()
        try:
            await self.session.run()
        finally:
            self.session = None

    def answers_to(self, call_id: str) -> bool:
        return self.session is not None and call_id in (self.session.id, self.call_id)

    def end_session(self) -> None:
        """The server shuts down: let the session that runs here end."""
        if self.session is not None:
            self.session.end(Draining("The server is shutting down. Connect again."))

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
    """The session object to begin with: the defaults, and a ``patch`` over them. Raises `ProtocolError`."""
    if patch and patch.get("type") == "transcription":
        return merge_transcription(_first_transcription(config, ids, model), patch)
    first = WireSession(
        id=ids.session(),
        model=model or config.model,
        expires_at=int(time.time() + config.limits.session_s),
        instructions=config.instructions,
        audio=SessionAudio(output=AudioOut(voice=config.voice)),
    )
    return merge(first, patch) if patch else first


def _first_transcription(config: SessionConfig, ids: Ids, model: str | None) -> TranscriptionSession:
    listening = AudioIn(transcription=Transcription(model=model or config.model))
    return TranscriptionSession(
        id=ids.session(),
        expires_at=int(time.time() + config.limits.session_s),
        audio=TranscriptionAudio(input=listening),
    )
