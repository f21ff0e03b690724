"""What can go wrong, as seen by the user of this package.

VocoderError
├── CheckpointError     a file, tensor or setting of the checkpoint is missing or does not fit
├── VoiceError          a voice cannot be enrolled, saved or loaded
└── StreamError         a stream is used in a way it does not allow
"""

from __future__ import annotations


class VocoderError(Exception):
    """Base of this package's errors."""


class CheckpointError(VocoderError):
    """A file, tensor or setting of the checkpoint is missing or does not fit; the message lists all of
    them."""


class VoiceError(VocoderError):
    """A voice cannot be enrolled, saved or loaded."""


class StreamError(VocoderError):
    """A stream is used in a way it does not allow."""
