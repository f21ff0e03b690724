"""What happens in a session beside its events, for clients that draw it: pauses, speculation, audio made ahead of
playback, latencies. Sent as `session.timeline` where the session's ``include`` names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.protocol.events import SessionTimeline, TimelineKind
from realtime.protocol.session_config import TIMELINE
from realtime.session.inputs import InputQueue
from realtime.session.outbox import Outbox
from realtime.session.settings import SessionSettings


class Timeline:
    """One session's. Its zero is where the session began."""

    def __init__(
        self, settings: SessionSettings, inputs: InputQueue, outbox: Outbox, received: Callable[[], int]
    ) -> None:
        """``received``: samples of the caller's audio so far."""
        self._settings = settings
        self._inputs = inputs
        self._outbox = outbox
        self._received = received
        self._began: float | None = None

    def begin(self) -> None:
        """The session begins now."""
        self._began = self._inputs.now()

    def mark(
        self,
        kind: TimelineKind,
        *,
        voiced_until: int | None = None,
        response_id: str | None = None,
        made_s: float | None = None,
        figures: Mapping[str, float | None] | None = None,
    ) -> None:
        """Send that this happens now. ``voiced_until``: samples of the caller's audio where it belongs; None: to what
        has been received. ``made_s``: seconds of audio. ``figures``: `realtime.metrics.ReplyTrace.summary`."""
        if self._began is None or TIMELINE not in (self._settings.current.include or ()):
            return
        position = self._received() if voiced_until is None else voiced_until
        self._outbox.put(
            SessionTimeline(
                kind=kind,
                at_ms=round((self._inputs.now() - self._began) * 1000, 1),
                audio_ms=position * 1000 // MODEL_SAMPLE_RATE,
                response_id=response_id,
                made_ms=None if made_s is None else round(made_s * 1000),
                figures=None if figures is None else dict(figures),
            )
        )
