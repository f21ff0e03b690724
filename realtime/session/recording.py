"""Writes a call down as it happens: its inputs, their audio, what was read from outside, and what the client got.

One folder for each session: ``journal.jsonl`` (a header, then a line for each input and each value read), ``audio.bin``
and ``sent.jsonl`` (an event a line, audio as its length and checksum). `realtime.bench.replay` runs the session again
from the first two and compares with the third. A recording holds everything that was said: it is made only where the
operator asks for it.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

from realtime.ports.channel import Channel, Inbound, plays_audio
from realtime.ports.engine import TokenCounter
from realtime.ports.messages import Message
from realtime.ports.tools import SchemaCheck, SchemaVerdict, ToolServers
from realtime.protocol.events import ResponseOutputAudioDelta, ServerEvent
from realtime.protocol.ids import Ids
from realtime.protocol.session_config import McpTool
from realtime.session.config import SessionConfig
from realtime.session.inputs import Input, Recorder
from realtime.session.journal import Encoder
from realtime.session.quota import Quota
from realtime.session.services import Services
from realtime.session.settings import AnySession

VERSION = 1
JOURNAL, AUDIO, SENT = "journal.jsonl", "audio.bin", "sent.jsonl"

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session begins, apart from its inputs. ``began``: its clock then, in seconds."""

    began: float
    settings: AnySession
    config: SessionConfig
    services: Services
    ids: Ids
    plays_audio: bool = False


