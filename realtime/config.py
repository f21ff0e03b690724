"""All settings of the server, as one frozen model that each command reads once.

Precedence: default < TOML file (``--config``) < environment (``REALTIME_…``) < command line. Flags, environment
variables and keys of the file are derived from the fields, so a setting, its range and its help are declared in one
place. A wrong value is a `ConfigError` of one line that names the flag, where the value came from and the range.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from realtime.addresses import ip_addresses, stun_address, turn_server
from realtime.errors import CheckpointError, ConfigError
from realtime.turns.backchannels import DEFAULT_BACKCHANNELS

logger = logging.getLogger(__name__)

EMBEDDED_CHECKPOINT = Path(__file__).parent / "checkpoints" / "nano"
ENV_PREFIX = "REALTIME_"

MAX_INSTRUCTIONS = 200_000
"""Characters; as many as a client may set."""

LEAST_CONTEXT_TOKENS = 256
"""The default instructions, a question and an answer fit in."""

_SHOWN_CHARACTERS = 60
"""How much of a wrong value is repeated in the error."""


def _setting(
    default: Any, help: str, *, repr: bool = True, formerly: str = "", listed: bool = False, **limits: Any
) -> Any:
    """``formerly``: an old name whose flag and variable still work, with a warning. ``listed``: a comma-separated list,
    which may be an array in TOML. ``limits``: constraints of pydantic (``ge``, ``le``, ``max_length``)."""
    extra = {"formerly": formerly, "listed": listed}
    return Field(default, description=help, repr=repr, json_schema_extra=extra, **limits)  # type: ignore[arg-type]


def words(text: str) -> list[str]:
    """The words of a comma-separated list."""
    return text.replace(",", " ").split()


class Settings(BaseSettings):
    """The settings of `realtime serve`. Units are in the names."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", allow_inf_nan=False, validate_default=False
    )

    config: str = _setting("", "TOML file with settings: names as the flags without `--`, `_` for `-`")

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
    port: int = _setting(8765, "TCP port to listen on", ge=1, le=65535)
    device: str = _setting("auto", "torch device: auto, cpu, cuda, cuda:1, …")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = _setting(
        "auto", "data type of the speech model's weights"
    )
    threads: int = _setting(0, "CPU threads of each of the two model threads; 0: half of the cores", ge=0, le=256)
    instructions: str = _setting("", "default instructions; empty: the checkpoint's own", max_length=MAX_INSTRUCTIONS)
    vocoder_dtype: Literal["float32", "bfloat16", "float16"] = _setting(
        "float32",
        "data type of the flow matching products; HiFT always uses float32",
    )
    vocoder_trim: Literal["upstream", "prompt"] = _setting(
        "upstream",
        "what flow matching keeps of its past: as the official implementation (upstream), or the voice's whole prompt, "
        "shared by all sessions, and the newest 2 s (prompt)",
    )
    vocoder_fade: Literal["upstream", "amplitude"] = _setting(
        "upstream",
        "cross-fade between chunks: as the official implementation, 8 percent louder in the seam (upstream), or at "
        "constant level (amplitude)",
    )
    vocoder_chunks: str = _setting(
        "5,10,25",
        "chunk lengths in speech tokens (25 per second): the first is for the first chunk of a reply, longer ones are "
        "used as playback gets a lead",
        formerly="vocoder_ladder",
        listed=True,
    )
    vocoder_fixed_streams: int = _setting(
        0,
        "replies at a time with batches of fixed shape, on CUDA as graphs; needs --vocoder-trim prompt; 0: off",
        ge=0,
        le=256,
    )
    flow_steps: int = _setting(0, "Euler steps of flow matching; 0: the checkpoint's own, else 10", ge=0, le=100)
    call_confidence: float = _setting(
        -1.0,
        "smallest probability of a function call, 0 to 1; a less likely call is discarded and the reply is generated "
        "again without calls; negative: the checkpoint's own (official ones: 0, keep all)",
        ge=-1,
        le=1,
    )
    interruption: Literal["immediate", "pause", "play_on"] = _setting(
        "immediate",
        "what playback does on overlapping speech: stop (immediate), pause until the speech is classified (pause), or "
        "continue until then (play_on); default for sessions that do not set it",
    )
    backchannels: str = _setting(
        ", ".join(DEFAULT_BACKCHANNELS),
        "comma-separated words that do not interrupt a paused reply when nothing else is said; empty: every word "
        "interrupts",
        listed=True,
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
    max_sessions: int = _setting(
        0,  # not given
        "maximum number of sessions; further clients wait, or get `server_full`; default: as many as this machine "
        "serves in time by a measurement at start, at most 16",
        ge=1,
        le=4096,
    )
    queue_size: int = _setting(
        16,
        "clients that may wait while all sessions are taken; 0: they get `server_full` at once",
        formerly="waiting_line",
        ge=0,
        le=10000,
    )
    queue_seconds: int = _setting(60, "longest wait for a session", formerly="waiting_seconds", ge=1, le=86400)
    handshake_seconds: int = _setting(
        8,  # below the 10 s after which clients give up a handshake
        "longest wait inside the WebSocket handshake, for clients that do not ask for `session.queued` events "
        "(?wait=events)",
        ge=0,
        le=600,
    )
    key_sessions: int = _setting(
        0, "sessions at a time per API key (without keys: per address); 0: no limit", ge=0, le=1000000
    )
    key_responses: int = _setting(0, "responses per minute and API key; 0: no limit", ge=0, le=1000000)
    key_out_of_band: int = _setting(
        8, "responses outside conversations at a time per API key; 0: no limit", ge=0, le=1000000
    )
    key_audio_minutes: int = _setting(
        0, "minutes of input and output audio per hour and API key; 0: no limit", ge=0, le=1000000
    )
    max_context_tokens: int = _setting(
        0,
        "length of a session's context (KV cache) in tokens; 0: what the checkpoint was trained for",
        ge=0,
        le=1048576,
    )
    speculate: bool = _setting(
        True, "generate the reply at every pause that may end the turn, and send it when the end is certain"
    )
    audio_gap_ms: int = _setting(
        1000,
        "in an open turn, assume silence after this time without audio (muted microphone, lost network); 0: never",
        ge=0,
        le=60000,
    )
    record: str = _setting(
        "", "folder in which to record every session for `realtime replay`; recordings contain all speech and text"
    )
    tools: str = _setting(
        "", "server tools offered to every session: get_time,calculate,weather,web_search,audio_search", listed=True
    )
    weather_url: str = _setting(
        "", "HTTP endpoint of the tool weather: URL with {location} [Header: value]", repr=False
    )
    web_search_url: str = _setting(
        "", "HTTP endpoint of the tool web_search: URL with {query} [Header: value]", repr=False
    )
    clips: str = _setting("", "folder of speech clips for the tool audio_search, whose voices it can answer in")
    mcp_hosts: str = _setting(
        "",
        "hosts of MCP servers that clients may name: HOST[:PORT],*.DOMAIN,… or * for any public host; empty: none",
        listed=True,
    )
    session_seconds: int = _setting(3600, "longest duration of a session", ge=1, le=604800)
    stall_seconds: float = _setting(
        30.0,
        "replace the engine or the vocoder when it has work and shows no sign of life for this time; end the process "
        "when the event loop is blocked for this time, or a replacement fails; 0: never",
        ge=0,
        le=3600,
    )
    response_seconds: float = _setting(
        60.0,
        "fail a response or a transcript with `engine_timeout` when nothing comes of the model or the vocoder for this "
        "time; 0: never",
        ge=0,
        le=3600,
    )
    drain_seconds: float = _setting(
        5.0,
        "after SIGTERM or SIGINT, longest time for conversations to end; nobody is admitted then. A quiet session ends "
        "after 2 s. A second signal ends all at once",
        ge=0,
        le=3600,
    )
    api_key: str = _setting(
        "", "API key that clients must send; prefer the environment variable, because `ps` shows flags", repr=False
    )
    api_keys_file: str = _setting(
        "", "file with one API key per line, or `sha256:` and the key's hash; # starts a comment"
    )
    admin_key: str = _setting(
        "",
        "key of the operators' page /admin and its routes; must not be an API key. Without one they answer on this "
        "machine only, where the server has no API keys and listens on a loopback address",
        repr=False,
    )
    admin_keys_file: str = _setting("", "file with admin keys, written as --api-keys-file")
    allow_anonymous: bool = _setting(False, "without API keys, also serve clients on other machines")
    allowed_origins: str = _setting(
        "",
        "origins of web pages that may connect, besides this server's own and local ones: https://HOST,… or *",
        listed=True,
    )
    allowed_hosts: str = _setting(
        "",
        "names under which a server without API keys is reached, besides its address and private names: NAME,… or *",
        listed=True,
    )
    trusted_proxies: str = _setting(
        "",
        "addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: 10.0.0.0/8,…",
        listed=True,
    )
    webrtc: bool = _setting(True, "answer WebRTC offers (POST /v1/realtime/calls); needs the extra `webrtc`")
    webrtc_addresses: str = _setting(
        "",
        "local addresses of WebRTC's UDP sockets: IP,…; empty: all interfaces, and loopback where --host is a loopback "
        "address or there is no network",
        listed=True,
    )
    webrtc_port: int = _setting(0, "UDP port of all WebRTC calls; 0: a free one, chosen at start", ge=0, le=65535)
    webrtc_advertised: str = _setting(
        "", "addresses that clients are told in place of the local ones (behind NAT, in containers): IP,…", listed=True
    )
    webrtc_stun: str = _setting("", "STUN server asked at start for the address that a NAT shows: HOST[:PORT]")
    webrtc_turn: str = _setting(
        "", "TURN server that relays to this server: turn:HOST[:PORT][?transport=tcp] or turns:…"
    )
    webrtc_turn_username: str = _setting("", "user name on --webrtc-turn")
    webrtc_turn_password: str = _setting("", "password on --webrtc-turn; prefer the environment variable", repr=False)
    tls_cert: str = _setting("", "certificate chain (PEM) for https and wss")
    tls_key: str = _setting("", "private key of --tls-cert (PEM)")
    tls_self_signed: bool = _setting(
        False, "https and wss with a certificate made at start; browsers need TLS for a microphone on another machine"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "logging level")
    log_format: Literal["text", "json"] = _setting("text", "form of the log: lines of text, or a JSON object a line")

    @field_validator("*", mode="before")
    @classmethod
    def _check_kind(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic takes TOML's switches for numbers. C libraries cut a string at a NUL character."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and _is_number(field):
            raise ValueError(f"{str(value).lower()} is not {_accepted(field, with_kind=True)}")
        if isinstance(value, str) and "\0" in value:
            raise ValueError("it contains a NUL character")
        return value

    @field_validator("webrtc_addresses", "webrtc_advertised", "webrtc_stun", "webrtc_turn")
    @classmethod
    def _check_network(cls, value: str, info: ValidationInfo) -> str:
        {"webrtc_stun": stun_address, "webrtc_turn": turn_server}.get(str(info.field_name), ip_addresses)(value)
        return value

    @field_validator("max_context_tokens")
    @classmethod
    def _check_context(cls, value: int) -> int:
        if 0 < value < LEAST_CONTEXT_TOKENS:
            raise ValueError(f"{value} is not 0 or in {LEAST_CONTEXT_TOKENS}-1048576")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `read` found: it knows where each value came from."""
        return (init_settings,)

    @classmethod
    def read(cls, arguments: argparse.Namespace, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from parsed flags (absent or None: not given) over the environment over the TOML file over the
        defaults. Raises `ConfigError`."""
        names = cls.model_fields
        flags = {name: value for name in names if (value := getattr(arguments, name, None)) is not None}
        variables = _read_environment(os.environ if environ is None else environ, flags)
        path = str(flags.get("config") or variables.get("config") or "")
        in_file = _read_file(path) if path else {}
        try:
            return cls(**(in_file | variables | flags))
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            origin = _origin(name, flags, variables, path)
            raise ConfigError(f"{origin}: {_problem(names[name], first)}") from None


class _Environment(EnvSettingsSource):
    """The variables of a mapping."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._variables.items()}


def _read_environment(environ: Mapping[str, str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """The values by setting; those under an old name with a warning, where nothing else is set."""
    renamed = dict(environ)
    for name, field in Settings.model_fields.items():
        variable, old = ENV_PREFIX + name.upper(), ENV_PREFIX + _extra(field, "formerly").upper()
        if old != ENV_PREFIX and old in environ and variable not in environ and name not in flags:
            _warn_renamed(old, variable)
            renamed[variable] = environ[old]
    _warn_unknown(environ)
    return _Environment(renamed)()


def _warn_unknown(environ: Mapping[str, str]) -> None:
    """A misspelt variable must not be without effect in silence. It is no error: other programs may have such names."""
    fields = Settings.model_fields
    known = {ENV_PREFIX + name.upper() for name in fields}
    known |= {ENV_PREFIX + old.upper() for field in fields.values() if (old := _extra(field, "formerly"))}
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX) and name not in known):
        near = difflib.get_close_matches(variable, known, 1, cutoff=0.85)
        hint = f"; did you mean {near[0]}?" if near else ""
        logger.warning("the environment variable %s is no setting and is ignored%s", variable, hint)


def _read_file(path: str) -> dict[str, Any]:
    """The values of a TOML file by setting. Raises `ConfigError`."""
    if not os.path.isfile(path):
        raise ConfigError(f"--config: {path} is not a file")
    try:
        values = TomlConfigSettingsSource(Settings, Path(path))()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--config: {path}: {error}") from None
    values = _with_new_names(values, path)
    for name, value in values.items():
        if name not in Settings.model_fields or name == "config":
            raise ConfigError(f"--config: {path}: there is no setting {name[:_SHOWN_CHARACTERS]!r}")
        if isinstance(value, list) and _extra(Settings.model_fields[name], "listed"):
            values[name] = ",".join(map(str, value))
    return values


def _with_new_names(values: dict[str, Any], path: str) -> dict[str, Any]:
    for name, field in Settings.model_fields.items():
        old = _extra(field, "formerly")
        if old in values:
            _warn_renamed(f"{old} in {path}", name)
            values.setdefault(name, values.pop(old))
    return values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag per setting; its help names its environment variable. `Settings.read` checks the values."""
    for name, field in Settings.model_fields.items():
        shown = {"model": "embedded nano", "max_sessions": "measured"}.get(name, repr(field.default))
        allowed = f"; {_accepted(field)}" if _is_number(field) else ""
        help = f"{field.description} (default {shown}{allowed}; env {ENV_PREFIX}{name.upper()})"
        if field.annotation is bool:
            parser.add_argument(_flag(name), action=argparse.BooleanOptionalAction, default=None, help=help)
            continue
        choices = get_args(field.annotation)
        metavar = "{" + ",".join(choices) + "}" if choices else name.upper()
        parser.add_argument(_flag(name), default=None, metavar=metavar, help=help)
        if formerly := _extra(field, "formerly"):
            parser.add_argument(_flag(formerly), action=_OldFlag, dest=name, const=_flag(name), help=argparse.SUPPRESS)


class _OldFlag(argparse.Action):
    """A flag that was renamed: it still works, with a warning. ``const``: the new flag."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        _warn_renamed(str(option), str(self.const))
        setattr(namespace, self.dest, values)


def _warn_renamed(old: str, new: str) -> None:
    logger.warning("%s is deprecated: use %s", old, new)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _extra(field: FieldInfo, key: str) -> Any:
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra[key]


# What is wrong with a value


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """What is wrong in here, is wrong with this setting: one line, a `ConfigError`, that begins with its flag."""
    try:
        yield
    except (ConfigError, CheckpointError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:
            problem = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        else:
            problem = str(error)
        raise ConfigError(f"{_flag(setting)}: {'; '.join(problem.splitlines())}") from error


def _origin(name: str, flags: Mapping[str, Any], variables: Mapping[str, Any], path: str) -> str:
    """The flag, and what else may have set it."""
    if name in flags:
        return _flag(name)
    if name in variables:
        return f"{_flag(name)} ({ENV_PREFIX}{name.upper()})"
    return f"{_flag(name)} ({name} in {path})"


def _problem(field: FieldInfo, error: ErrorDetails) -> str:
    """``VALUE is not RANGE``; a secret is not repeated."""
    kind, value = error["type"], error["input"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "string_too_long":
        return f"it has {len(value)} characters, more than {error['ctx']['max_length']}"
    shown = repr(value) if isinstance(value, str) and not _is_numeral(value) else str(value)
    shown = shown if field.repr else "the value"
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    out_of_range = kind in ("greater_than_equal", "less_than_equal")
    return f"{shown} is not {_accepted(field, with_kind=not out_of_range)}"


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_number(field: FieldInfo) -> bool:
    return field.annotation in (int, float)


def _accepted(field: FieldInfo, *, with_kind: bool = False) -> str:
    """``in 1-65535``, ``an integer in 1-65535``, ``one of a, b``."""
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(get_args(field.annotation))}"
    if field.annotation is bool:
        return "one of true, false"
    if not _is_number(field):
        return "text"
    low = next(limit.ge for limit in field.metadata if hasattr(limit, "ge"))
    high = next(limit.le for limit in field.metadata if hasattr(limit, "le"))
    numbers = f"in {low}-{high}" if low >= 0 else f"in {low} to {high}"
    kind = "an integer " if field.annotation is int else "a number "
    return f"{kind}{numbers}" if with_kind else numbers
