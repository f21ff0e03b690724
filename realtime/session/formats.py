"""Audio formats of the wire -> `realtime.audio.streams.AudioFormat`."""

from __future__ import annotations

from realtime.audio.streams import AudioFormat
from realtime.protocol.session_config import AudioFormat as WireFormat
from realtime.protocol.session_config import Pcma, Pcmu


def audio_format(format: WireFormat) -> AudioFormat:
    """How to read or write samples in the format that a session names."""
    match format:
        case Pcmu():
            return AudioFormat("mulaw", format.sample_rate)
        case Pcma():
            return AudioFormat("alaw", format.sample_rate)
        case _:
            return AudioFormat("pcm16", format.sample_rate)
