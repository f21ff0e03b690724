"""Builds the vocoder's options from the settings."""

from __future__ import annotations

import torch

from realtime.config import ENV_PREFIX, Settings
from realtime.errors import ConfigError
from streaming_vocoder.chunk_schedule import ChunkSchedule
from streaming_vocoder.errors import OptionError
from streaming_vocoder.options import VocoderOptions

_SETTINGS = {"steps": "flow_steps", "ladder": "vocoder_chunks"}
"""Settings that are named differently from the vocoder's option."""


def vocoder_options(settings: Settings, flow_steps: int) -> VocoderOptions:
    """The options of the vocoder. ``flow_steps``: Euler steps. Raises `ConfigError` that names the wrong setting."""
    try:
        return VocoderOptions(
            steps=flow_steps,
            trim=settings.vocoder_trim,
            fade=settings.vocoder_fade,
            dtype=getattr(torch, settings.vocoder_dtype),
            ladder=_chunk_schedule(settings.vocoder_chunks),
            fixed_streams=settings.vocoder_fixed_streams,
        )
    except OptionError as error:
        name = _SETTINGS.get(error.option, f"vocoder_{error.option}")
        flag = name.replace("_", "-")
        raise ConfigError(f"--{flag} ({ENV_PREFIX}{name.upper()}): {error.problem}") from error


def _chunk_schedule(text: str) -> ChunkSchedule:
    try:
        lengths = tuple(int(length) for length in text.split(","))
    except ValueError:
        raise OptionError("ladder", f"got {text!r}, expected comma-separated numbers, e.g. 5,10,25") from None
    return ChunkSchedule(lengths)
