"""Voices of recordings, enrolled when they are first asked for and known to the vocoder from then on."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from realtime.engine.vocoder_service import ThreadedVocoder
from streaming_vocoder.errors import VocoderError
from streaming_vocoder.voice import Voice

logger = logging.getLogger(__name__)

MAX_VOICES = 32
"""Enrolled voices that are kept; the one enrolled first goes."""


class ClipVoices:
    """Call it in a thread: enrolling a voice takes a second or more."""

    def __init__(self, vocoder: ThreadedVocoder, token2wav: Path) -> None:
        """``token2wav``: the checkpoint's folder with the models that enrol voices; it may lack them."""
        self._vocoder = vocoder
        self._folder = token2wav
        self._known: dict[Path, str | None] = {}
        self._lock = threading.Lock()

    def voice_of(self, recording: Path, named: str = "") -> str | None:
        """The name that the vocoder takes: ``named`` where there is such a voice; else the one saved beside the
        recording (``.safetensors``); else enrolled from it. None, told in the log, when there is no way."""
        if named in self._vocoder.voices:
            return named
        with self._lock:
            if recording not in self._known:
                self._known[recording] = self._enroll(recording)
            return self._known[recording]

    def _enroll(self, recording: Path) -> str | None:
        saved = recording.with_suffix(".safetensors")
        try:
            voice = Voice.load(saved) if saved.exists() else Voice.enroll(recording, self._folder)
        except VocoderError as error:
            logger.warning("no voice from %s: %s", recording.name, error)
            return None
        name = f"clip:{recording.stem}"
        self._vocoder.add_voice(name, voice)
        enrolled = [path for path, known in self._known.items() if known is not None]
        for path in enrolled[: max(0, len(enrolled) + 1 - MAX_VOICES)]:
            self._vocoder.remove_voice(self._known.pop(path) or "")
        return name
