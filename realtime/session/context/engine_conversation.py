"""One session's side of the engine's port: whole prompts in, differences out.

The session builds every prompt as the whole list of messages. `EngineConversation` knows which messages and which
content the engine has, and sends only what is new: samples of a recording that has grown, the ids of a reply once, the
messages that were added or changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from realtime.ports.engine import (
    Conversation,
    Engine,
    Generation,
    GenerationDone,
    GenerationOptions,
    SamplingParams,
    TokenDelta,
)
from realtime.ports.messages import Audio, Message, Part, ReplyRef, Tokens
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.tool_calls import AllowedCalls, CallableFunction, CallRules


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A reply that is wanted: the whole prompt, oldest message first, and how to reply (`GenerationOptions`)."""

    messages: tuple[Message, ...]
    speech: bool
    sampling: SamplingParams
    background: bool = False
    thinking: int = 0
    logprobs: bool = False
    calls: CallRules = CallRules()
    playback_speed: float = 0.0
    aside: bool = False

    @property
    def options(self) -> GenerationOptions:
        rules = self.calls
        names = tuple(function.name for function in rules.functions)
        calls = AllowedCalls(names, rules.required, rules.parallel, rules.words_first)
        return GenerationOptions(
            self.speech,
            self.sampling,
            self.background,
            self.thinking,
            self.logprobs,
            calls,
            self.playback_speed,
            aside=self.aside,
        )


@dataclass(slots=True)
class _Held:
    """Content of the engine's conversation. ``sent``: samples or ids of it, -1: none yet. ``users``: messages that
    refer to it. ``ids``: of a reply, kept so that no other tuple gets its identity."""

    id: str
    sent: int = -1
    users: int = 0
    ids: tuple[int, ...] = ()


class _Content:
    """What the engine has of a conversation and its forks, beside messages.

    Content is known by a key: a recording's id, or the identity of the tuple that holds a reply's ids. What no message
    refers to is forgotten a change later: a turn that was withdrawn often comes back at once.
    """

    def __init__(self) -> None:
        self.functions: dict[str, CallableFunction] = {}
        self._held: dict[str | int, _Held] = {}
        self._unused: dict[str | int, bool] = {}
        self._replies = 0

    def __getitem__(self, part: Audio | Tokens) -> _Held:
        key = _key(part)
        if key not in self._held:
            self._held[key] = self._new(part)
        return self._held[key]

    def use(self, messages: Iterable[Message], step: int) -> None:
        """So many more messages refer to what these do."""
        for message in messages:
            for part in message.content if isinstance(message.content, tuple) else ():
                if isinstance(part, Audio | Tokens):
                    held = self[part]
                    held.users += step
                    if held.users:
                        self._unused.pop(_key(part), None)
                    else:
                        self._unused[_key(part)] = False

    def settle(self) -> tuple[str, ...]:
        """After a change: the ids of what is to be forgotten now."""
        gone = [key for key, since_last_change in self._unused.items() if since_last_change]
        self._unused = {key: True for key in self._unused if key not in gone}
        return tuple(self._held.pop(key).id for key in gone)

    def _new(self, part: Audio | Tokens) -> _Held:
        if isinstance(part, Audio):
            return _Held(part.id)
        self._replies += 1
        return _Held(f"reply{self._replies}", ids=part.ids)


def _key(part: Audio | Tokens) -> str | int:
    return part.id if isinstance(part, Audio) else id(part.ids)


