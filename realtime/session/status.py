"""What one session does and holds, for the operator: times, counts and lengths. No words of the conversation."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.protocol.session_config import Session as WireSession
from realtime.session.session import Session

MOST_LATENCIES = 24
"""Latest replies whose latency is given: as many as a small chart shows."""


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A running session at one moment. ``floor``: a value of `realtime.turns.floor.Floor`. ``first_audio_ms``: of the
    latest replies, oldest first. Everything that waits is bounded by `realtime.session.config.SessionLimits`.
    """

    kind: str  # realtime or transcription
    model: str
    voice: str  # as the client named it; empty for a transcription session
    floor: str
    busy: bool
    turns: int
    replies: int
    late_chunks: int
    first_audio_p50_ms: float | None
    first_audio_ms: tuple[float, ...]
    pending_inputs: int  # inputs that wait to be handled
    outbox_bytes: int  # all that waits for the transport, estimated
    outbox_audio_ms: int  # speech that waits for the transport
    playback_ms: int  # speech that the caller has not heard yet, sent or waiting
    input_audio_ms: int  # the caller's audio that is kept and not committed
    items: int  # of the conversation
    side_connections: int
    errors: int
    last_error: str  # its code; empty without errors
    last_error_s: float | None  # how long ago


def status_of(session: Session, now: float) -> SessionStatus:
    """``now``: seconds of the session's monotonic clock."""
    parts, settings = session.parts, session.settings
    figures, errors = parts.replies.figures, parts.env.errors
    return SessionStatus(
        kind=settings.type,
        model=settings.model if isinstance(settings, WireSession) else "",
        voice=settings.voice if isinstance(settings, WireSession) else "",
        floor=session.floor.value,
        busy=session.busy,
        turns=parts.items.user_turns,
        replies=figures.replies,
        late_chunks=figures.late_chunks,
        first_audio_p50_ms=figures.first_audio_ms,
        first_audio_ms=tuple(figures.latest_first_audio_ms(MOST_LATENCIES)),
        pending_inputs=session.pending_inputs,
        outbox_bytes=parts.outbox.size,
        outbox_audio_ms=parts.outbox.audio_samples * 1000 // OUTPUT_SAMPLE_RATE,
        playback_ms=round(parts.playout.remaining(now) * 1000),
        input_audio_ms=parts.audio_input.kept * 1000 // MODEL_SAMPLE_RATE,
        items=len(parts.history),
        side_connections=session.side_connections,
        errors=errors.count,
        last_error=errors.last,
        last_error_s=round(now - errors.at, 1) if errors.count else None,
    )
