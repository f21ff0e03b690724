"""One client's messages against one session: real codec, dialects and session; no sockets, the model side faked.

`play` sends them one after another and lets everything happen that each of them causes, so that it can be told
which message an answer belongs to.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any, get_args

import numpy as np
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from pydantic_core import from_json

from realtime.admission.manager import first_settings
from realtime.audio.streams import Resampler, Samples
from realtime.errors import ChannelClosed
from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.protocol import events as wire
from realtime.protocol.beta import older_dialect
from realtime.protocol.codec import MAX_EVENT_ID_CHARACTERS
from realtime.protocol.dialect import GA, Connection
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import Ids
from realtime.session.config import SessionConfig
from realtime.session.inputs import InputQueue
from realtime.session.services import Services
from realtime.session.session import Session
from tests.fakes import FakeClock, FakeEngine, FakeVocoder, Gate, LoudnessVad, Step, calling, delta, done, reply
from tests.fuzz.messages import Message
from tests.fuzz.witness import Witness

MOST_TURNS = 10_000
"""Of the event loop, for one message."""

ANSWERS: dict[type, tuple[str, ...]] = {
    wire.SessionUpdate: ("session.updated",),
    wire.InputAudioBufferCommit: ("input_audio_buffer.committed",),
    wire.InputAudioBufferClear: ("input_audio_buffer.cleared",),
    wire.ConversationItemCreate: ("conversation.item.added",),
    wire.ConversationItemRetrieve: ("conversation.item.retrieved",),
    wire.ConversationItemTruncate: ("conversation.item.truncated",),
    wire.ConversationItemDelete: ("conversation.item.deleted",),
    wire.ResponseCreate: ("response.created",),
    wire.ResponseCancel: ("response.done",),
    wire.OutputAudioBufferClear: (),
}
"""What tells that a client event was carried out; an error tells that it was not, and nothing else does."""


class Violation(AssertionError):
    """A rule was broken; the text says which, and by what."""


class _Complaints(logging.Handler):
    """A session that fails says so in the log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


class WireChannel:
    """A connection whose peer's messages come one at a time."""

    def __init__(self, connection: Connection, witness: Witness) -> None:
        self.decoded: wire.ClientEvent | ProtocolError | None = None
        self.closed: tuple[int, str] | None = None
        self._waiting = False
        self._connection = connection
        self._witness = witness
        self._told: set[str] = set()
        self._inbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self.violation: AssertionError | None = None

    @property
    def idle(self) -> bool:
        """Whether the session has done all that it was told and waits for more."""
        return self._waiting and self._inbox.empty()

    def put(self, message: Message | None) -> None:
        """``None``: the peer is gone."""
        self._inbox.put_nowait(message)

    async def receive(self) -> wire.ClientEvent:
        self._waiting = True
        message = await self._inbox.get()
        self._waiting = False
        if message is None:
            raise ChannelClosed("the peer is gone")
        try:
            self.decoded = event = self._connection.decode(message)
        except ProtocolError as error:
            self.decoded = error
            raise
        return event

    async def send(self, event: wire.ServerEvent) -> None:
        if self.violation is not None:
            return
        try:
            told = [json.loads(text) for text in self._connection.encode(event)]
            ga = self._connection.dialect is GA
            self._witness.see(told[0] if ga else event.model_dump(mode="json"))
            for message in told:
                self._check(message, beta=not ga)
        except AssertionError as violation:
            self.violation = violation

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    def _check(self, told: dict[str, Any], *, beta: bool) -> None:
        assert told["event_id"] and told["event_id"] not in self._told, "every event has an id of its own"
        self._told.add(told["event_id"])
        if told["type"] in contract(beta=beta):
            try:
                contract(beta=beta)[told["type"]].validate_python(told, strict=True)
            except ValueError as error:
                text = json.dumps(told, separators=(",", ":"))
                if not any(part in text for part in (_WIDER_THAN_BETA if beta else _WIDER)):
                    raise AssertionError(f"the SDK does not take {text[:2000]}: {error}") from None


_WIDER = ('"rate":16000', '"rate":8000')
"""What the SDK's types do not know; a client gets it that asked for it."""
_WIDER_THAN_BETA = (*_WIDER, '"type":"mcp', '"tool_choice":{', '"voice":{', '"transcription_session.')
"""The same of the beta's types, which are older than MCP, and have a transcription session only as HTTP answers it."""


@cache
def contract(*, beta: bool) -> dict[str, TypeAdapter[Any]]:
    """The SDK's types by the name of the event: its own union tries them all, which takes too long here."""
    members = get_args(get_args(BetaServerEvent if beta else RealtimeServerEvent)[0])
    return {get_args(member.model_fields["type"].annotation)[0]: TypeAdapter(member) for member in members}


def play(loop: asyncio.AbstractEventLoop, opening: int, messages: Sequence[Message]) -> Witness:
    """Play a client. ``opening`` decides how it connects and what the model will say. Raises `Violation`."""
    complaints = _Complaints()
    logger = logging.getLogger("realtime")
    logger.addHandler(complaints)
    try:
        return loop.run_until_complete(_play(opening, messages, complaints))
    finally:
        logger.removeHandler(complaints)


