"""The session object, and how an update changes it.

Every field always has a value, and every ``session.updated`` shows all of them. An update is a patch in JSON (`merge`).
Only present fields change. Null clears some fields and otherwise counts as "not given". An update is applied as a whole
or not at all. Unknown keys are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from realtime.protocol.beta import OLDER_PLACES
from realtime.protocol.errors import ProtocolError, from_validation, quote
from realtime.protocol.tools import MAX_TOOLS as MAX_TOOLS
from realtime.protocol.tools import FunctionTool as FunctionTool
from realtime.protocol.tools import McpApprovalFilter as McpApprovalFilter
from realtime.protocol.tools import McpTool as McpTool
from realtime.protocol.tools import McpToolFilter as McpToolFilter
from realtime.protocol.tools import Tool as Tool
from realtime.protocol.tools import ToolChoice as ToolChoice
from realtime.protocol.tools import ToolChoiceFunction as ToolChoiceFunction
from realtime.protocol.tools import ToolChoiceMcp as ToolChoiceMcp
from realtime.protocol.tools import Tools as Tools
from realtime.protocol.tools import check_functions
from realtime.protocol.unknown_keys import fields, refuse_unknown
from realtime.protocol.wire import Bool, Count, JsonObject, Lenient, Maybe, Milliseconds, Share, Wire

MAX_OUTPUT_TOKENS = 4096
MAX_INSTRUCTIONS_CHARACTERS = 200_000
"""Far above any prompt that fits the model; the echo stays below clients' message limit of 1 MiB."""


# Audio formats


class Pcm(Lenient):
    """Signed 16 bit little-endian mono. 16 and 8 kHz are an extension; the SDKs know 24 kHz only."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000, 16000, 8000] = 24000

    @property
    def sample_rate(self) -> int:
        return self.rate

    @property
    def sample_bytes(self) -> int:
        return 2


class _G711(Lenient):
    unused_keys: ClassVar[frozenset[str]] = frozenset({"rate"})
    """The rate is always 8000; clients may name it."""

    @model_validator(mode="before")
    @classmethod
    def _has_one_rate(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("rate") not in (None, 8000):
            raise PydanticCustomError("rate", "has a rate of 8000 always")
        return data

    @property
    def sample_rate(self) -> int:
        return 8000

    @property
    def sample_bytes(self) -> int:
        return 1


class Pcmu(_G711):
    """G.711 µ-law, 8 kHz, one byte a sample."""

    type: Literal["audio/pcmu"] = "audio/pcmu"


class Pcma(_G711):
    """G.711 A-law, 8 kHz, one byte a sample."""

    type: Literal["audio/pcma"] = "audio/pcma"


AudioFormat = Annotated[Pcm | Pcmu | Pcma, Field(discriminator="type")]


# Turn detection


Interruption = Literal["immediate", "pause", "play_on"]
"""An extension: what speech during a reply does until it is classified."""


IdleTimeout = Annotated[Milliseconds, Field(ge=5000, le=30_000)]
"""OpenAI's bounds. With a shorter timeout, responses would follow each other without end."""


class ServerVad(Lenient):
    """Turns end after a silence. ``create_response`` and ``interrupt_response`` are always shown: the Agents SDKs send
    ``response.cancel`` at every barge-in unless they read ``true`` there."""

    unused_keys: ClassVar[frozenset[str]] = frozenset({"model_version"})
    """A setting of agents-js."""

    type: Literal["server_vad"] = "server_vad"
    threshold: Share = 0.5
    prefix_padding_ms: Milliseconds = 300
    silence_duration_ms: Milliseconds = 500
    idle_timeout_ms: IdleTimeout | None = None
    create_response: Bool = True
    interrupt_response: Bool = True
    interruption: Maybe[Interruption] = None
    echo_gate: Maybe[Bool] = None


class SemanticVad(Lenient):
    """Turns end when the user seems to have finished."""

    unused_keys: ClassVar[frozenset[str]] = ServerVad.unused_keys

    type: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: Bool = True
    interrupt_response: Bool = True
    interruption: Maybe[Interruption] = None
    echo_gate: Maybe[Bool] = None