class EngineConversation:
    """A conversation of the engine, by whole prompts. When the engine has failed or lost it, the next prompt goes whole
    to a new one."""

    def __init__(
        self, engine: Engine, name: str, parent: EngineConversation | None = None, payer: Payer = NOBODY
    ) -> None:
        self._payer = payer
        self._engine = engine
        self._name = name
        if parent is not None:
            parent._renew_lost()
        self._remote: Conversation = engine.open(name) if parent is None else parent._remote.fork(name)
        self._content: _Content = _Content() if parent is None else parent._content
        self._messages: tuple[Message, ...] = () if parent is None else parent._messages
        self._content.use(self._messages, 1)

    def generate(self, request: GenerationRequest, *, speculative: bool = False) -> Generation:
        """See `realtime.ports.engine.Conversation.generate`."""
        self._send(request)
        generation = self._remote.generate(self._options(request), speculative=speculative)
        return _Watched(generation, partial(self._start_anew, self._remote))

    def prefetch(self, request: GenerationRequest) -> None:
        """See `realtime.ports.engine.Conversation.prefetch`."""
        self._send(request)
        self._remote.prefetch(self._options(request))

    def fork(self, name: str) -> EngineConversation:
        """A conversation beside this one, which has its content; its KV cache is its own."""
        return EngineConversation(self._engine, name, self, self._payer)

    def close(self) -> None:
        """Let the engine forget it. Content that a fork still uses stays."""
        self._content.use(self._messages, -1)
        self._messages = ()
        self._forget()
        self._remote.close()

    def _options(self, request: GenerationRequest) -> GenerationOptions:
        return replace(request.options, payer=self._payer)

    def start_anew(self) -> None:
        """Give up what the engine has of it, and what it does for it: the next prompt goes whole to a new one."""
        self._start_anew(self._remote)

    def _renew_lost(self) -> None:
        if self._remote.lost:
            self.start_anew()

    def _start_anew(self, failed: Conversation) -> None:
        if failed is self._remote:
            self._remote.close()
            self._remote = self._engine.open(self._name)
            self._content = _Content()
            self._messages = ()

    def _send(self, request: GenerationRequest) -> None:
        """Make the engine's conversation what the request says."""
        self._renew_lost()
        self._send_functions(request.calls.functions)
        old, new = self._messages, request.messages
        start = _common(old, new)
        behind = _common(old[start:][::-1], new[start:][::-1])
        stop = len(old) - behind
        added = new[start : len(new) - behind]
        if not added and start == stop:
            return
        self._content.use(added, 1)
        refs = tuple(map(self._reference, added))
        self._content.use(old[start:stop], -1)
        if start == len(old):
            self._remote.append(refs)
        elif not refs and stop == len(old):
            self._remote.truncate(start)
        else:
            self._remote.replace(start, stop, refs)
        self._messages = new
        self._forget()

    def _send_functions(self, functions: Sequence[CallableFunction]) -> None:
        known = self._content.functions
        new = tuple(function for function in functions if known.get(function.name) != function)
        if new:
            known.update((function.name, function) for function in new)
            self._remote.define_functions(new)

    def _reference(self, message: Message) -> Message:
        """The message as it goes to the engine, behind the content that it needs."""
        if not isinstance(message.content, tuple):
            return message
        return replace(message, content=tuple(map(self._refer, message.content)))

    def _refer(self, part: Part) -> Part:
        match part:
            case Audio():
                held = self._content[part]
                if part.recorded > held.sent:
                    self._remote.append_audio(part.id, part.read(max(held.sent, 0), part.recorded))
                    held.sent = part.recorded
                return part.ref
            case Tokens():
                held = self._content[part]
                if held.sent < 0:
                    self._remote.add_reply(held.id, part.ids)
                    held.sent = len(part.ids)
                return ReplyRef(held.id, part.heard_samples, part.speech, part.speed)
        return part

    def _forget(self) -> None:
        if gone := self._content.settle():
            self._remote.forget(gone)


class _Watched:
    """A generation whose failure is reported: what the engine then has of the conversation is not known."""

    def __init__(self, generation: Generation, on_failure: Callable[[], None]) -> None:
        self._generation = generation
        self._on_failure = on_failure
        self.confirm = generation.confirm
        self.cancel = generation.cancel
        self.again = generation.again

    async def __aiter__(self) -> AsyncIterator[TokenDelta | GenerationDone]:
        async for event in self._generation:
            if isinstance(event, GenerationDone) and event.reason == "failed":
                self._on_failure()
            yield event


def _common(one: Sequence[Message], other: Sequence[Message]) -> int:
    """How many messages both begin with."""
    count = 0
    for first, second in zip(one, other, strict=False):
        if first is not second and first != second:
            break
        count += 1
    return count
