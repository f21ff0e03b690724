"""What the routes need of the application that they serve."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from realtime.admission.manager import SessionLease
from realtime.admission.queue import QueueEntry
from realtime.session.config import SessionConfig
from realtime.session.quota import Quotas
from realtime.transports.http.metrics_page import ServerMetrics
from realtime.transports.webrtc.offers import OfferAnswerer


@dataclass(frozen=True, slots=True)
class Health:
    """``reason``: what is being done, or what went wrong; shown to whoever asks."""

    state: Literal["loading", "ready", "failed", "draining"]
    reason: str


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
    def session_config(self) -> SessionConfig | None:
        """How sessions begin; None until the model is ready."""

    @property
    def metrics(self) -> ServerMetrics: ...

    @property
    def quotas(self) -> Quotas:
        """What each key may use."""

    @property
    def waiting_s(self) -> float:
        """How long a caller may wait for a seat."""

    @property
    def offers(self) -> OfferAnswerer | None:
        """What answers WebRTC offers; None where that is not installed or not switched on."""

    @property
    def handshake_s(self) -> float:
        """How long a caller's handshake may be held while it waits: less than clients give it."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Entered while the server runs: starts loading, and at the end stops everything."""

    def admit(self) -> SessionLease:
        """A place for one caller, to be entered with ``with``. Raises `CapacityError` when there is none."""

    def join_queue(self) -> QueueEntry[SessionLease]:
        """A place in the line for one. Raises `CapacityError` when nobody may wait, or too many do."""

    def find_session(self, call_id: str) -> SessionLease | None:
        """Where the session of this id runs."""

    def recent_turns(self, limit: int) -> list[dict[str, Any]]:
        """Latency parts of the latest responses, newest last, in milliseconds."""
