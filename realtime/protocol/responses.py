"""The response object, its usage, and what ``response.create`` may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, StrictStr
from pydantic_core import PydanticCustomError

from realtime.protocol.errors import ProtocolError, quote
from realtime.protocol.items import InputItem, Item
from realtime.protocol.session_config import (
    AudioFormat,
    Instructions,
    MaxOutputTokens,
    OutputModalities,
    Prompt,
    Reasoning,
    Session,
    Tool,
    ToolChoice,
    Tools,
    Voice,
    voice_name,
)
from realtime.protocol.wire import Bool, Lenient, Maybe, Wire

ResponseStatus = Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]
FinalStatus = Literal["completed", "cancelled", "incomplete", "failed"]
StatusReason = Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"]

_METADATA_PAIRS, _METADATA_KEY, _METADATA_VALUE = 16, 64, 512
"""The API's limits: pairs, and characters of a key and of a value."""


def _metadata(value: dict[str, str]) -> dict[str, str]:
    if len(value) > _METADATA_PAIRS:
        raise PydanticCustomError("metadata", "should have at most 16 pairs")
    if any(len(key) > _METADATA_KEY or len(text) > _METADATA_VALUE for key, text in value.items()):
        raise PydanticCustomError("metadata", "should have keys of at most 64 and values of at most 512 characters")
    return value


Metadata = Annotated[dict[StrictStr, StrictStr], AfterValidator(_metadata)]


class CachedTokens(Wire):
    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0


class InputTokens(Wire):
    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    cached_tokens_details: CachedTokens = CachedTokens()


class OutputTokens(Wire):
    text_tokens: int = 0
    audio_tokens: int = 0


class Usage(Wire):
    """Tokens by kind; ``total_tokens = input_tokens + output_tokens``. `count` computes the sums."""

    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: InputTokens = InputTokens()
    output_token_details: OutputTokens = OutputTokens()

    @classmethod
    def count(
        cls,
        *,
        input_text: int = 0,
        input_audio: int = 0,
        cached_text: int = 0,
        cached_audio: int = 0,
        output_text: int = 0,
        output_audio: int = 0,
    ) -> Usage:
        """The cached tokens are among the input tokens."""
        cached = CachedTokens(text_tokens=cached_text, audio_tokens=cached_audio)
        return cls(
            total_tokens=input_text + input_audio + output_text + output_audio,
            input_tokens=input_text + input_audio,
            output_tokens=output_text + output_audio,
            input_token_details=InputTokens(
                text_tokens=input_text,
                audio_tokens=input_audio,
                cached_tokens=cached_text + cached_audio,
                cached_tokens_details=cached,
            ),
            output_token_details=OutputTokens(text_tokens=output_text, audio_tokens=output_audio),
        )


class ResponseError(Wire):
    type: str = "server_error"
    code: Maybe[str] = None
    message: Maybe[str] = None


def rate_limited(message: str) -> ResponseError:
    """Why a response is not made whose session or key has used too much."""
    return ResponseError(type="rate_limit_error", code="rate_limit_exceeded", message=message)


class StatusDetails(Wire):
    """Why a response ended as it did."""

    type: FinalStatus
    reason: Maybe[StatusReason] = None
    error: Maybe[ResponseError] = None


class ResponseAudioOut(Wire):
    format: AudioFormat
    voice: str


class ResponseAudio(Wire):
    output: ResponseAudioOut


class Response(Wire):
    """One reply. ``conversation_id`` is None out of band. Until it is done, ``output`` is empty and ``usage`` None."""

    id: str
    object: Literal["realtime.response"] = "realtime.response"
    status: ResponseStatus = "in_progress"
    status_details: StatusDetails | None = None
    output: tuple[Item, ...] = ()
    conversation_id: str | None = None
    output_modalities: tuple[Literal["audio", "text"], ...] = ("audio",)
    max_output_tokens: MaxOutputTokens = "inf"
    audio: Maybe[ResponseAudio] = None
    metadata: Metadata | None = None
    usage: Usage | None = None


class ResponseAudioOutParams(Lenient):
    format: Maybe[AudioFormat] = None
    voice: Maybe[Voice] = None


class ResponseAudioParams(Lenient):
    output: Maybe[ResponseAudioOutParams] = None


