"""What the settings say of the vocoder, as the one value that `streaming_vocoder` takes."""

from __future__ import annotations

from typing import cast

import torch

from realtime.config import ENV_PREFIX, Settings
from realtime.errors import ConfigError
from streaming_vocoder.chunk_schedule import ChunkSchedule
from streaming_vocoder.errors import OptionError
from streaming_vocoder.hift_stream import CrossFade
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.solver_cache import TrimRule


def vocoder_options(settings: Settings, flow_steps: int) -> VocoderOptions:
    """``flow_steps``: the checkpoint's own or the settings'. Raises `ConfigError`, which names the setting."""
    try:
        return VocoderOptions(
            steps=flow_steps,
            trim=cast(TrimRule, settings.vocoder_trim),
            fade=cast(CrossFade, settings.vocoder_fade),
            dtype=getattr(torch, settings.vocoder_dtype),
            ladder=_ladder(settings.vocoder_ladder),
            fixed_streams=settings.vocoder_fixed_streams,
        )
    except OptionError as error:
        name = "flow_steps" if error.option == "steps" else f"vocoder_{error.option}"
        flag = name.replace("_", "-")
        raise ConfigError(f"--{flag} ({ENV_PREFIX}{name.upper()}): {error.problem}") from error


def _ladder(text: str) -> ChunkSchedule:
    try:
        rungs = tuple(int(rung) for rung in text.split(","))
    except ValueError:
        raise OptionError("ladder", f"got {text!r}, expected numbers with commas between them, as 5,10,25") from None
    return ChunkSchedule(rungs)
