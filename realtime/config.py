"""All settings of the server, as one frozen dataclass that each command reads once.

Precedence: default < environment (``REALTIME_…``) < command line. The flags and the environment variables are derived
from the fields, so a setting is declared in one place.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from realtime.errors import ConfigError
from realtime.turns.backchannels import DEFAULT_BACKCHANNELS

logger = logging.getLogger(__name__)

EMBEDDED_CHECKPOINT = Path(__file__).parent / "checkpoints" / "nano"
ENV_PREFIX = "REALTIME_"

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
"""Values of a switch in the environment."""


def _setting(default: Any, help: str, *, repr: bool = True, **extra: Any) -> Any:
    """``choices``: allowed values. ``formerly``: an old name whose flag and variable still work, with a warning."""
    return field(default=default, repr=repr, metadata={"help": help, **extra})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of `realtime serve`. Units are in the names."""

    model: Path = _setting(
        EMBEDDED_CHECKPOINT,
        "checkpoint folder in the official Step-Audio 2 layout; default: the embedded nano model",
    )
    profile: str = _setting(
        "", "kind of model, for folders without profile.json: step-audio-2-mini, -mini-base, -mini-think, …"
    )
    voice: str = _setting(
        "",
        "voice of the replies: a name from the checkpoint's voices/, or a .safetensors or .wav file to enroll",
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8765, "TCP port to listen on")
    device: str = _setting("auto", "torch device: auto, cpu, cuda, cuda:1, …")
    dtype: str = _setting(
        "auto", "data type of the speech model's weights", choices=("auto", "float32", "bfloat16", "float16")
    )
    threads: int = _setting(0, "CPU threads of each of the two model threads; 0: half of the cores")
    instructions: str = _setting("", "default instructions; empty: the checkpoint's own")
    vocoder_dtype: str = _setting(
        "float32",
        "data type of the flow matching products; HiFT always uses float32",
        choices=("float32", "bfloat16", "float16"),
    )
    vocoder_trim: str = _setting(
        "upstream",
        "what flow matching keeps of its past: as the official implementation (upstream), or the voice's whole prompt, "
        "shared by all sessions, and the newest 2 s (prompt)",
        choices=("upstream", "prompt"),
    )
    vocoder_fade: str = _setting(
        "upstream",
        "cross-fade between chunks: as the official implementation, 8 percent louder in the seam (upstream), or at "
        "constant level (amplitude)",
        choices=("upstream", "amplitude"),
    )
    vocoder_chunks: str = _setting(
        "5,10,25",
        "chunk lengths in speech tokens (25 per second): the first is for the first chunk of a reply, longer ones are "
        "used as playback gets a lead",
        formerly="vocoder_ladder",
    )
    vocoder_fixed_streams: int = _setting(
        0, "replies at a time with batches of fixed shape, on CUDA as graphs; needs --vocoder-trim prompt; 0: off"
    )
    flow_steps: int = _setting(0, "Euler steps of flow matching; 0: the checkpoint's own, else 10")
    call_confidence: float = _setting(
        -1.0,
        "smallest probability of a function call, 0 to 1; a less likely call is discarded and the reply is generated "
        "again without calls; negative: the checkpoint's own (official ones: 0, keep all)",
    )
    interruption: str = _setting(
        "immediate",
        "what playback does on overlapping speech: stop (immediate), pause until the speech is classified (pause), or "
        "continue until then (play_on); default for sessions that do not set it",
        choices=("immediate", "pause", "play_on"),
    )
    backchannels: str = _setting(
        ", ".join(DEFAULT_BACKCHANNELS),
        "comma-separated words that do not interrupt a paused reply when nothing else is said; empty: every word "
        "interrupts",
    )
    echo_gate: bool = _setting(
        True,
        "treat the reply's echo from the caller's loudspeaker as silence; default for sessions that do not set it",
    )
    turn_model: str = _setting(
        "auto",
        "end-of-turn model of semantic_vad: auto (the checkpoint's own, else as smart-turn), smart-turn (the model in "
        "the package pipecat-ai, extra `smart-turn`, if installed, else prosody), none (prosody), or a smart-turn v3 "
        "ONNX file",
    )
    max_sessions: int = _setting(16, "maximum number of sessions; further clients get `server_full`")
    queue_size: int = _setting(
        0,
        "clients that may wait while all sessions are taken; 0: they get `server_full` at once",
        formerly="waiting_line",
    )
    queue_seconds: int = _setting(60, "longest wait for a session", formerly="waiting_seconds")
    handshake_seconds: int = _setting(
        8,  # below the 10 s after which clients give up a handshake
        "longest wait inside the WebSocket handshake, for clients that do not ask for `session.queued` events "
        "(?wait=events)",
    )
    key_sessions: int = _setting(0, "sessions at a time per API key (without keys: per address); 0: no limit")
    key_responses: int = _setting(0, "responses per minute and API key; 0: no limit")
    key_audio_minutes: int = _setting(0, "minutes of input and output audio per hour and API key; 0: no limit")
    max_context_tokens: int = _setting(
        0, "length of a session's context (KV cache) in tokens; 0: what the checkpoint was trained for"
    )
    speculate: bool = _setting(
        True, "generate the reply at every pause that may end the turn, and send it when the end is certain"
    )
    audio_gap_ms: int = _setting(
        1000,
        "in an open turn, assume silence after this time without audio (muted microphone, lost network); 0: never",
    )
    record: str = _setting(
        "", "folder in which to record every session for `realtime replay`; recordings contain all speech and text"
    )
    tools: str = _setting(
        "", "server tools offered to every session: get_time,calculate,weather,web_search,audio_search"
    )
    weather_url: str = _setting(
        "", "HTTP endpoint of the tool weather: URL with {location} [Header: value]", repr=False
    )
    web_search_url: str = _setting(
        "", "HTTP endpoint of the tool web_search: URL with {query} [Header: value]", repr=False
    )
    clips: str = _setting("", "folder of speech clips for the tool audio_search, whose voices it can answer in")
    mcp_hosts: str = _setting(
        "", "hosts of MCP servers that clients may name: HOST[:PORT],*.DOMAIN,… or * for any public host; empty: none"
    )
    session_seconds: int = _setting(3600, "longest duration of a session")
    drain_seconds: float = _setting(
        5.0,
        "after SIGTERM or SIGINT, longest time for conversations to end; nobody is admitted then. A quiet session ends "
        "after 2 s. A second signal ends all at once",
    )
    api_key: str = _setting(
        "", "API key that clients must send; prefer the environment variable, because `ps` shows flags", repr=False
    )
    api_keys_file: str = _setting(
        "", "file with one API key per line, or `sha256:` and the key's hash; # starts a comment"
    )
    allow_anonymous: bool = _setting(False, "without API keys, also serve clients on other machines")
    allowed_origins: str = _setting(
        "", "origins of web pages that may connect, besides this server's own and local ones: https://HOST,… or *"
    )
    tls_cert: str = _setting("", "certificate chain (PEM) for https and wss")
    tls_key: str = _setting("", "private key of --tls-cert (PEM)")
    tls_self_signed: bool = _setting(
        False, "https and wss with a certificate made at start; browsers need TLS for a microphone on another machine"
    )
    log_level: str = _setting("info", "logging level", choices=("debug", "info", "warning", "error"))

    @classmethod
    def read(cls, arguments: argparse.Namespace, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from parsed flags (absent or None: not given) over the environment over the defaults."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for f in fields(cls):
            flag = getattr(arguments, f.name, None)
            if flag is not None:
                values[f.name] = flag
            elif (variable := _variable_of(f, environ)) in environ:
                values[f.name] = _parse(f.name, _type_of(f.default), environ[variable], f.metadata, variable)
        return cls(**values)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag per setting; its help names its environment variable."""
    for f in fields(Settings):
        shown = "embedded nano" if f.name == "model" else repr(f.default)
        flag = "--" + f.name.replace("_", "-")
        help = f"{f.metadata['help']} (default {shown}; env {ENV_PREFIX}{f.name.upper()})"
        if isinstance(f.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=help)
            continue
        parser.add_argument(
            flag,
            type=_type_of(f.default),
            choices=f.metadata.get("choices"),
            default=None,
            metavar=None if f.metadata.get("choices") else f.name.upper(),
            help=help,
        )
        if formerly := f.metadata.get("formerly"):
            old_flag = "--" + formerly.replace("_", "-")
            parser.add_argument(
                old_flag,
                action=_OldFlag,
                type=_type_of(f.default),
                dest=f.name,
                const=flag,
                help=argparse.SUPPRESS,
            )


class _OldFlag(argparse.Action):
    """A flag that was renamed: it still works, with a warning. ``const``: the new flag."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        _warn_renamed(str(option), str(self.const))
        setattr(namespace, self.dest, values)


def _variable_of(setting: Field[Any], environ: Mapping[str, str]) -> str:
    """The environment variable to read: the old name, with a warning, where only that is set."""
    variable, formerly = ENV_PREFIX + setting.name.upper(), setting.metadata.get("formerly")
    old = ENV_PREFIX + formerly.upper() if formerly else variable
    if variable in environ or old not in environ:
        return variable
    _warn_renamed(old, variable)
    return old


def _warn_renamed(old: str, new: str) -> None:
    logger.warning("%s is deprecated: use %s", old, new)


def _type_of(default: Any) -> type:
    return Path if isinstance(default, Path) else type(default)


def _parse(name: str, kind: type, text: str, metadata: Mapping[str, Any], variable: str) -> Any:
    if kind is bool:
        return _SWITCH[_parse(name, str, text.lower(), {"choices": tuple(_SWITCH)}, variable)]
    try:
        value = kind(text)
    except ValueError:
        raise ConfigError(
            f"environment variable {variable}: got {text!r}, expected {kind.__name__}; correct or unset it"
        ) from None
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(
            f"environment variable {variable}: got {text!r}, expected one of {', '.join(choices)}; correct or unset it"
        )
    return value
