"""What the routes need of the application."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from realtime.admission.manager import SessionLease, SessionManager
from realtime.admission.queue import QueueEntry
from realtime.ports.tools import ServerTool
from realtime.protocol.session_config import Session, TranscriptionSession
from realtime.session.config import SessionConfig
from realtime.session.quota import Quota, Quotas
from realtime.transports.http.metrics_page import ServerMetrics
from realtime.transports.webrtc.offers import OfferAnswerer


@dataclass(frozen=True, slots=True)
class Health:
    """``reason``: what the server does, or what went wrong; shown to every client. ``unwell``: a worker is stuck or
    restarts. ``workers``: of each, what `/healthz` says (`realtime.engine.supervisor.Supervisor.report`)."""

    state: Literal["loading", "ready", "unwell", "failed", "draining"]
    reason: str
    workers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Host(Protocol):
    """The application."""

    @property
    def health(self) -> Health: ...

    @property
    def model_name(self) -> str: ...

    @property
    def voices(self) -> tuple[str, ...]:
        """Names that a session may ask for, the default first; none until the model is ready."""

    @property
    def server_tools(self) -> tuple[ServerTool, ...]:
        """Tools that the server runs itself; none until the model is ready."""

    @property
    def session_config(self) -> SessionConfig | None:
        """How sessions begin; None until the model is ready."""

    @property
    def metrics(self) -> ServerMetrics: ...

    @property
    def quotas(self) -> Quotas:
        """What each key may use."""

    @property
    def waiting_s(self) -> float:
        """How long a client may wait for a session, in seconds."""

    @property
    def offers(self) -> OfferAnswerer | None:
        """Answers WebRTC offers; None where WebRTC is not installed or not enabled."""

    @property
    def handshake_s(self) -> float:
        """How long the handshake of a waiting client may take: less than clients wait for it."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Entered while the server runs: starts loading, and stops everything at the end."""

    async def drain(self, grace_s: float) -> None:
        """Admit nobody any more, let sessions go on for at most ``grace_s`` seconds and end them."""

    def admit(self) -> SessionLease:
        """A lease for one session, to be entered with ``with``. Raises `CapacityError` when there is none."""

    def join_queue(self, key: str = "") -> QueueEntry[SessionLease]:
        """An entry in the queue for one. Raises `CapacityError` when there is no queue, or it is full."""

    async def check_tools(self, first: Session | TranscriptionSession, quota: Quota) -> None:
        """Raises `ProtocolError` when no session can begin with the tools of ``first``. ``quota``: the caller's."""

    def find_session(self, call_id: str) -> SessionLease | None:
        """The lease whose session has this id."""

    @property
    def sessions(self) -> SessionManager | None:
        """The running sessions and the queue; None until the model is ready."""

    def holdings(self) -> Mapping[str, Any]:
        """What the model's side holds now, for the operator, as JSON: jobs, KV caches, streams, memory of a GPU."""

    def recent_turns(self, limit: int) -> list[dict[str, Any]]:
        """Latency parts of the latest responses, newest last, in milliseconds."""