TurnDetection = Annotated[ServerVad | SemanticVad, Field(discriminator="type")]


# Single fields


def _output_modalities(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) != 1:
        raise PydanticCustomError(
            "output_modalities", 'should be ["audio"] (speech and its transcript) or ["text"], not both'
        )
    return value


def _max_tokens(value: object) -> object:
    if value == "inf" or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("wrong_type", "", {"expected": f'an integer from 1 to {MAX_OUTPUT_TOKENS} or "inf"'})


OutputModalities = Annotated[tuple[Literal["audio", "text"], ...], AfterValidator(_output_modalities)]
MaxOutputTokens = Annotated[
    Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | Literal["inf"], BeforeValidator(_max_tokens)
]
Instructions = Annotated[str, Field(max_length=MAX_INSTRUCTIONS_CHARACTERS)]


class VoiceId(Lenient):
    """A custom voice by its id."""

    id: Annotated[str, Field(min_length=1)]


Voice = Annotated[str, Field(max_length=256)] | VoiceId


def served_voice(asked: str, voices: Sequence[str]) -> str:
    """The voice that speaks: the one asked for, or the first of ``voices`` where that name is unknown.

    Clients name OpenAI's voices ("alloy", "marin") by default. The session echoes that name and speaks in the default
    voice. An error would end their session.
    """
    return asked if asked in voices else voices[0]


def voice_name(voice: str | VoiceId) -> str:
    return voice if isinstance(voice, str) else voice.id


_HINT_CHARACTERS, _MOST_HINTS = 80, 100
_Hints = Annotated[tuple[Annotated[str, Field(max_length=_HINT_CHARACTERS)], ...], Field(max_length=_MOST_HINTS)]


