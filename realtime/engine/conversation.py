"""What the engine keeps of a conversation: content by id, and messages that are rendered once. One thread only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from realtime.engine.held_audio import HeldAudio, Recording
from realtime.ports.engine import GenerationOptions
from realtime.ports.messages import AudioRef, Message, Part, ReplyRef, Tokens
from realtime.ports.tool_calls import AllowedCalls, CallableFunction, CallRules

if TYPE_CHECKING:  # a type alone: fakes use this module without torch
    from realtime.engine.rendered_prompt import RenderedMessage


@dataclass(slots=True, eq=False)
class PromptMessage:
    """A message and, once the engine has needed it, how it is rendered."""

    message: Message
    rendered: RenderedMessage | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PromptRequest:
    """One generation as the engine sees it: the messages as they were when it was asked for."""

    conversation: str
    messages: tuple[PromptMessage, ...]
    options: GenerationOptions
    calls: CallRules = CallRules()


@dataclass(slots=True)
class _Content:
    """What a conversation and its forks share."""

    recordings: dict[str, Recording] = field(default_factory=dict)
    replies: dict[str, tuple[int, ...]] = field(default_factory=dict)
    functions: dict[str, CallableFunction] = field(default_factory=dict)


class ConversationState:
    """The state behind a `realtime.ports.engine.Conversation`. A method that fails leaves ``fault`` behind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault: BaseException | None = None
        self._content = _Content()
        self._messages: list[PromptMessage] = []

    def fork_from(self, parent: ConversationState) -> None:
        """Become a fork of ``parent`` as it is now."""
        self.fault, self._content, self._messages = parent.fault, parent._content, list(parent._messages)

    def broke(self, fault: BaseException) -> None:
        self.fault = self.fault or fault

    def append_audio(self, audio_id: str, samples: NDArray[np.float32]) -> None:
        self._content.recordings.setdefault(audio_id, Recording()).append(samples)

    def add_reply(self, reply_id: str, ids: Sequence[int]) -> None:
        self._content.replies[reply_id] = tuple(ids)

    def define_functions(self, functions: Sequence[CallableFunction]) -> None:
        self._content.functions.update((function.name, function) for function in functions)

    def forget(self, content_ids: Sequence[str]) -> None:
        for id_ in content_ids:
            self._content.recordings.pop(id_, None)
            self._content.replies.pop(id_, None)

    def append(self, messages: Sequence[Message]) -> None:
        self.replace(len(self._messages), len(self._messages), messages)

    def truncate(self, length: int) -> None:
        self.replace(length, len(self._messages), ())

    def replace(self, start: int, stop: int, messages: Sequence[Message]) -> None:
        if not 0 <= start <= stop <= len(self._messages):
            raise ValueError(f"messages {start} to {stop} of {len(self._messages)}")
        self._messages[start:stop] = [PromptMessage(self._resolve(message)) for message in messages]

    def request(self, options: GenerationOptions) -> PromptRequest:
        """A generation from the messages as they are. Raises what broke the conversation."""
        if self.fault is not None:
            raise self.fault
        return PromptRequest(self.name, tuple(self._messages), options, self._rules(options.calls))

    def _rules(self, calls: AllowedCalls) -> CallRules:
        functions = tuple(self._content.functions[name] for name in calls.names)
        return CallRules(functions, calls.required, calls.parallel, calls.words_first)

    def _resolve(self, message: Message) -> Message:
        if not isinstance(message.content, tuple):
            return message
        return replace(message, content=tuple(map(self._resolve_part, message.content)))

    def _resolve_part(self, part: Part) -> Any:
        match part:
            case AudioRef():
                recording = self._content.recordings[part.id]
                if part.recorded > recording.length:
                    raise ValueError(f"{part.recorded} samples of a recording of {recording.length}")
                return HeldAudio(part.id, part.recorded, part.silence, recording)
            case ReplyRef():
                ids = self._content.replies[part.id]
                return Tokens(ids, part.heard_samples, part.speech, part.speed)
        return part
