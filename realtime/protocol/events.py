"""Every message of the Realtime API in its GA shape, one class each, and the two unions of them.

`ClientEvent`: sent by clients, with an ``event_id`` of their choice or None. `ServerEvent`: sent by the server; its
``event_id`` is ``""`` until `codec.encode` adds one.

Audio fields are bytes here and base64 in JSON. `wire` says how nulls are read and written.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from realtime.protocol.items import ContentPart, Item
from realtime.protocol.responses import Response, ResponseParams
from realtime.protocol.session_config import AnySession
from realtime.protocol.wire import Base64, Count, JsonObject, Lenient, Maybe, Milliseconds, Wire

# Client events


class _ClientEvent(Lenient):
    type: str
    event_id: Maybe[str] = None


class SessionUpdate(_ClientEvent):
    """Changes the session. ``session`` is a patch in JSON, applied by `session_config.merge`."""

    type: Literal["session.update"] = "session.update"
    session: JsonObject


class InputAudioBufferAppend(_ClientEvent):
    """More speech, in the session's input format. May end within a sample; the next one continues it."""

    type: Literal["input_audio_buffer.append"] = "input_audio_buffer.append"
    audio: Base64


class InputAudioBufferCommit(_ClientEvent):
    """Makes the audio since the last commit one user message."""

    type: Literal["input_audio_buffer.commit"] = "input_audio_buffer.commit"


class InputAudioBufferClear(_ClientEvent):
    """Discards the audio since the last commit."""

    type: Literal["input_audio_buffer.clear"] = "input_audio_buffer.clear"


class OutputAudioBufferClear(_ClientEvent):
    """WebRTC and phones: stops the playback, which the server owns there."""

    type: Literal["output_audio_buffer.clear"] = "output_audio_buffer.clear"


class ConversationItemCreate(_ClientEvent):
    """Adds an item after ``previous_item_id``: None is the end, ``root`` the front."""

    type: Literal["conversation.item.create"] = "conversation.item.create"
    previous_item_id: Maybe[str] = None
    item: Item


class ConversationItemRetrieve(_ClientEvent):
    type: Literal["conversation.item.retrieve"] = "conversation.item.retrieve"
    item_id: str


class ConversationItemTruncate(_ClientEvent):
    """Reports how much of a spoken reply was played; the rest is forgotten."""

    type: Literal["conversation.item.truncate"] = "conversation.item.truncate"
    item_id: str
    content_index: Count
    audio_end_ms: Milliseconds


class ConversationItemDelete(_ClientEvent):
    type: Literal["conversation.item.delete"] = "conversation.item.delete"
    item_id: str


class ResponseCreate(_ClientEvent):
    unused_keys: ClassVar[frozenset[str]] = frozenset({"session"})
    """StepFun's clients send the instructions there."""

    type: Literal["response.create"] = "response.create"
    response: Maybe[ResponseParams] = None


class ResponseCancel(_ClientEvent):
    """Stops the response named, or the one that is active."""

    type: Literal["response.cancel"] = "response.cancel"
    response_id: Maybe[str] = None


ClientEvent = Annotated[
    SessionUpdate
    | InputAudioBufferAppend
    | InputAudioBufferCommit
    | InputAudioBufferClear
    | OutputAudioBufferClear
    | ConversationItemCreate
    | ConversationItemRetrieve
    | ConversationItemTruncate
    | ConversationItemDelete
    | ResponseCreate
    | ResponseCancel,
    Field(discriminator="type"),
]


# Server events


class _ServerEvent(Wire):
    type: str
    event_id: Annotated[str, Field(exclude_if=lambda value: not value)] = ""


class SessionCreated(_ServerEvent):
    """The first event of every connection."""

    type: Literal["session.created"] = "session.created"
    session: AnySession


class SessionUpdated(_ServerEvent):
    type: Literal["session.updated"] = "session.updated"
    session: AnySession


class ConversationInfo(Wire):
    id: str
    object: Literal["realtime.conversation"] = "realtime.conversation"


class ConversationCreated(_ServerEvent):
    """Beta only, right after ``session.created``."""

    type: Literal["conversation.created"] = "conversation.created"
    conversation: ConversationInfo


class ConversationItemAdded(_ServerEvent):
    """``previous_item_id`` is the true predecessor; None only for the first item."""

    type: Literal["conversation.item.added"] = "conversation.item.added"
    previous_item_id: str | None = None
    item: Item


