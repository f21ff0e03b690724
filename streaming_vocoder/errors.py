"""The errors of this package.

VocoderError
├── CheckpointError     a file, tensor or setting of the checkpoint is missing or wrong
├── VoiceError          a voice cannot be enrolled, saved or loaded
├── OptionError         an option is invalid, alone or in combination
└── StreamError         a stream is used wrongly
"""

from __future__ import annotations


class VocoderError(Exception):
    """Base of this package's errors."""


class CheckpointError(VocoderError):
    """A file, tensor or setting of the checkpoint is missing or wrong; the message lists all of them."""


class VoiceError(VocoderError):
    """A voice cannot be enrolled, saved or loaded."""


class OptionError(VocoderError):
    """An option of `VocoderOptions` is invalid, alone or in combination with others."""

    def __init__(self, option: str, problem: str) -> None:
        """``option``: the name of the field."""
        super().__init__(f"{option}: {problem}")
        self.option, self.problem = option, problem


class StreamError(VocoderError):
    """A stream is used wrongly, e.g. after its last tokens."""
