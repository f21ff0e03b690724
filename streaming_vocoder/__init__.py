"""Streaming vocoder: speech tokens (25 Hz) -> samples (24 kHz), for many replies at once.

Start with `Vocoder.load`, `Voice.load` (or `Voice.enroll`) and `Vocoder.open`; see `streaming`.
"""

from streaming_vocoder.chunk_schedule import ChunkSchedule, CostModel
from streaming_vocoder.errors import CheckpointError, OptionError, StreamError, VocoderError, VoiceError
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.streaming import StreamReport, StreamState, Vocoder, to_int16
from streaming_vocoder.voice import Voice

__all__ = [
    "CheckpointError",
    "ChunkSchedule",
    "OptionError",
    "CostModel",
    "StreamError",
    "StreamReport",
    "StreamState",
    "Vocoder",
    "VocoderError",
    "VocoderOptions",
    "Voice",
    "VoiceError",
    "to_int16",
]