class ConversationItemDone(_ServerEvent):
    type: Literal["conversation.item.done"] = "conversation.item.done"
    previous_item_id: str | None = None
    item: Item


class ConversationItemCreated(_ServerEvent):
    """Beta only, in place of `ConversationItemAdded`: GA clients would count the item twice."""

    type: Literal["conversation.item.created"] = "conversation.item.created"
    previous_item_id: str | None = None
    item: Item


class ConversationItemRetrieved(_ServerEvent):
    """The only event that may carry an item's audio."""

    type: Literal["conversation.item.retrieved"] = "conversation.item.retrieved"
    item: Item


class ConversationItemDeleted(_ServerEvent):
    type: Literal["conversation.item.deleted"] = "conversation.item.deleted"
    item_id: str


class ConversationItemTruncated(_ServerEvent):
    type: Literal["conversation.item.truncated"] = "conversation.item.truncated"
    item_id: str
    content_index: int
    audio_end_ms: int


class LogProb(Wire):
    token: str
    bytes: tuple[int, ...]
    logprob: float


class DetectedLanguage(Wire):
    code: str


class DurationUsage(Wire):
    type: Literal["duration"] = "duration"
    seconds: float


class TranscriptionInputTokens(Wire):
    text_tokens: int = 0
    audio_tokens: int = 0


class TokensUsage(Wire):
    type: Literal["tokens"] = "tokens"
    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: TranscriptionInputTokens


TranscriptionUsage = Annotated[DurationUsage | TokensUsage, Field(discriminator="type")]