class ResponseParams(Lenient):
    """The settings of one response. None: as in the session."""

    unused_keys: ClassVar[frozenset[str]] = frozenset({"temperature"})
    """A setting of the beta."""

    audio: Maybe[ResponseAudioParams] = None
    conversation: Maybe[str] = None
    input: Maybe[tuple[InputItem, ...]] = None
    instructions: Maybe[Instructions] = None
    max_output_tokens: Maybe[MaxOutputTokens] = None
    metadata: Maybe[Metadata] = None
    output_modalities: Maybe[OutputModalities] = None
    parallel_tool_calls: Maybe[Bool] = None
    prompt: Maybe[Prompt] = None
    reasoning: Maybe[Reasoning] = None
    tool_choice: Maybe[ToolChoice] = None
    tools: Maybe[Tools] = None


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """The settings in force for one response: the session's, overridden by those of ``response.create``.

    ``input``: replaces the conversation as context; None: the conversation, ``()``: nothing.
    ``out_of_band``: the reply does not enter the conversation. ``parallel_tool_calls``: it may call several tools.
    """

    speech: bool
    instructions: str
    voice: str
    output_format: AudioFormat
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    max_output_tokens: int | Literal["inf"]
    metadata: dict[str, str] | None
    input: tuple[InputItem, ...] | None
    out_of_band: bool
    speed: float = 1.0
    """Speed of the speech; 1 is the model's own."""
    effort: str | None = None
    """How long to think before the answer; None: as the model does by default."""
    parallel_tool_calls: bool = True

    def response(self, response_id: str, conversation_id: str) -> Response:
        """The response object as ``response.created`` shows it."""
        return Response(
            id=response_id,
            conversation_id=None if self.out_of_band else conversation_id,
            output_modalities=("audio",) if self.speech else ("text",),
            max_output_tokens=self.max_output_tokens,
            audio=ResponseAudio(output=ResponseAudioOut(format=self.output_format, voice=self.voice)),
            metadata=self.metadata,
        )


def configure_response(
    session: Session,
    params: ResponseParams | None = None,
    *,
    audio_produced: bool = False,
    conversation_id: str | None = None,
    event_id: str | None = None,
) -> ResponseConfig:
    """The settings of one response. Raises `ProtocolError` for settings that are not possible.

    ``audio_produced``: the assistant has spoken, so the voice cannot change.
    ``conversation_id``: of the one conversation; a response may name it instead of ``"auto"``.
    """
    asked = params or ResponseParams()
    _check_conversation(asked, conversation_id, event_id)
    out_of_band = asked.conversation == "none"
    output = asked.audio.output if asked.audio is not None else None
    voice = voice_name(output.voice) if output is not None and output.voice else session.voice
    if audio_produced and not out_of_band and voice != session.voice:
        raise ProtocolError(
            "cannot_update_voice",
            f"Cannot answer with voice {quote(voice)}: the conversation already has audio in voice "
            f"{quote(session.voice)}. Use 'conversation': 'none', or open a new session.",
            param="response.audio.output.voice",
            event_id=event_id,
        )
    return ResponseConfig(
        speech=(asked.output_modalities or session.output_modalities) == ("audio",),
        instructions=session.instructions if asked.instructions is None else asked.instructions,
        voice=voice,
        output_format=output.format if output is not None and output.format else session.audio.output.format,
        tools=session.tools if asked.tools is None else asked.tools,
        tool_choice=session.tool_choice if asked.tool_choice is None else asked.tool_choice,
        max_output_tokens=asked.max_output_tokens or session.max_output_tokens,
        metadata=asked.metadata,
        input=asked.input,
        out_of_band=out_of_band,
        speed=session.audio.output.speed,
        effort=(asked.reasoning.effort if asked.reasoning is not None else None) or session.effort,
        parallel_tool_calls=_first_given(asked.parallel_tool_calls, session.parallel_tool_calls, True),
    )


def _check_conversation(asked: ResponseParams, conversation_id: str | None, event_id: str | None) -> None:
    """Raises `ProtocolError` for another conversation than the one there is, and for a stored prompt."""
    if asked.conversation not in (None, "auto", "none", conversation_id):
        raise ProtocolError(
            "invalid_value",
            f"Invalid value: {quote(asked.conversation)}. A session has one conversation: say 'auto', "
            "or 'none' for a response outside of it.",
            param="response.conversation",
            event_id=event_id,
        )
    if asked.prompt is not None:
        raise ProtocolError(
            "invalid_value",
            "This server stores no prompts. Put the text into 'response.instructions'.",
            param="response.prompt",
            event_id=event_id,
        )


def _first_given(*values: bool | None) -> bool:
    return next(value for value in values if value is not None)