async def _play(opening: int, messages: Sequence[Message], complaints: _Complaints) -> Witness:
    random = Random(opening)
    ids, witness, clock = Ids("t"), Witness(), FakeClock()
    channel = WireChannel(_connection(random, ids), witness)
    config = SessionConfig(model="gpt-realtime")
    services = Services(FakeEngine(*(_script(random) for _ in range(4))), FakeVocoder(), LoudnessVad())
    settings = first_settings(config, ids, patch=_first_patch(random))
    session = Session(channel, services, config, settings, ids, InputQueue(clock))
    task = asyncio.create_task(session.run())
    last: Message | None = None
    try:
        await _settle(channel)
        for last in messages:
            await _say(channel, session, witness, last)
            clock.now += random.choice((0.0, 0.1, 5.0))
        await _check_conversation(channel, session, witness)
        channel.put(None)
        last = None
        async with asyncio.timeout(10):
            await task
        assert not complaints.records, complaints.records
        assert channel.closed is not None and channel.closed[0] == 1000, channel.closed
    except Exception as error:
        told = "\n".join(json.dumps(event)[:300] for event in witness.events[-12:])
        raise Violation(f"{error}\nafter the message {str(last)[:1000]!r}; the last events:\n{told}") from error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return witness


def _connection(random: Random, ids: Ids) -> Connection:
    older = older_dialect(random.choice((None, "gpt-4o-realtime-preview", "step-audio-2-mini")), ids.conversation())
    return Connection(ids, older) if random.random() < 0.3 else Connection(ids, GA, suspected=older)


class QuickResampler(Resampler):
    """Right in rate and rough in sound: to make the real one takes longer than all else of a short session."""

    def push(self, samples: Samples) -> Samples:
        count = len(samples) * self._target_rate // self._source_rate
        return np.resize(samples, count) if len(samples) else samples

    def flush(self) -> Samples:
        return np.zeros(0, np.float32)

    def _open(self) -> Any:
        return None


def _first_patch(random: Random) -> dict[str, Any]:
    heard = {"format": {"type": "audio/pcm", "rate": 16000}} if random.random() < 0.75 else {}
    return {"type": "transcription" if random.random() < 0.1 else "realtime", "audio": {"input": heard}}


def _script(random: Random) -> list[Step]:
    """What the model does next: speak, call functions, stop in the middle, fail."""
    call = render_tool_call(ToolCall("get_weather", '{"city": "Paris"}'))
    scripts: tuple[Callable[[], list[Step]], ...] = (
        lambda: reply("Hello. ", "How are you?"),
        lambda: reply("Hello.", tokens=0),
        lambda: [delta("Once ", 5), Gate(), delta("upon a time.", 5), done()],
        lambda: [Gate(), *reply("Late.")],
        lambda: calling("Let me look. ", rest=call),
        lambda: calling(rest=call + call),
        lambda: calling("Hm. ", rest="<tool_call>function\nget_weather\n{broken</tool_call>"),
        lambda: [delta("Cut ", 5), done("length")],
        lambda: [done()],
        lambda: [done("context_full")],
    )
    return random.choice(scripts)()


async def _settle(channel: WireChannel) -> None:
    """Until everything has happened that will happen by itself: nobody but us is ready to run."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # asyncio's own, exact where counting is not
    await asyncio.sleep(0)
    for _ in range(MOST_TURNS):
        if not ready and (channel.idle or channel.closed is not None):
            break
        await asyncio.sleep(0)
    else:
        raise AssertionError("the session neither waits nor ends")
    if channel.violation is not None:
        raise channel.violation


async def _say(channel: WireChannel, session: Session, witness: Witness, message: Message) -> None:
    settings, seen, errors = session.settings, len(witness.events), len(witness.errors)
    channel.decoded = None
    channel.put(message)
    await _settle(channel)
    assert channel.closed is None, f"the session was closed: {channel.closed}"
    assert channel.decoded is not None, "the message was not taken"
    answers, refused = [event["type"] for event in witness.events[seen:]], witness.errors[errors:]
    _check_refusal(channel.decoded, message, answers, refused)
    if refused:
        assert session.settings == settings, "a refused message changes nothing"


def _check_refusal(
    decoded: wire.ClientEvent | ProtocolError, message: Message, answers: list[str], refused: Any
) -> None:
    assert len(refused) <= 1, "a message is refused once"
    if isinstance(decoded, ProtocolError):
        assert refused, "what cannot be read is refused"
    elif type(decoded) in ANSWERS:
        carried_out = any(kind in ANSWERS[type(decoded)] for kind in answers)
        assert carried_out or refused, f"{decoded.type} was neither carried out nor refused"
        if refused and not isinstance(decoded, wire.ResponseCreate | wire.ResponseCancel | wire.ConversationItemCreate):
            assert not carried_out, f"{decoded.type} was carried out and refused"
    if refused:
        assert refused[0]["error"]["event_id"] == _event_id(message), "an error names the message that caused it"


def _event_id(message: Message) -> str | None:
    """What an error about this message calls it."""
    if isinstance(message, bytes):
        return None
    try:
        document = from_json(message, allow_inf_nan=False)
    except ValueError:
        return None
    named = document.get("event_id") if isinstance(document, dict) else None
    return named[:MAX_EVENT_ID_CHARACTERS] if isinstance(named, str) else None


async def _check_conversation(channel: WireChannel, session: Session, witness: Witness) -> None:
    """The server still has every item that the client knows of, and no refused message has added any."""
    for item_id in witness.items:
        event = {"type": "conversation.item.retrieve", "item_id": item_id, "event_id": "last"}
        await _say(channel, session, witness, json.dumps(event))
        assert witness.events[-1]["type"] == "conversation.item.retrieved", f"item {item_id!r} is gone"
