"""All errors of the server, as one tree.

::

    RealtimeError
    ├── ConfigError            invalid settings: reported at start, nothing runs
    ├── CheckpointError        an incomplete or wrong model folder: what is missing, which shape differs
    ├── AudioFormatError       samples that no codec here can read or write
    ├── PeerError              a client's mistake: becomes an `error` event with a code, the session continues
    │   └── ProtocolError      (realtime.protocol.errors) an event that is invalid, or not allowed in this state
    ├── SessionEnd             an orderly end of a session: the client is told why, then the channel closes
    │   ├── ChannelClosed      the client has disconnected and cannot be told
    │   ├── SessionExpired     the session has reached its longest duration
    │   ├── SlowReader         the client does not read its events
    │   ├── QuotaSpent         the API key has used up its audio
    │   ├── Draining           the server is shutting down
    │   ├── EndedByOperator    the server's operator has ended the session
    │   └── SessionFault       an exception in the server; the `InternalError` as the client sees it
    ├── ToolServerError        an MCP server that cannot be reached or does not answer: its tools are not offered
    ├── CapacityError          all sessions are taken: the client is refused before the session begins
    │   └── AdmissionClosed    the server is shutting down and admits nobody
    └── InternalError          a fault of the server: the session closes, the log has the traceback
        ├── IllegalTransition  a state machine got an event that its table does not have
        └── EngineError        the model failed

A message says what was received, what was expected and what to do.
"""

from __future__ import annotations

import os
import traceback
from typing import Literal

ErrorType = Literal["invalid_request_error", "server_error", "authentication_error", "rate_limit_error"]


class RealtimeError(Exception):
    """The root of all errors of this package. ``quotes_peer``: the message may repeat what a peer wrote, so no log has
    it."""

    quotes_peer = False


class ConfigError(RealtimeError):
    """Settings that contradict each other or that this machine cannot fulfil."""


class CheckpointError(RealtimeError):
    """A model folder that cannot be loaded; the message names every wrong file, key or shape."""


class AudioFormatError(RealtimeError):
    """An unsupported sample format, rate or length."""


class PeerError(RealtimeError):
    """A client's mistake, with the fields of its `error` event. ``code`` is stable: clients match on it. ``param`` is
    the path of the wrong field, ``event_id`` the id of the client's event, if it had one."""

    quotes_peer = True

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        event_id: str | None = None,
        type: ErrorType = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.type: ErrorType = type
        self.code = code
        self.message = message
        self.param = param
        self.event_id = event_id


class SessionEnd(RealtimeError):
    """An orderly end of a session. ``code`` and ``type`` are sent in a last `error` event unless ``silent``;
    ``close_code`` closes the channel (1000, because many clients report any other code as a failure)."""

    code = "session_ended"
    type: ErrorType = "invalid_request_error"
    close_code = 1000
    silent = False


class ChannelClosed(SessionEnd):
    """The client has disconnected: nothing more can be sent or received."""

    code = "channel_closed"
    silent = True


class SessionExpired(SessionEnd):
    """The session has reached its longest duration (`SessionLimits.session_s`)."""

    code = "session_expired"


class SlowReader(SessionEnd):
    """The client did not read for too long, or left more unread events than the server buffers."""

    code = "slow_reader"
    close_code = 1008


class QuotaSpent(SessionEnd):
    """The API key has used up its audio quota."""

    code = "insufficient_quota"
    type: ErrorType = "rate_limit_error"
    close_code = 1008


class Draining(SessionEnd):
    """The server is shutting down; the client may reconnect."""

    code = "server_draining"
    type: ErrorType = "server_error"
    close_code = 1001


class EndedByOperator(SessionEnd):
    """The server's operator has ended this one session. Closed with 1000, so that clients do not connect again."""

    code = "ended_by_operator"


class SessionFault(SessionEnd):
    """The server failed; the log has the traceback, the client gets no details."""

    code = "internal_error"
    type: ErrorType = "server_error"
    close_code = 1011


class CapacityError(RealtimeError):
    """All sessions are taken."""

    code = "server_full"
    type: ErrorType = "server_error"

    def __init__(self, message: str, *, position: int | None = None) -> None:
        """``position``: the client's in the queue, where it was in one."""
        super().__init__(message)
        self.position = position


class AdmissionClosed(CapacityError):
    """The server is shutting down: it admits nobody, and clients that wait are refused."""

    code = "server_draining"

    def __init__(self) -> None:
        super().__init__("The server is shutting down. Connect again.")


class ToolServerError(RealtimeError):
    """An MCP server cannot be reached or answers wrongly; the message says which and why."""

    quotes_peer = True


class InternalError(RealtimeError):
    """A fault of the server: the session closes and the traceback is logged."""


class IllegalTransition(InternalError):
    """A state machine got an event for which its table has no entry."""


class EngineError(InternalError):
    """The model failed: encoder, decoder or vocoder raised an exception, whose words this repeats."""

    quotes_peer = True


SESSION_ENDS: dict[str, type[SessionEnd]] = {
    kind.__name__: kind
    for kind in (
        SessionEnd,
        ChannelClosed,
        SessionExpired,
        SlowReader,
        QuotaSpent,
        Draining,
        EndedByOperator,
        SessionFault,
    )
}
"""The reasons for the end of a session, by name."""


_COMPUTING = ("torch", "streaming_vocoder", "realtime.engine", "realtime.model")
"""Packages that raise `RuntimeError` about shapes, devices and memory only."""


def log_text(error: BaseException) -> str:
    """The type of an exception for the log, with its message where that cannot hold what a client, a tool or the model
    wrote: our own errors (but see `RealtimeError.quotes_peer`), the system's, and those of computing."""
    kind = type(error).__name__
    if isinstance(error, OSError):
        return f"{kind}: {os.strerror(error.errno)}" if error.errno and error.errno > 0 else kind
    ours = isinstance(error, RealtimeError) and not error.quotes_peer
    computing = isinstance(error, RuntimeError) and _is_of_computing(error)
    return f"{kind}: {error}" if ours or computing else kind


def _is_of_computing(error: BaseException) -> bool:
    raised = error.__traceback__
    if raised is None:
        return False
    while raised.tb_next is not None:
        raised = raised.tb_next
    name = f"{raised.tb_frame.f_globals.get('__name__', '')}."
    return name.startswith(tuple(f"{package}." for package in _COMPUTING))


def forget_frames(error: BaseException) -> None:
    """Free what the frames of a handled exception hold, in it and in those that it contains or follows.

    `asyncio.TaskGroup` keeps its exception group in a frame of that group's traceback: a cycle, which would keep a
    session with all its audio until the collector runs.
    """
    pending: list[BaseException | None] = [error]
    while pending:
        if (one := pending.pop()) is None:
            continue
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions
