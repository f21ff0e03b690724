"""Checks of settings before anything is loaded: files, folders, the device, and lists of names.

Loading takes minutes with a large model, and happens while the server already answers 503. What can be known before is
an error at the start. Every error names the flag.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from realtime.app import build_tools_of
from realtime.checkpoint.layout import missing_files
from realtime.checkpoint.load import choose_device
from realtime.checkpoint.profile import load_profile
from realtime.checkpoint.vocoder_options import vocoder_options
from realtime.config import Settings, naming, words
from realtime.errors import ConfigError

_HOST = re.compile(r"\*|\*\.[^/@*\s:]+|[^/@*\s:]+(:\d+)?|\[[0-9a-fA-F:.]+\](:\d+)?")
"""An entry of ``--mcp-hosts``."""


def check_settings(settings: Settings) -> None:
    """Raises `ConfigError`."""
    _check_model(settings)
    _check_voice(settings)
    with naming("device"):
        choose_device(settings.device)
    vocoder_options(settings, settings.flow_steps or 1)
    with naming("turn_model"):
        if settings.turn_model not in ("auto", "smart-turn", "none") and not os.path.isfile(settings.turn_model):
            raise ConfigError(f"{settings.turn_model!r} is not auto, smart-turn, none or a file")
    _check_record(settings)
    with naming("tools"):
        build_tools_of(settings)
    with naming("mcp_hosts"):
        for name in words(settings.mcp_hosts):
            if not _HOST.fullmatch(name):
                raise ConfigError(f"{name[:80]!r} is not HOST[:PORT], *.DOMAIN or *")


def _check_model(settings: Settings) -> None:
    with naming("model"):
        if not os.path.isdir(settings.model):
            raise ConfigError(f"{settings.model} is not a folder; it takes one in the Step-Audio 2 layout")
        if missing := missing_files(settings.model):
            raise ConfigError(f"{settings.model} lacks {', '.join(missing)}; copy the whole checkpoint there")
    with naming("profile"):
        load_profile(settings.model, settings.profile)


def _check_voice(settings: Settings) -> None:
    with naming("voice"):
        known = sorted(path.stem for path in (settings.model / "voices").glob("*.safetensors"))
        if settings.voice and settings.voice not in known and not os.path.isfile(settings.voice):
            names = ", ".join(known) or "none"
            raise ConfigError(f"{settings.voice!r} is not a voice of the checkpoint ({names}) or a file")


def _check_record(settings: Settings) -> None:
    if settings.record:
        with naming("record"):
            folder = Path(settings.record)
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
