"""What can go wrong, as seen by the user of this package.

VocoderError
├── CheckpointError     a file, tensor or setting of the checkpoint is missing or does not fit
├── VoiceError          a voice cannot be enrolled, saved or loaded
├── OptionError         an option has an impossible value, alone or beside the others
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


class OptionError(VocoderError):
    """An option of `VocoderOptions` has an impossible value, alone or beside the others."""

    def __init__(self, option: str, problem: str) -> None:
        """``option``: the field's name."""
        super().__init__(f"{option}: {problem}")
        self.option, self.problem = option, problem


class StreamError(VocoderError):
    """A stream is used in a way it does not allow."""
