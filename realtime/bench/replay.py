"""Runs a recorded call again: the same inputs at the same times, with the recorded engine, vocoder and tools.

The session is the real one; voice activity detection runs anew. What it sends must be, event for event, what the client
got (`realtime.session.recording`), so a call that went wrong can be taken apart again and again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from realtime.errors import ChannelClosed, ConfigError
from realtime.ports.channel import Inbound
from realtime.ports.messages import Message
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.tools import ServerTool, ToolResult, ToolSet
from realtime.protocol.events import ServerEvent
from realtime.protocol.ids import Ids
from realtime.protocol.session_config import McpTool, TranscriptionSession
from realtime.protocol.session_config import Session as WireSession
from realtime.session.config import SessionConfig
from realtime.session.inputs import Ending, EventSent, Input, InputQueue
from realtime.session.journal import Decoder
from realtime.session.recording import AUDIO, JOURNAL, SENT, VERSION, shown
from realtime.session.services import Services
from realtime.session.session import Session
from realtime.turns.vad import VoiceModel

T = TypeVar("T")


@dataclass(slots=True)
class RecordedInput:
    """One input, and what was read from outside while it was handled."""

    at: float
    input: Input | None
    reads: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A recording in memory. ``entries``: the first has no input, only what was read before any came. ``sent``: what
    the client got, as `shown` has it; None where that was not kept."""

    header: Mapping[str, Any]
    entries: tuple[RecordedInput, ...]
    config: SessionConfig
    sent: tuple[Mapping[str, Any], ...] | None = None

    @classmethod
    def read(cls, folder: Path) -> RecordedCall:
        """From a folder of `realtime serve --record`, or its journal. Raises `ConfigError`."""
        folder = folder.parent if folder.name == JOURNAL else folder
        try:
            journal = (folder / JOURNAL).read_text("utf-8").splitlines()
            audio = (folder / AUDIO).read_bytes()
            sent = (folder / SENT).read_text("utf-8").splitlines() if (folder / SENT).exists() else None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{folder}: {error}; give a folder that `realtime serve --record DIR` has made"
            ) from error
        return cls.parse(journal, audio, sent)

    @classmethod
    def parse(cls, journal: Sequence[str], audio: bytes, sent: Sequence[str] | None = None) -> RecordedCall:
        """From its lines. A last line that was cut off is left out. Raises `ConfigError`."""
        try:
            header, *lines = _documents(journal)
            if header.get("version") != VERSION:
                raise ValueError(f"version {header.get('version')!r}, this program reads version {VERSION}")
            decoder = Decoder(audio)
            config = decoder.decode(header["config"])
            entries = tuple(_entries(lines, decoder))
            events = None if sent is None else tuple(_documents(sent))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"this is no recording of a call: {error}") from error
        return cls(header, entries, config, events)


def _documents(lines: Sequence[str]) -> list[Any]:
    documents = []
    for number, line in enumerate(lines, 1):
        try:
            documents.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise
    return documents


def _entries(lines: Sequence[Any], decoder: Decoder) -> Iterator[RecordedInput]:
    entry = RecordedInput(0.0, None)
    for line in lines:
        if "read" in line:
            entry.reads.append((line["read"], decoder.decode(line["value"])))
        else:
            yield entry
            entry = RecordedInput(line["at"], decoder.decode(line["input"]))
    yield entry


async def replay(call: RecordedCall, vad: VoiceModel) -> list[ServerEvent]:
    """What the client gets when the call is run again. Raises `Divergence` where the session does not do what the
    recording says."""
    header = call.header
    settings: WireSession | TranscriptionSession
    if header["session"]["type"] == "transcription":
        settings = TranscriptionSession.model_validate(header["session"])
    else:
        settings = WireSession.model_validate(header["session"])
    inputs = _ReplayedInputs(call)
    services = Services(
        _SilentEngine(),
        _SilentVocoder(tuple(header["voices"])),
        vad,
        token_counter=_Counter(header["context_tokens"]),
        end_of_turn=_NoModel() if header["end_of_turn"] else None,
        tools=_SilentTools(tuple(ServerTool(**tool) for tool in header["tools"])),
        tool_servers=_SilentServers(),
    )
    channel = _ReplayChannel(header["plays_audio"])
    ids = Ids.from_seed(header["ids"]["token"], header["ids"]["session"])
    await Session(channel, services, call.config, settings, ids, inputs).run()
    if inputs.divergence is not None:
        raise inputs.divergence
    return channel.sent


def difference(call: RecordedCall, events: Sequence[ServerEvent]) -> str | None:
    """The first event that is not what the client got, in words; None: all are the same.

    The event that was with the transport when the call ended may or may not have reached the client.
    """
    if call.sent is None:
        return None
    if len(events) == len(call.sent) + 1:
        taken = sum(isinstance(entry.input, EventSent) for entry in call.entries)
        events = [*events[:taken], *events[taken + 1 :]]
    for number, (old, new) in enumerate(zip(call.sent, map(shown, events), strict=False), 1):
        if old != new:
            keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
            return (
                f"event {number} differs in {', '.join(keys)}: the client got {old.get('type')} "
                f"{str({key: old.get(key) for key in keys})[:300]}, the replay gives {new.get('type')} "
                f"{str({key: new.get(key) for key in keys})[:300]}"
            )
    if len(call.sent) != len(events):
        return f"the client got {len(call.sent)} events, the replay gives {len(events)}"
    return None