class Recording:
    """`realtime.session.inputs.Recorder` that writes. A full disk ends the recording, not the session."""

    def __init__(self, journal: TextIO, audio: BinaryIO, sent: TextIO) -> None:
        self._journal = journal
        self._sent = sent
        self._audio = audio
        self._encoder = Encoder(audio)
        self._broken = False

    @classmethod
    def in_folder(cls, folder: Path, session_id: str) -> Recording:
        """In a new folder of the session's name. Raises `OSError`."""
        place = folder / session_id
        place.mkdir(parents=True)
        return cls(
            (place / JOURNAL).open("w", encoding="utf-8"),
            (place / AUDIO).open("wb"),
            (place / SENT).open("w", encoding="utf-8"),
        )

    def begin(self, opening: Opening) -> None:
        """Write the header."""
        services = opening.services
        token, session = opening.ids.seed
        header = {
            "version": VERSION,
            "began": opening.began,
            "session": opening.settings.model_dump(mode="json"),
            "config": self._encoder.encode(opening.config),
            "ids": {"token": token, "session": session},
            "voices": list(services.vocoder.voices),
            "tools": [asdict(tool) for tool in services.tools.tools],
            "end_of_turn": services.end_of_turn is not None,
            "plays_audio": opening.plays_audio,
            "context_tokens": services.token_counter.context_tokens,
        }
        self._write(self._journal, header)

    def record(self, at: float, input: Input) -> None:
        """Note an input."""
        self._attempt(lambda: self._write(self._journal, {"at": at, "input": self._encoder.encode(input)}))

    def read(self, name: str, source: Callable[[], T]) -> T:
        """Read a value and note it."""
        value = source()
        self._attempt(lambda: self._write(self._journal, {"read": name, "value": self._encoder.encode(value)}))
        return value

    async def read_later(self, name: str, source: Callable[[], Awaitable[T]]) -> T:
        """Await a value and note it."""
        value = await source()
        return self.read(name, lambda: value)

    def last(self, count: int) -> Iterator[str]:
        """The file has them."""
        return iter(())

    def sent(self, event: ServerEvent) -> None:
        """Note an event that the client got."""
        self._attempt(lambda: self._write(self._sent, shown(event)))

    def close(self) -> None:
        """The session is over."""
        for file in (self._journal, self._audio, self._sent):
            try:
                file.close()
            except OSError:
                logger.warning("the end of a recording could not be written", exc_info=True)

    def _attempt(self, write: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            write()
        except (OSError, TypeError, ValueError):
            self._broken = True
            logger.exception("a recording ends early")

    @staticmethod
    def _write(file: TextIO, line: dict[str, Any]) -> None:
        file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


class RecordedChannel:
    """`realtime.ports.channel.Channel` that notes what the client gets."""

    def __init__(self, channel: Channel, recording: Recording) -> None:
        self.plays_audio = plays_audio(channel)
        self._channel = channel
        self._recording = recording

    async def receive(self) -> Inbound:
        """As the channel."""
        return await self._channel.receive()

    async def send(self, event: ServerEvent) -> None:
        """As the channel."""
        self._recording.sent(event)
        await self._channel.send(event)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """As the channel."""
        await self._channel.close(code, reason)


def shown(event: ServerEvent) -> dict[str, Any]:
    """An event as plain data, with audio as its length and checksum."""
    if isinstance(event, ResponseOutputAudioDelta):
        event_data = event.model_dump(mode="json", exclude={"delta"})
        return event_data | {"bytes": len(event.delta), "crc32": zlib.crc32(event.delta)}
    return event.model_dump(mode="json")


# What a session reads from outside while it handles an input


def recorded(services: Services, recorder: Recorder) -> Services:
    """The services, with what they answer at once noted."""
    return replace(
        services,
        token_counter=_RecordedCounter(services.token_counter, recorder),
        schema_check=_recorded_check(services.schema_check, recorder),
        tool_servers=_RecordedServers(services.tool_servers, recorder),
    )


def _recorded_check(check: SchemaCheck, recorder: Recorder) -> SchemaCheck:
    async def recorded_check(schema: Any, budget_s: float) -> SchemaVerdict:
        return await recorder.read_later("schema", lambda: check(schema, budget_s))

    return recorded_check


def recorded_config(config: SessionConfig, recorder: Recorder) -> SessionConfig:
    """The configuration, with instructions noted as they were filled in."""
    return replace(config, render=lambda text: recorder.read("instructions", lambda: config.render(text)))


class RecordedQuota(Quota):
    """A quota whose answers are noted."""

    def __init__(self, quota: Quota, recorder: Recorder) -> None:
        self.key = quota.key
        self._quota = quota
        self._recorder = recorder

    @property
    def audio_wait(self) -> float:
        """Seconds until some audio may be used again; 0: it may."""
        return self._recorder.read("audio_wait", lambda: self._quota.audio_wait) if self._limits_audio else 0.0

    @property
    def response_is_free(self) -> bool:
        """Whether a response that is asked for now would be made."""
        return self._recorder.read("response_is_free", lambda: self._quota.response_is_free)

    def take_response(self) -> float:
        """Use one response. Gives 0, or the seconds to wait when there is none."""
        return self._recorder.read("take_response", self._quota.take_response)

    @property
    def out_of_band_is_free(self) -> bool:
        """Whether one more response out of band may be made now."""
        return self._recorder.read("out_of_band_is_free", lambda: self._quota.out_of_band_is_free)

    def count_out_of_band(self, step: int) -> None:
        """So many more responses out of band are being made."""
        self._quota.count_out_of_band(step)

    def spend_audio(self, seconds: float) -> None:
        """So much was heard or spoken."""
        self._quota.spend_audio(seconds)

    @property
    def schema_seconds(self) -> float:
        """CPU time that checks of schemas may take now."""
        return self._recorder.read("schema_seconds", lambda: self._quota.schema_seconds)

    def spend_schema(self, seconds: float) -> None:
        """A check of a schema took so much CPU time."""
        self._quota.spend_schema(seconds)

    def updated(self) -> Any:
        """What is left, for the client; None where nothing is limited."""
        return self._recorder.read("rate_limits", self._quota.updated)

    @property
    def _limits_audio(self) -> bool:
        return bool(self._quota.limits.audio_seconds_per_hour)


class _RecordedCounter:
    def __init__(self, counter: TokenCounter, recorder: Recorder) -> None:
        self._counter = counter
        self._recorder = recorder
        self.context_tokens = counter.context_tokens

    def measure(self, message: Message) -> int:
        return self._recorder.read("tokens", lambda: self._counter.measure(message))


class _RecordedServers:
    def __init__(self, servers: ToolServers, recorder: Recorder) -> None:
        self._recorder = recorder
        self._servers = servers
        self.connect = servers.connect

    def refusal(self, server: McpTool) -> str | None:
        return self._recorder.read("mcp_refusal", lambda: self._servers.refusal(server))