class InputAudioTranscriptionDelta(_ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: int = 0
    delta: str
    logprobs: Maybe[tuple[LogProb, ...]] = None


class InputAudioTranscriptionCompleted(_ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: int = 0
    transcript: str
    usage: TranscriptionUsage
    logprobs: Maybe[tuple[LogProb, ...]] = None
    languages: Maybe[tuple[DetectedLanguage, ...]] = None


class TranscriptionError(Wire):
    type: str = "transcription_error"
    code: Maybe[str] = None
    message: str
    param: Maybe[str] = None


class InputAudioTranscriptionFailed(_ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.failed"] = (
        "conversation.item.input_audio_transcription.failed"
    )
    item_id: str
    content_index: int = 0
    error: TranscriptionError


class InputAudioTranscriptionSegment(_ServerEvent):
    """A piece of the transcript with its speaker; times in seconds of the item's audio."""

    type: Literal["conversation.item.input_audio_transcription.segment"] = (
        "conversation.item.input_audio_transcription.segment"
    )
    id: str
    item_id: str
    content_index: int = 0
    text: str
    speaker: str
    start: float
    end: float


class InputAudioBufferCommitted(_ServerEvent):
    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"
    previous_item_id: str | None = None
    item_id: str


class InputAudioBufferCleared(_ServerEvent):
    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


class InputAudioBufferSpeechStarted(_ServerEvent):
    """``audio_start_ms``: of the audio written in this session, padding included. The cue to stop
    playback."""

    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"
    audio_start_ms: int
    item_id: str


class InputAudioBufferSpeechStopped(_ServerEvent):
    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"
    audio_end_ms: int
    item_id: str


class InputAudioBufferTimeoutTriggered(_ServerEvent):
    """Nobody spoke for ``idle_timeout_ms``; the silence is committed as a turn."""

    type: Literal["input_audio_buffer.timeout_triggered"] = "input_audio_buffer.timeout_triggered"
    audio_start_ms: int
    audio_end_ms: int
    item_id: str


TelephoneKey = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D"]


class InputAudioBufferDtmfEventReceived(_ServerEvent):
    """Phones: a key was pressed. ``received_at`` in seconds since the epoch."""

    type: Literal["input_audio_buffer.dtmf_event_received"] = "input_audio_buffer.dtmf_event_received"
    event: TelephoneKey
    received_at: int


class OutputAudioBufferStarted(_ServerEvent):
    """For WebRTC and phones, as the next two: the server owns the playback there."""

    type: Literal["output_audio_buffer.started"] = "output_audio_buffer.started"
    response_id: str


class OutputAudioBufferStopped(_ServerEvent):
    type: Literal["output_audio_buffer.stopped"] = "output_audio_buffer.stopped"
    response_id: str


class OutputAudioBufferCleared(_ServerEvent):
    """The playback was cut. Also the command to do so, for the transport that plays (`realtime.ports.channel`)."""

    type: Literal["output_audio_buffer.cleared"] = "output_audio_buffer.cleared"
    response_id: str


class OutputAudioBufferPaused(_ServerEvent):
    """An extension, for sessions with ``interruption: "pause"``: the client pauses its playback. Then follows
    `output_audio_buffer.resumed`, or `input_audio_buffer.speech_started`, which ends it."""

    type: Literal["output_audio_buffer.paused"] = "output_audio_buffer.paused"
    response_id: str


class OutputAudioBufferResumed(_ServerEvent):
    """An extension: it was a false alarm; the playback continues from the same sample."""

    type: Literal["output_audio_buffer.resumed"] = "output_audio_buffer.resumed"
    response_id: str


class ResponseCreated(_ServerEvent):
    type: Literal["response.created"] = "response.created"
    response: Response


class ResponseDone(_ServerEvent):
    type: Literal["response.done"] = "response.done"
    response: Response


class ResponseOutputItemAdded(_ServerEvent):
    type: Literal["response.output_item.added"] = "response.output_item.added"
    response_id: str
    output_index: int
    item: Item


class ResponseOutputItemDone(_ServerEvent):
    type: Literal["response.output_item.done"] = "response.output_item.done"
    response_id: str
    output_index: int
    item: Item


class _OutputItemEvent(_ServerEvent):
    """Happens to an output item of a response."""

    response_id: str
    item_id: str
    output_index: int


class _ContentEvent(_OutputItemEvent):
    """Happens to a content part of an output item."""

    content_index: int


class ResponseContentPartAdded(_ContentEvent):
    type: Literal["response.content_part.added"] = "response.content_part.added"
    part: ContentPart


class ResponseContentPartDone(_ContentEvent):
    type: Literal["response.content_part.done"] = "response.content_part.done"
    part: ContentPart


class ResponseOutputTextDelta(_ContentEvent):
    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    delta: str


class ResponseOutputTextDone(_ContentEvent):
    type: Literal["response.output_text.done"] = "response.output_text.done"
    text: str


class ResponseOutputAudioDelta(_ContentEvent):
    """Speech in the response's output format: whole samples only."""

    type: Literal["response.output_audio.delta"] = "response.output_audio.delta"
    delta: Base64


class ResponseOutputAudioDone(_ContentEvent):
    type: Literal["response.output_audio.done"] = "response.output_audio.done"


class ResponseOutputAudioTranscriptDelta(_ContentEvent):
    type: Literal["response.output_audio_transcript.delta"] = "response.output_audio_transcript.delta"
    delta: str


class ResponseOutputAudioTranscriptDone(_ContentEvent):
    type: Literal["response.output_audio_transcript.done"] = "response.output_audio_transcript.done"
    transcript: str


class ResponseThinkingDelta(_ContentEvent):
    """A thought before the answer, neither spoken nor kept. An event of StepFun's; other clients get it with
    ``include: ["response.thinking"]``."""

    type: Literal["response.thinking.delta"] = "response.thinking.delta"
    delta: str


class ResponseThinkingDone(_ContentEvent):
    type: Literal["response.thinking.done"] = "response.thinking.done"
    thinking: str


class ResponseFunctionCallArgumentsDelta(_OutputItemEvent):
    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"
    call_id: str
    delta: str


class ResponseFunctionCallArgumentsDone(_OutputItemEvent):
    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    call_id: str
    name: str
    arguments: str


class ResponseMcpCallArgumentsDelta(_OutputItemEvent):
    """``obfuscation``: the JavaScript SDK wants a string here."""

    type: Literal["response.mcp_call_arguments.delta"] = "response.mcp_call_arguments.delta"
    delta: str
    obfuscation: str = ""


class ResponseMcpCallArgumentsDone(_OutputItemEvent):
    type: Literal["response.mcp_call_arguments.done"] = "response.mcp_call_arguments.done"
    arguments: str


class ResponseMcpCallInProgress(_ServerEvent):
    type: Literal["response.mcp_call.in_progress"] = "response.mcp_call.in_progress"
    item_id: str
    output_index: int


class ResponseMcpCallCompleted(_ServerEvent):
    type: Literal["response.mcp_call.completed"] = "response.mcp_call.completed"
    item_id: str
    output_index: int


class ResponseMcpCallFailed(_ServerEvent):
    type: Literal["response.mcp_call.failed"] = "response.mcp_call.failed"
    item_id: str
    output_index: int


class McpListToolsInProgress(_ServerEvent):
    type: Literal["mcp_list_tools.in_progress"] = "mcp_list_tools.in_progress"
    item_id: str


class McpListToolsCompleted(_ServerEvent):
    type: Literal["mcp_list_tools.completed"] = "mcp_list_tools.completed"
    item_id: str


class McpListToolsFailed(_ServerEvent):
    """``message``: why; an extension."""

    type: Literal["mcp_list_tools.failed"] = "mcp_list_tools.failed"
    item_id: str
    message: Maybe[str] = None


TimelineKind = Literal[
    "pause_started",
    "pause_ended",
    "speculation_started",
    "speculation_used",
    "speculation_dropped",
    "audio_made",
    "reply_measured",
]


class SessionTimeline(_ServerEvent):
    """An extension, for clients that draw the session. ``at_ms``: since the session began. ``audio_ms``: of the
    caller's audio. ``made_ms``: audio of the reply made so far. ``figures``: latencies of a reply that has ended."""

    type: Literal["session.timeline"] = "session.timeline"
    kind: TimelineKind
    at_ms: float
    audio_ms: int
    response_id: Maybe[str] = None
    made_ms: Maybe[int] = None
    figures: Maybe[dict[str, float | None]] = None


class SessionQueued(_ServerEvent):
    """An extension: all sessions are taken and this client waits in the queue; ``position`` 1 is next.
    `SessionCreated` follows."""

    type: Literal["session.queued"] = "session.queued"
    position: int
    timeout_ms: int


class RateLimit(Wire):
    """``audio_seconds`` is an extension, sent only where the operator limits audio."""

    name: Literal["requests", "tokens", "audio_seconds"]
    limit: int
    remaining: int
    reset_seconds: float


class RateLimitsUpdated(_ServerEvent):
    type: Literal["rate_limits.updated"] = "rate_limits.updated"
    rate_limits: tuple[RateLimit, ...]


class ErrorDetails(Wire):
    """``event_id``: the client's, of the event that caused the error; None if it had none."""

    type: str
    code: str | None = None
    message: str
    param: str | None = None
    event_id: str | None = None


class Error(_ServerEvent):
    type: Literal["error"] = "error"
    error: ErrorDetails


ServerEvent = Annotated[
    SessionCreated
    | SessionQueued
    | SessionTimeline
    | SessionUpdated
    | ConversationCreated
    | ConversationItemAdded
    | ConversationItemDone
    | ConversationItemCreated
    | ConversationItemRetrieved
    | ConversationItemDeleted
    | ConversationItemTruncated
    | InputAudioTranscriptionDelta
    | InputAudioTranscriptionCompleted
    | InputAudioTranscriptionFailed
    | InputAudioTranscriptionSegment
    | InputAudioBufferCommitted
    | InputAudioBufferCleared
    | InputAudioBufferSpeechStarted
    | InputAudioBufferSpeechStopped
    | InputAudioBufferTimeoutTriggered
    | InputAudioBufferDtmfEventReceived
    | OutputAudioBufferStarted
    | OutputAudioBufferStopped
    | OutputAudioBufferCleared
    | OutputAudioBufferPaused
    | OutputAudioBufferResumed
    | ResponseCreated
    | ResponseDone
    | ResponseOutputItemAdded
    | ResponseOutputItemDone
    | ResponseContentPartAdded
    | ResponseContentPartDone
    | ResponseOutputTextDelta
    | ResponseOutputTextDone
    | ResponseOutputAudioDelta
    | ResponseOutputAudioDone
    | ResponseOutputAudioTranscriptDelta
    | ResponseOutputAudioTranscriptDone
    | ResponseThinkingDelta
    | ResponseThinkingDone
    | ResponseFunctionCallArgumentsDelta
    | ResponseFunctionCallArgumentsDone
    | ResponseMcpCallArgumentsDelta
    | ResponseMcpCallArgumentsDone
    | ResponseMcpCallInProgress
    | ResponseMcpCallCompleted
    | ResponseMcpCallFailed
    | McpListToolsInProgress
    | McpListToolsCompleted
    | McpListToolsFailed
    | RateLimitsUpdated
    | Error,
    Field(discriminator="type"),
]

CLIENT_EVENTS: TypeAdapter[ClientEvent] = TypeAdapter(ClientEvent)
SERVER_EVENTS: TypeAdapter[ServerEvent] = TypeAdapter(ServerEvent)
