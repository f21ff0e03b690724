"""Settings: every knob of the server in one frozen tree, read once by `realtime.cli`.

Precedence: default < environment (``REALTIME_…``) < command line. `add_arguments` makes the flags from the same
table, so a setting is written down once: here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from realtime.errors import ConfigError
from realtime.turns.backchannels import DEFAULT_BACKCHANNELS

EMBEDDED_CHECKPOINT = Path(__file__).parent / "checkpoints" / "nano"
ENV_PREFIX = "REALTIME_"

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
"""How the environment says yes and no."""


def _setting(default: Any, help: str, *, repr: bool = True, **extra: Any) -> Any:
    return field(default=default, repr=repr, metadata={"help": help, **extra})


@dataclass(frozen=True, slots=True)
class Settings:
    """What `realtime serve` can be told. Units are in the names."""

    model: Path = _setting(
        EMBEDDED_CHECKPOINT,
        "checkpoint folder (official Step-Audio 2 layout); default: the embedded nano model",
    )
    profile: str = _setting(
        "", "how the model wants to be used, where its folder has no profile.json: step-audio-2-mini, -mini-think, …"
    )
    voice: str = _setting(
        "",
        "voice to speak with: a name from the checkpoint's voices/, or a .safetensors or .wav file to enroll",
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8765, "TCP port to listen on")
    device: str = _setting("auto", "torch device: auto, cpu, cuda, cuda:1, …")
    dtype: str = _setting("auto", "weights of the speech model", choices=("auto", "float32", "bfloat16", "float16"))
    threads: int = _setting(0, "CPU threads of each model thread; 0: cores divided by the two model threads")
    instructions: str = _setting("", "default instructions; empty: the checkpoint's own")
    vocoder_dtype: str = _setting(
        "float32", "products of flow matching; HiFT stays float32", choices=("float32", "bfloat16", "float16")
    )
    vocoder_trim: str = _setting(
        "upstream",
        "what flow matching keeps of the past: as the official implementation, or the whole prompt of the voice, "
        "which all callers share, and the newest 2 s",
        choices=("upstream", "prompt"),
    )
    vocoder_fade: str = _setting(
        "upstream",
        "how chunks of sound are joined: as the official implementation, 8 percent louder, or at an even level",
        choices=("upstream", "amplitude"),
    )
    vocoder_ladder: str = _setting(
        "5,10,25", "speech tokens (25 a second) of a chunk of sound: the first, then larger ones as playback has a lead"
    )
    vocoder_fixed_streams: int = _setting(
        0, "replies at a time for which batches of fixed shape are kept (CUDA graphs); needs --vocoder-trim prompt"
    )
    flow_steps: int = _setting(0, "Euler steps of flow matching; 0: the checkpoint's own, else 10")
    call_confidence: float = _setting(
        -1.0,
        "withdraw a function call that the model itself finds less likely than this, from 0 (never) to 1, and answer "
        "in words; negative: the checkpoint's own (official ones: 0)",
    )
    interruption: str = _setting(
        "immediate",
        "what a voice over ours does at once: end the reply, pause it until it is known whether it is meant, or "
        "neither; for sessions that do not say",
        choices=("immediate", "pause", "play_on"),
    )
    backchannels: str = _setting(
        ", ".join(DEFAULT_BACKCHANNELS),
        "words, between commas, that do not take the floor when they are all that is said over a paused reply; empty: "
        "every word does",
    )
    echo_gate: bool = _setting(
        True, "take our own voice, back from the caller's loudspeaker, for silence; for sessions that do not say"
    )
    turn_model: str = _setting(
        "auto",
        "end-of-turn model of semantic_vad: auto: the checkpoint's own where it has one, else as smart-turn; "
        "smart-turn: the one in the package pipecat-ai (extra `smart-turn`) where that is installed, else prosody; a "
        "smart-turn v3 ONNX file; none: prosody",
    )
    max_sessions: int = _setting(16, "sessions at a time; further callers get `server_full`")
    waiting_line: int = _setting(
        0, "callers who may wait when all sessions are taken; 0: they get `server_full` at once"
    )
    waiting_seconds: int = _setting(60, "how long a caller may wait for a session")
    handshake_seconds: int = _setting(
        8,
        "how long a waiting caller's handshake is held, where it does not take `session.queued` events (?wait=events)",
    )
    key_sessions: int = _setting(0, "sessions at a time of one key (without keys: of one address); 0: no limit")
    key_responses: int = _setting(0, "responses a minute of one key; 0: no limit")
    key_audio_minutes: int = _setting(0, "minutes of audio an hour of one key, heard and spoken; 0: no limit")
    max_context_tokens: int = _setting(0, "KV cache length of a session; 0: what the checkpoint was trained for")
    speculate: bool = _setting(
        True, "make the reply at every pause that may be the end of a turn, held back until that is sure"
    )
    tools: str = _setting(
        "", "own tools that every session may call: get_time,calculate,weather,web_search,audio_search"
    )
    weather_url: str = _setting(
        "", "HTTP endpoint behind the tool weather: URL with {location} [Header: value]", repr=False
    )
    web_search_url: str = _setting(
        "", "HTTP endpoint behind the tool web_search: URL with {query} [Header: value]", repr=False
    )
    clips: str = _setting(
        "", "folder of speech clips that the tool audio_search searches, whose voices it can speak in"
    )
    mcp_hosts: str = _setting(
        "", "hosts of MCP servers that sessions may name: HOST[:PORT],*.DOMAIN,… or * for any public one; empty: none"
    )
    session_seconds: int = _setting(3600, "lifetime of a session")
    api_key: str = _setting("", "a key that callers must show; better in the environment: `ps` shows flags", repr=False)
    api_keys_file: str = _setting("", "file with a key a line, or `sha256:` and the hash of one; # begins a comment")
    allow_anonymous: bool = _setting(False, "serve anyone, also from other machines, where no key is set")
    allowed_origins: str = _setting(
        "", "web pages that may connect beside our own and those of this machine: https://HOST,… or *"
    )
    tls_cert: str = _setting("", "certificate (PEM, with its chain): serve https and wss")
    tls_key: str = _setting("", "private key of --tls-cert (PEM)")
    tls_self_signed: bool = _setting(False, "https and wss with a certificate made at start, for microphones in a LAN")
    log_level: str = _setting("info", "logging level", choices=("debug", "info", "warning", "error"))

    @classmethod
    def read(cls, arguments: argparse.Namespace, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from parsed flags (absent or None: not given) over the environment over the defaults."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for f in fields(cls):
            flag = getattr(arguments, f.name, None)
            variable = ENV_PREFIX + f.name.upper()
            if flag is not None:
                values[f.name] = flag
            elif variable in environ:
                values[f.name] = _parse(f.name, _type_of(f.default), environ[variable], f.metadata, variable)
        return cls(**values)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag a setting; each names its environment variable in ``--help``."""
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
