"""The session object in force, and what it means for the parts that listen and take turns."""

from __future__ import annotations

from realtime.audio.streams import AudioFormat
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import SessionUpdate
from realtime.protocol.session_config import Session, TranscriptionSession, merge, merge_transcription
from realtime.session.config import SessionConfig
from realtime.session.context.history import History
from realtime.session.formats import audio_format
from realtime.session.input.audio_input import AudioInput
from realtime.session.input.settings import endpointing, gates_echo, noise_reduction_db, turn_config
from realtime.turns.floor import TurnConfig

AnySession = Session | TranscriptionSession


class SessionSettings:
    """One session's settings. ``current``: the session object in force."""

    def __init__(self, first: AnySession, config: SessionConfig, history: History) -> None:
        self.current = first
        self._config = config
        self._history = history

    @property
    def turns(self) -> TurnConfig:
        """How turns are taken."""
        return turn_config(self.current, self._config)

    @property
    def detects_turns(self) -> bool:
        """Whether the server finds the turns."""
        return self.current.turn_detection is not None

    @property
    def input_format(self) -> AudioFormat:
        """How the client's audio is read."""
        return audio_format(self.current.audio.input.format)

    def answering(self) -> Session:
        """The settings of a session that answers. Raises `ProtocolError` where this one only transcribes."""
        if isinstance(self.current, TranscriptionSession):
            raise ProtocolError(
                "invalid_value",
                "A transcription session makes no responses. Open a session of type 'realtime' for that.",
                param="type",
            )
        return self.current

    def merged(self, event: SessionUpdate, *, response_active: bool) -> AnySession:
        """The session object as the event wants it; nothing is changed yet. Raises `ProtocolError`."""
        if isinstance(self.current, TranscriptionSession):
            return merge_transcription(self.current, event.session, event_id=event.event_id)
        return merge(
            self.current,
            event.session,
            audio_produced=any(entry.audio_ms for entry in self._history),
            response_active=response_active,
            event_id=event.event_id,
        )

    def apply(self, audio_input: AudioInput, before: AnySession | None = None) -> None:
        """Make the audio input follow the settings; ``before``: those that it follows already."""
        after, audio = self.current, self.current.audio.input
        audio_input.format = self.input_format
        if before is None or audio.noise_reduction != before.audio.input.noise_reduction:
            audio_input.reduce_noise(noise_reduction_db(audio.noise_reduction))
        if before is None or after.turn_detection != before.turn_detection:
            audio_input.detect(endpointing(after.turn_detection))
            audio_input.gate_echo(gates_echo(after.turn_detection, self._config))
