"""The conversation as the model is given it: items -> `realtime.ports.messages.Message`, oldest first.

Beside each item of the conversation lies its message, or None when the model is not given it (any more). User audio is
kept as samples under an id of its own, replies as the ids that the model produced with how much was heard of them. A
reply that calls tools is split: its words lie beside the message, as a turn that goes on (``closed`` False), the ids of
its calls beside the first call. In the prompt the two are the one turn that they were, and a call survives that its
lead-in was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from realtime.audio.streams import Samples
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message, Part, Text, Tokens
from realtime.ports.tool_calls import ToolCall, tool_call_parts, tool_result
from realtime.protocol.conversation import Conversation, Entry
from realtime.protocol.errors import ProtocolError
from realtime.protocol.events import ClientEvent, ConversationItemCreate, ResponseCreate
from realtime.protocol.ids import Ids
from realtime.protocol.items import (
    AssistantMessage,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputImage,
    InputItem,
    InputText,
    Item,
    ItemReference,
    McpApprovalResponse,
    OutputText,
    SystemMessage,
    UserMessage,
)
from realtime.session.context.tool_results import Placed, bind_results

History = Conversation[Message | None]
"""The items, each with the message that the model is given of it."""

Decode = Callable[[bytes], Samples]
"""Wire bytes in the session's input format -> float32 at 16 kHz."""


def reply_message(
    ids: Iterable[int], heard_samples: int | None = None, *, closed: bool = True, speed: float = 1.0
) -> Message:
    """The model's reply, played at ``speed``; ``heard_samples`` at 24 kHz, None: all of it. ``closed`` False: tool
    calls follow."""
    return Message("assistant", (Tokens(tuple(ids), heard_samples, speed=speed),), closed)


def message_of(item: Item, decode: Decode, audio_id: Callable[[], str]) -> Message | None:
    """What the model is given of a client's item. Raises `ProtocolError` for what the model cannot take in."""
    match item:
        case SystemMessage():
            return Message("system", "\n".join(part.text for part in item.content))
        case UserMessage():
            return _user_message(item, decode, audio_id)
        case AssistantMessage():
            return _assistant_message(item)
        case FunctionCall():
            return Message("assistant", tool_call_parts(ToolCall(item.name, item.arguments)))
        case FunctionCallOutput():
            return tool_result(item.output, item.call_id)
        case McpApprovalResponse(approve=False, approval_request_id=call_id, reason=reason):
            return tool_result("The user did not allow this call." + (f" {reason}" if reason else ""), call_id)
        case _:
            return None


def with_item_id(item: Item, ids: Ids) -> Item:
    """The item with an id of the server's where the client gave none."""
    return item if item.id else item.model_copy(update={"id": ids.item()})


def recordings(event: ClientEvent) -> Iterator[bytes]:
    """The audio of the items that come with an event."""
    if isinstance(event, ConversationItemCreate):
        items: Iterable[InputItem] = (event.item,)
    elif isinstance(event, ResponseCreate) and event.response is not None:
        items = event.response.input or ()
    else:
        return
    for item in items:
        if isinstance(item, UserMessage):
            yield from (part.audio for part in item.content if isinstance(part, InputAudio) and part.audio)


def input_messages(
    items: Iterable[InputItem], history: History, decode: Decode, audio_id: Callable[[], str]
) -> tuple[Message, ...]:
    """What `response.create` gives in place of the conversation. Raises `ProtocolError` for an unknown item."""
    placed: list[Placed] = []
    for item in items:
        if isinstance(item, ItemReference):
            entry = history.get(item.id)
            if entry is None:
                raise ProtocolError(
                    "invalid_value",
                    f"The referenced item {item.id[:80]!r} does not exist in the conversation.",
                    param="response.input",
                )
            placed += _placed(entry)
        else:
            placed.append((item, message_of(item, decode, audio_id)))
    return _whole_turns(bind_results(placed))


def to_messages(history: History) -> tuple[Message, ...]:
    """The whole conversation, as the model is given it."""
    return _whole_turns(bind_results([one for entry in history for one in _placed(entry)]))


def _placed(entry: Entry[Message | None]) -> tuple[Placed, ...]:
    """What the model is given of an item, and the result where call and result are one item."""
    if entry.payload is None or entry.answer is None:
        return ((entry.item, entry.payload),)
    return (entry.item, entry.payload), (entry.item, entry.answer)


def set_heard(entry: Entry[Message | None], samples: int) -> None:
    """Of the reply in this entry only so much was heard (24 kHz)."""
    message = entry.payload
    if message is None or not isinstance(message.content, tuple):
        return
    parts = tuple(
        replace(part, heard_samples=samples) if isinstance(part, Tokens) else part for part in message.content
    )
    entry.payload = replace(message, content=parts)


def bound_audio(history: History, max_seconds: float) -> None:
    """Forget the oldest user audio where there is more than so many seconds: a quarter of that at once, since the
    prompt changes with it from its beginning on."""
    if sum(_audio_samples(entry.payload) for entry in history) <= max_seconds * MODEL_SAMPLE_RATE:
        return
    room = int(0.75 * max_seconds * MODEL_SAMPLE_RATE)
    for entry in reversed(list(history)):
        length = _audio_samples(entry.payload)
        room -= length
        if length and room < 0:
            entry.payload = None


def _user_message(item: UserMessage, decode: Decode, audio_id: Callable[[], str]) -> Message | None:
    parts: list[Part] = []
    for index, part in enumerate(item.content):
        match part:
            case InputText():
                parts.append(Text(part.text))
            case InputAudio(audio=bytes() as data):
                parts.append(Audio(audio_id(), decode(data)))
            case InputAudio():
                parts.append(Text(part.transcript or ""))
            case InputImage():
                raise ProtocolError(
                    "invalid_value",
                    "This model takes text and audio, no images. Leave the part out.",
                    param=f"item.content[{index}].type",
                )
    match parts:
        case []:
            return None
        case [Text(text=text)]:
            return Message("human", text)
    return Message("human", tuple(parts))


def _assistant_message(item: AssistantMessage) -> Message | None:
    words = [part.text if isinstance(part, OutputText) else part.transcript or "" for part in item.content]
    return Message("assistant", "".join(words)) if any(words) else None


def _whole_turns(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Without what was forgotten and without replies of which nothing was heard; every turn whole and closed."""
    turns: list[Message] = []
    for message in messages:
        if turns and not turns[-1].closed and _is_reply(message):
            message = replace(message, content=(*_parts(turns.pop()), *_parts(message)))
        turns.append(message)
    return tuple(turn if turn.closed else replace(turn, closed=True) for turn in turns if not _is_silent(turn))


def _is_reply(message: Message) -> bool:
    return any(isinstance(part, Tokens) for part in _parts(message))


def _is_silent(message: Message) -> bool:
    """Nothing of it reached anybody: neither words the caller nor calls the client."""
    return _is_reply(message) and all(getattr(part, "heard_samples", None) == 0 for part in _parts(message))


def _parts(message: Message) -> tuple[Part, ...]:
    return message.content if isinstance(message.content, tuple) else ()


def _audio_samples(message: Message | None) -> int:
    parts = _parts(message) if message is not None else ()
    return sum(part.length for part in parts if isinstance(part, Audio))