class Divergence(Exception):
    """The session reads something that it did not read when it was recorded: the code has changed since."""


class _ReplayedInputs(InputQueue):
    """Inputs from a recording. Whatever else puts inputs is not heard."""

    def __init__(self, call: RecordedCall) -> None:
        super().__init__(lambda: call.header["began"], self)
        self._entries = call.entries
        self._reads: list[tuple[str, Any]] = list(call.entries[0].reads)
        self.divergence: Divergence | None = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """The recording has the timers that expired."""

    def put(self, input: Input) -> None:
        """The recording has all inputs."""

    async def offer(self, input: Input) -> None:
        """The recording has all inputs."""

    async def run(self, handle: Callable[[Input], Awaitable[None]]) -> None:
        """Handle the recorded inputs, then end as if the client were gone."""
        for entry in self._entries[1:]:
            assert entry.input is not None
            self._check_reads()
            self._now, self._reads = entry.at, list(entry.reads)
            if isinstance(entry.input, Ending):
                await _let_tasks_run()
            await handle(entry.input)
            await asyncio.sleep(0)
        await _let_tasks_run()
        raise ChannelClosed("the recording ends here")

    def record(self, at: float, input: Input) -> None:
        """Nothing is recorded of a replay."""

    def last(self, count: int) -> Iterator[str]:
        """Nothing is kept."""
        return iter(())

    def read(self, name: str, source: Callable[[], T]) -> T:
        """The recorded value."""
        value: T = self._recorded(name)
        return value

    def _recorded(self, name: str) -> Any:
        if not self._reads or self._reads[0][0] != name:
            raise self._diverge(f"the session reads {name!r}, which it did not when it was recorded")
        return self._reads.pop(0)[1]

    async def read_later(self, name: str, source: Callable[[], Awaitable[T]]) -> T:
        """The recorded value, at once."""
        value: T = self._recorded(name)
        return value

    def _check_reads(self) -> None:
        if self._reads:
            raise self._diverge(f"the session did not read {self._reads[0][0]!r}, which it did when it was recorded")

    def _diverge(self, text: str) -> Divergence:
        self.divergence = Divergence(f"after {self._now - self._entries[1].at:.3f} s {text}")
        return self.divergence


async def _let_tasks_run() -> None:
    for _ in range(20):  # the sender may be some events behind
        await asyncio.sleep(0)


async def _never() -> Any:
    return await asyncio.get_running_loop().create_future()


class _ReplayChannel:
    def __init__(self, plays_audio: bool) -> None:
        self.plays_audio = plays_audio
        self.sent: list[ServerEvent] = []

    async def receive(self) -> Inbound:
        event: Inbound = await _never()
        return event

    async def send(self, event: ServerEvent) -> None:
        self.sent.append(event)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        pass


class _Silent:
    """A generation or a stream of audio that gives nothing by itself."""

    made_seconds = 0.0

    async def __aiter__(self) -> AsyncIterator[Any]:
        await asyncio.get_running_loop().create_future()
        yield

    def confirm(self) -> None: ...

    def again(self, options: Any, *, speculative: bool = False) -> _Silent:
        return _Silent()

    def cancel(self) -> None: ...

    def push(self, tokens: Sequence[int]) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class _SilentConversation:
    lost = False

    def append_audio(self, audio_id: str, samples: Any) -> None: ...

    def add_reply(self, reply_id: str, ids: Sequence[int]) -> None: ...

    def define_functions(self, functions: Any) -> None: ...

    def forget(self, content_ids: Sequence[str]) -> None: ...

    def append(self, messages: Sequence[Message]) -> None: ...

    def truncate(self, length: int) -> None: ...

    def replace(self, start: int, stop: int, messages: Sequence[Message]) -> None: ...

    def generate(self, options: Any, *, speculative: bool = False) -> _Silent:
        return _Silent()

    def prefetch(self, options: Any) -> None: ...

    def fork(self, name: str) -> _SilentConversation:
        return self

    def close(self) -> None: ...


class _SilentEngine:
    def open(self, name: str) -> _SilentConversation:
        return _SilentConversation()


@dataclass(frozen=True, slots=True)
class _SilentVocoder:
    voices: tuple[str, ...]

    def open(self, voice: str, *, speculative: bool = False, aside: bool = False, payer: Payer = NOBODY) -> _Silent:
        return _Silent()


@dataclass(frozen=True, slots=True)
class _SilentTools:
    tools: tuple[ServerTool, ...]

    async def call(self, name: str, arguments: str) -> ToolResult:
        result: ToolResult = await _never()
        return result


class _SilentServers:
    def refusal(self, server: McpTool) -> str | None:
        return None

    @asynccontextmanager
    async def connect(self, server: McpTool) -> AsyncIterator[ToolSet]:
        await asyncio.get_running_loop().create_future()
        yield _SilentTools(())


@dataclass(frozen=True, slots=True)
class _Counter:
    context_tokens: int

    def measure(self, message: Message) -> int:
        raise AssertionError("the recording has the counts")


class _NoModel:
    def probability(self, samples: Any) -> float:
        return 0.0