class Transcription(Lenient):
    """Asks for transcripts of the user's speech. ``model`` may be any name; the server has one. The hints are part of
    its prompt, so their length is limited. ``delay`` has no effect."""

    model: Maybe[str] = None
    language: Maybe[Annotated[str, Field(max_length=_HINT_CHARACTERS)]] = None
    languages: Maybe[_Hints] = None
    prompt: Maybe[Annotated[str, Field(max_length=_HINT_CHARACTERS * _MOST_HINTS // 2)]] = None
    keywords: Maybe[_Hints] = None
    delay: Maybe[str] = None


class NoiseReduction(Lenient):
    type: Maybe[Literal["near_field", "far_field"]] = None
    strength: Maybe[Share] = None


class TracingConfig(Lenient):
    workflow_name: Maybe[str] = None
    group_id: Maybe[str] = None
    metadata: Maybe[Any] = None


class TokenLimits(Lenient):
    post_instructions: Maybe[Count] = None


class RetentionRatio(Lenient):
    type: Literal["retention_ratio"] = "retention_ratio"
    retention_ratio: Share
    token_limits: Maybe[TokenLimits] = None


class Reasoning(Lenient):
    """Length of the thought before an answer: ``none``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh``. Any
    other word is ``medium``. Models that do not think ignore it."""

    effort: Maybe[str] = None


class Prompt(Lenient):
    """A stored prompt, by id. The server stores none, so only null is accepted."""

    id: str
    version: Maybe[str] = None
    variables: Maybe[JsonObject] = None


LOGPROBS = "item.input_audio_transcription.logprobs"
TIMELINE = "session.timeline"
Include = tuple[Literal["item.input_audio_transcription.logprobs", "response.thinking", "session.timeline"], ...]
"""``response.thinking`` and ``session.timeline`` are extensions. Strict clients do not know their events, so a client
must ask for them."""


# The session: nulls say what is off here, so these are not `Lenient`


class AudioIn(Wire):
    format: AudioFormat = Pcm()
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: TurnDetection | None = ServerVad()


class AudioOut(Wire):
    format: AudioFormat = Pcm()
    voice: Voice = "default"
    speed: Annotated[float, Field(strict=True, ge=0.25, le=1.5, allow_inf_nan=False)] = 1.0


class SessionAudio(Wire):
    input: AudioIn = AudioIn()
    output: AudioOut = AudioOut()


class Session(Wire):
    """A conversation in speech or text. All fields always have a value."""

    unused_keys: ClassVar[frozenset[str]] = frozenset({"client_secret", "temperature"})
    """``client_secret``: clients send back what POST answered. ``temperature``: of the beta, dropped for its
    clients."""

    type: Literal["realtime"] = "realtime"
    object: Literal["realtime.session"] = "realtime.session"
    id: str
    model: str
    expires_at: int
    output_modalities: OutputModalities = ("audio",)
    instructions: Instructions = ""
    tools: Tools = ()
    tool_choice: ToolChoice = "auto"
    max_output_tokens: MaxOutputTokens = "inf"
    tracing: Literal["auto"] | TracingConfig | None = None
    truncation: Literal["auto", "disabled"] | RetentionRatio = "auto"
    prompt: None = None
    include: Include | None = None
    reasoning: Maybe[Reasoning] = None
    parallel_tool_calls: Maybe[Bool] = None
    server_tools: Maybe[tuple[str, ...]] = None
    """An extension: the server's own tools that may be called; None: all."""
    audio: SessionAudio = SessionAudio()

    @property
    def voice(self) -> str:
        return voice_name(self.audio.output.voice)

    @property
    def turn_detection(self) -> ServerVad | SemanticVad | None:
        return self.audio.input.turn_detection

    @property
    def effort(self) -> str | None:
        """How long to think; None: as the model does by default."""
        return self.reasoning.effort if self.reasoning is not None else None

    @property
    def speaks(self) -> bool:
        """Whether replies are spoken unless a response says otherwise."""
        return self.output_modalities == ("audio",)


class TranscriptionAudio(Wire):
    input: AudioIn = AudioIn()


class TranscriptionSession(Wire):
    """Only transcribes: it has turns and transcripts, and no responses."""

    unused_keys: ClassVar[frozenset[str]] = Session.unused_keys | {"model"}

    type: Literal["transcription"] = "transcription"
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    id: str
    expires_at: int
    include: Include | None = None
    audio: TranscriptionAudio = TranscriptionAudio()

    @property
    def turn_detection(self) -> ServerVad | SemanticVad | None:
        return self.audio.input.turn_detection


AnySession = Annotated[Session | TranscriptionSession, Field(discriminator="type")]

_MERGED: frozenset[tuple[str, ...]] = frozenset(
    {
        (),
        ("audio",),
        ("audio", "input"),
        ("audio", "input", "format"),
        ("audio", "input", "turn_detection"),
        ("audio", "input", "transcription"),
        ("audio", "input", "noise_reduction"),
        ("audio", "output"),
        ("audio", "output", "format"),
        ("reasoning",),
    }
)
"""Objects whose fields change one by one; any other value is replaced as a whole."""

_CLEARED_BY_NULL: frozenset[tuple[str, ...]] = frozenset(
    {
        ("tracing",),
        ("prompt",),
        ("include",),
        ("reasoning",),
        ("audio", "input", "transcription"),
        ("audio", "input", "noise_reduction"),
        ("audio", "input", "turn_detection"),
        ("audio", "input", "turn_detection", "idle_timeout_ms"),
        ("audio", "input", "transcription", "language"),
        ("audio", "input", "transcription", "languages"),
        ("audio", "input", "transcription", "prompt"),
        ("audio", "input", "transcription", "keywords"),
        ("audio", "input", "noise_reduction", "strength"),
    }
)
"""Fields that null sets to nothing. Anywhere else a null is the same as not naming the field."""

_OFF_BY_NULL = frozenset(
    {"turn_detection", "transcription", "noise_reduction", "input_audio_transcription", "input_audio_noise_reduction"}
)
"""Null turns these off, so a misplaced null is an error, too."""

_KEPT: Mapping[str, Collection[str]] = {
    "server_vad": fields(ServerVad),
    "semantic_vad": fields(SemanticVad),
    "audio/pcm": (),
    "audio/pcmu": (),
    "audio/pcma": (),
}
"""The fields that an object keeps when its ``type`` changes to this one."""

_NEVER_UPDATED = ("id", "object", "model", "expires_at")
"""Accepted and ignored: SDKs send the whole object back, or always name a model."""


def merge(
    current: Session,
    update: Mapping[str, Any],
    *,
    audio_produced: bool = False,
    response_active: bool = False,
    event_id: str | None = None,
) -> Session:
    """The session after ``session.update`` (its ``session`` object, as JSON). Raises `ProtocolError`; nothing is
    changed then.

    ``audio_produced``: the assistant has spoken, so the voice cannot change. ``response_active``: nor can the speed.
    """
    _check_patch(update, current.type, event_id)
    changes = {key: value for key, value in update.items() if key not in _NEVER_UPDATED}
    patched = _patch(current.model_dump(mode="json"), changes)
    _refuse_unknown(patched, Session, event_id)
    try:
        changed = Session.model_validate(patched)
    except ValidationError as error:
        raise from_validation(error, patched, root="session", event_id=event_id) from None
    check_functions(changed.tools, "session", event_id)
    if "tools" not in changes:
        changed = changed.model_copy(update={"tools": current.tools})  # the JSON form lacks their secrets
    if audio_produced and changed.voice != current.voice:
        raise ProtocolError(
            "cannot_update_voice",
            "Cannot update a conversation's voice if assistant audio is present: it is "
            f"{quote(current.voice)} and cannot become {quote(changed.voice)}. Open a new session for that.",
            param="session.audio.output.voice",
            event_id=event_id,
        )
    if response_active and changed.audio.output.speed != current.audio.output.speed:
        raise ProtocolError(
            "invalid_value",
            "Cannot change the speed while a response is in progress. Wait for response.done.",
            param="session.audio.output.speed",
            event_id=event_id,
        )
    return changed


def merge_transcription(
    current: TranscriptionSession, update: Mapping[str, Any], *, event_id: str | None = None
) -> TranscriptionSession:
    """`merge` for a session that only transcribes."""
    _check_patch(update, current.type, event_id)
    changes = {key: value for key, value in update.items() if key not in _NEVER_UPDATED}
    patched = _patch(current.model_dump(mode="json"), changes)
    _refuse_unknown(patched, TranscriptionSession, event_id)
    try:
        return TranscriptionSession.model_validate(patched)
    except ValidationError as error:
        raise from_validation(error, patched, root="session", event_id=event_id) from None


def _refuse_unknown(patched: Mapping[str, Any], form: type[Wire], event_id: str | None) -> None:
    refuse_unknown(
        patched, form, root="session", older_names=OLDER_PLACES, telling_nulls=_OFF_BY_NULL, event_id=event_id
    )


def _check_patch(update: Mapping[str, Any], current_type: str, event_id: str | None) -> None:
    """Raises `ProtocolError` for faults that the merged result does not show."""
    asked_type = update.get("type", current_type)
    if asked_type != current_type:
        if asked_type not in ("realtime", "transcription"):
            message = f"Invalid value: {quote(asked_type)}. Supported values are: 'realtime' and 'transcription'."
        else:
            message = f"Cannot make a {current_type!r} session a {asked_type!r} session. Connect anew for that."
        raise ProtocolError("invalid_value", message, param="session.type", event_id=event_id)
    if update.get("prompt") is not None:
        raise ProtocolError(
            "invalid_value",
            "This server stores no prompts: 'session.prompt' must be null. Put the text into 'instructions'.",
            param="session.prompt",
            event_id=event_id,
        )


def _kept(target: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that stay: all, or on a change of ``type`` those that the new type has as well."""
    kind = changes.get("type")
    if kind == target.get("type") or not isinstance(kind, str) or kind not in _KEPT:
        return dict(target)
    return {key: value for key, value in target.items() if key in _KEPT[kind]}


def _patch(target: Any, changes: Any, path: tuple[str, ...] = ()) -> Any:
    """``target`` overridden by ``changes``, both JSON. Neither is altered."""
    if path not in _MERGED or not isinstance(changes, Mapping) or not isinstance(target, Mapping | None):
        return changes
    merged = _kept(target or {}, changes)
    for key, value in changes.items():
        here = (*path, key)
        if value is None and here not in _CLEARED_BY_NULL and key not in _OFF_BY_NULL:
            continue
        if here == ("audio", "output", "voice") and value == "":
            continue  # StepFun's clients name no voice this way.
        merged[key] = _patch(merged.get(key), value, here)
    return merged
