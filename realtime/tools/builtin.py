"""Builds the server's own tools from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from realtime.errors import ConfigError
from realtime.tools.audio_search import VoiceOf, audio_search
from realtime.tools.calculator import calculate
from realtime.tools.clip_index import ClipIndex
from realtime.tools.clock import get_time
from realtime.tools.endpoints import Endpoint, weather, web_search
from realtime.tools.registry import BuiltinTool, Registry


@dataclass(frozen=True, slots=True)
class ToolConfig:
    """``names``: the tools offered to every session. The other fields are what they need: endpoints (`Endpoint.read`),
    the folder of clips."""

    names: tuple[str, ...] = ()
    weather_url: str = ""
    web_search_url: str = ""
    clips: Path | None = None


ALWAYS = ("get_time", "calculate")
"""Tools that need no setting and reach nothing: a session may name them where they are not offered to all."""


def build_tools(config: ToolConfig, voice_of: VoiceOf) -> Registry:
    """The tools of ``config.names``, and those of `ALWAYS`. Raises `ConfigError` for an unknown name and for a missing
    setting."""
    makers: dict[str, Callable[[], BuiltinTool]] = {
        "get_time": get_time,
        "calculate": calculate,
        "weather": lambda: weather(_endpoint(config.weather_url, "weather")),
        "web_search": lambda: web_search(_endpoint(config.web_search_url, "web_search")),
        "audio_search": lambda: audio_search(_clips(config.clips), voice_of),
    }
    unknown = [name for name in config.names if name not in makers]
    if unknown:
        raise ConfigError(f"there is no tool {unknown[0]!r}; --tools takes a list of {', '.join(makers)}")
    offered = [makers[name]() for name in dict.fromkeys(config.names)]
    named = [_only_named(makers[name]()) for name in ALWAYS if name not in config.names]
    return Registry([*offered, *named])


def _only_named(tool: BuiltinTool) -> BuiltinTool:
    return replace(tool, declaration=replace(tool.declaration, offered=False))


def _endpoint(setting: str, name: str) -> Endpoint:
    if not setting:
        raise ConfigError(
            f"the tool {name} asks an HTTP endpoint of yours and none is set: give --{name.replace('_', '-')}-url, or "
            f"take {name} out of --tools"
        )
    return Endpoint.read(setting, f"{name}_url")


def _clips(folder: Path | None) -> ClipIndex:
    if folder is None:
        raise ConfigError("the tool audio_search searches a folder of clips and none is set: give --clips")
    return ClipIndex.read(folder)
