"""What can go wrong, as one tree.

::

    RealtimeError
    ├── ConfigError            settings that do not fit: named at start, nothing runs
    ├── CheckpointError        a model folder that is wrong or partial: what is missing, which shape differs
    ├── AudioFormatError       samples that no codec here can read or write
    ├── PeerError              the peer's fault: becomes an `error` event with a code, the session lives
    │   └── ProtocolError      (realtime.protocol.errors) cannot be read, or is not legal now
    ├── SessionEnd             why a session ends in good order: told to the peer, then the channel closes
    │   ├── ChannelClosed      the peer is gone, nothing can be told
    │   ├── SessionExpired     the session has reached its greatest age
    │   ├── SlowReader         the peer does not read what it asked for
    │   ├── QuotaSpent         the caller's key has used up its audio
    │   ├── Draining           the server is shutting down
    │   └── SessionFault       an exception of ours ended it; what the peer is told of an `InternalError`
    ├── ToolServerError        an MCP server that cannot be reached or does not answer: its tools are not there
    ├── CapacityError          no room for one session more: an honest refusal before the session begins
    └── InternalError          our fault: the session closes, the log has the traceback
        ├── IllegalTransition  a state machine got an event that its table does not have
        └── EngineError        the model side failed

A text says what came, what was expected and what to do.
"""

from __future__ import annotations

from typing import Literal

ErrorType = Literal["invalid_request_error", "server_error", "authentication_error", "rate_limit_error"]


class RealtimeError(Exception):
    """The root: catch this at a border, nothing narrower is missed."""


class ConfigError(RealtimeError):
    """Settings that do not fit together or that this machine cannot fulfil."""


class CheckpointError(RealtimeError):
    """A model folder that cannot be loaded; the text names every file, key or shape that is at fault."""


class AudioFormatError(RealtimeError):
    """A sample format, rate or length that the audio code does not know."""


class PeerError(RealtimeError):
    """The peer's fault: the fields of an `error` event. ``code`` is stable and clients match on it, ``param`` is the
    path of the field at fault, ``event_id`` the id of the client's event where it had one."""

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
    """A session ends in good order. ``code`` and ``type`` go into a last `error` event unless ``silent``;
    ``close_code`` closes the channel (1000: many clients show any other as a fault)."""

    code = "session_ended"
    type: ErrorType = "invalid_request_error"
    close_code = 1000
    silent = False


class ChannelClosed(SessionEnd):
    """The peer is gone: nothing more can be sent or received."""

    code = "channel_closed"
    silent = True


class SessionExpired(SessionEnd):
    """The session has reached its greatest age (`SessionLimits.max_session_s`)."""

    code = "session_expired"


class SlowReader(SessionEnd):
    """The peer did not read for longer than allowed, or let more pile up than we keep."""

    code = "slow_reader"
    close_code = 1008


class QuotaSpent(SessionEnd):
    """The caller's key has used all the audio that it may."""

    code = "insufficient_quota"
    type: ErrorType = "rate_limit_error"
    close_code = 1008


class Draining(SessionEnd):
    """The server shuts down; the peer may call again."""

    code = "server_draining"
    type: ErrorType = "server_error"
    close_code = 1001


class SessionFault(SessionEnd):
    """Something of ours failed; the log has the traceback and the peer no details."""

    code = "internal_error"
    type: ErrorType = "server_error"
    close_code = 1011


class CapacityError(RealtimeError):
    """The server holds as many sessions as it can serve well, or is draining."""

    code = "server_full"
    type: ErrorType = "server_error"


class ToolServerError(RealtimeError):
    """A server of tools cannot be reached, or does not do what it should; the text says which and why."""


class InternalError(RealtimeError):
    """Our own fault: the session closes and the traceback is logged."""


class IllegalTransition(InternalError):
    """A state machine got an event for which its table has no entry."""


class EngineError(InternalError):
    """The model side failed: an encoder, decoder or vocoder raised."""


SESSION_ENDS: dict[str, type[SessionEnd]] = {
    kind.__name__: kind
    for kind in (SessionEnd, ChannelClosed, SessionExpired, SlowReader, QuotaSpent, Draining, SessionFault)
}
"""The reasons for the end of a session, by name."""
