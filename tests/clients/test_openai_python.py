"""The unmodified `openai` package goes through every flow of the API; its types judge every event that it gets.

Over a real socket, the model's part played by fakes: with the embedded model it is in `tests/e2e`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI, AuthenticationError

from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.transports.http.access import Access, ApiKeys
from tests.fakes import Gate, calling, delta, done, reply
from tests.protocol.sdk import BETA_SERVER, SERVER
from tests.transports.test_server import Server, serving

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@dataclass
class Caller:
    """A connection of the package, and all that came over it."""

    connection: Any
    judge: Any = SERVER
    events: list[Any] = field(default_factory=list)

    async def expect(self, kind: str) -> Any:
        """The next event of this kind. An error that was not asked for fails the test."""
        async with asyncio.timeout(10):
            while True:
                data = await self.connection.recv_bytes()
                self.judge.validate_json(data, strict=True)
                event = self.connection.parse_event(data)
                self.events.append(event)
                if event.type == kind:
                    return event
                assert event.type != "error", event.error

    async def write(self, text: str) -> Any:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.connection.conversation.item.create(item=item)
        return (await self.expect("conversation.item.done")).item

    async def say(self, seconds: float, amplitude: int = 8000) -> None:
        sound = np.full(int(seconds * 24_000), amplitude, "<i2").tobytes()
        await self.connection.input_audio_buffer.append(audio=base64.b64encode(sound).decode())

    async def update(self, **session: Any) -> Any:
        await self.connection.session.update(session={"type": "realtime", **session})
        return (await self.expect("session.updated")).session

    def types(self) -> list[str]:
        return [event.type for event in self.events]


def client(server: Server, key: str = "any") -> AsyncOpenAI:
    base = server.http + "/v1"
    return AsyncOpenAI(api_key=key, base_url=base, websocket_base_url=base.replace("http", "ws", 1))


@asynccontextmanager
async def connected(server: Server, key: str = "any", **how: Any) -> AsyncIterator[Caller]:
    how = how or {"model": "gpt-realtime"}
    async with client(server, key) as library, library.realtime.connect(**how) as connection:
        caller = Caller(connection)
        await caller.expect("session.created")
        yield caller


@asynccontextmanager
async def calling_to(*scripts: Any) -> AsyncIterator[Caller]:
    async with serving(*scripts) as server, connected(server) as caller:
        yield caller


async def test_a_spoken_turn_is_heard_and_answered() -> None:
    async with calling_to(reply("Hello.", tokens=10)) as caller:
        await caller.say(1.0)
        await caller.say(1.0, amplitude=0)
        started = await caller.expect("input_audio_buffer.speech_started")
        stopped = await caller.expect("input_audio_buffer.speech_stopped")
        committed = await caller.expect("input_audio_buffer.committed")
        assert started.item_id == stopped.item_id == committed.item_id
        ended = await caller.expect("response.done")
        assert ended.response.status == "completed"
        assert ended.response.output[0].content[0].transcript == "Hello."
        sound = [event.delta for event in caller.events if event.type == "response.output_audio.delta"]
        assert sum(len(base64.b64decode(delta)) for delta in sound) == 10 * 960 * 2


async def test_a_turn_is_committed_by_hand() -> None:
    async with calling_to() as caller:
        session = await caller.update(audio={"input": {"turn_detection": None}})
        assert session.audio.input.turn_detection is None
        await caller.say(1.0)
        await caller.connection.input_audio_buffer.commit()
        await caller.connection.response.create()
        assert (await caller.expect("response.done")).response.status == "completed"
        assert "input_audio_buffer.speech_started" not in caller.types()
        await caller.say(1.0)
        await caller.connection.input_audio_buffer.clear()
        await caller.expect("input_audio_buffer.cleared")


async def test_a_written_question_gets_a_written_answer() -> None:
    async with calling_to(reply("Hello.")) as caller:
        await caller.write("Hi")
        await caller.connection.response.create(response={"output_modalities": ["text"]})
        assert (await caller.expect("response.output_text.done")).text == "Hello."
        ended = await caller.expect("response.done")
        assert ended.response.output_modalities == ["text"]
        assert "response.output_audio.delta" not in caller.types()


async def test_functions_are_called_and_their_results_are_spoken() -> None:
    call = render_tool_call(ToolCall("get_weather", '{"city": "Paris"}'))
    async with calling_to(calling("Let me look. ", rest=call), reply("21 degrees.")) as caller:
        await caller.update(tools=[WEATHER], tool_choice="auto")
        await caller.write("What is the weather in Paris?")
        await caller.connection.response.create()
        arguments = await caller.expect("response.function_call_arguments.done")
        assert (arguments.name, arguments.arguments) == ("get_weather", '{"city": "Paris"}')
        ended = await caller.expect("response.done")
        message, asked = ended.response.output
        assert message.content[0].transcript == "Let me look. "
        assert (asked.type, asked.call_id) == ("function_call", arguments.call_id)
        output = {"type": "function_call_output", "call_id": asked.call_id, "output": "21 degrees"}
        await caller.connection.conversation.item.create(item=output)
        await caller.connection.response.create()
        answered = await caller.expect("response.output_audio_transcript.done")
        assert answered.transcript == "21 degrees."


async def test_interruptions_cancel_and_truncate_to_what_was_heard() -> None:
    async with calling_to([delta("Once upon ", 25), Gate(), done()], reply("Yes?")) as caller:
        await caller.write("Tell me a story.")
        await caller.connection.response.create()
        spoken = await caller.expect("response.output_audio.delta")
        await caller.say(1.0)
        await caller.expect("input_audio_buffer.speech_started")
        ended = await caller.expect("response.done")
        assert ended.response.status == "cancelled"
        assert ended.response.status_details.reason == "turn_detected"
        truncate = caller.connection.conversation.item.truncate
        await truncate(item_id=spoken.item_id, content_index=0, audio_end_ms=100)
        assert (await caller.expect("conversation.item.truncated")).audio_end_ms == 100
        await caller.connection.conversation.item.retrieve(item_id=spoken.item_id)
        item = (await caller.expect("conversation.item.retrieved")).item
        assert item.content[0].transcript is None
        await caller.say(1.0, amplitude=0)
        assert (await caller.expect("response.done")).response.status == "completed"


async def test_an_answer_is_cancelled_by_hand() -> None:
    async with calling_to([delta("Once ", 5), Gate(), done()]) as caller:
        await caller.write("Tell me a story.")
        await caller.connection.response.create()
        running = await caller.expect("response.created")
        await caller.connection.response.cancel(response_id=running.response.id)
        ended = await caller.expect("response.done")
        assert ended.response.status_details.reason == "client_cancelled"


async def test_items_are_put_anywhere_shown_and_removed() -> None:
    async with calling_to() as caller:
        first, last = await caller.write("first"), await caller.write("last")
        between = {"id": "mine", "type": "message", "role": "assistant"}
        create = caller.connection.conversation.item.create
        await create(item=between | {"content": [{"type": "output_text", "text": "b"}]}, previous_item_id=first.id)
        assert (await caller.expect("conversation.item.added")).previous_item_id == first.id
        system = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "rules"}]}
        await create(item=system, previous_item_id="root")
        assert (await caller.expect("conversation.item.added")).previous_item_id is None
        await caller.connection.conversation.item.delete(item_id=last.id)
        assert (await caller.expect("conversation.item.deleted")).item_id == last.id
        await caller.connection.conversation.item.retrieve(item_id=last.id, event_id="gone")
        with pytest.raises(AssertionError):
            await caller.expect("conversation.item.retrieved")
        assert caller.events[-1].error.event_id == "gone"


async def test_responses_beside_the_conversation_leave_it_unchanged() -> None:
    async with calling_to([delta("Once ", 5), Gate(), done()], reply("weather")) as caller:
        question = await caller.write("What is the weather?")
        await caller.connection.response.create()
        await caller.expect("response.created")
        aside: Any = {
            "conversation": "none",
            "metadata": {"topic": "route"},
            "output_modalities": ["text"],
            "input": [{"type": "item_reference", "id": question.id}],
        }
        await caller.connection.response.create(response=aside)
        ended = await caller.expect("response.done")
        assert ended.response.metadata == {"topic": "route"}
        assert ended.response.conversation_id is None
        assert ended.response.output[0].content[0].text == "weather"


async def test_speech_is_transcribed_where_that_is_asked_for() -> None:
    async with calling_to(reply("Hello."), reply("what time is it", tokens=0)) as caller:
        await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await caller.say(1.0)
        await caller.say(1.0, amplitude=0)
        told = await caller.expect("conversation.item.input_audio_transcription.completed")
        assert told.transcript == "what time is it"


async def test_a_session_may_only_transcribe() -> None:
    async with serving(reply("hello there", tokens=0)) as server:
        async with connected(server, extra_query={"intent": "transcription"}) as caller:
            await caller.connection.session.update(
                session={"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}}}}
            )
            updated = await caller.expect("session.updated")
            assert updated.session.type == "transcription"
            await caller.say(1.0)
            await caller.say(1.0, amplitude=0)
            told = await caller.expect("conversation.item.input_audio_transcription.completed")
            assert told.transcript == "hello there"
            assert "response.created" not in caller.types()


async def test_client_secrets_open_their_own_session() -> None:
    async with serving(access=Access(ApiKeys.read(["the-key"], "test"))) as server:
        with pytest.raises(AuthenticationError):
            async with client(server, "wrong") as library:
                await library.realtime.client_secrets.create()
        async with client(server, "the-key") as library:
            secret = await library.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={"type": "realtime", "instructions": "Be brief."},
            )
        assert secret.value.startswith("ek_")
        async with connected(server, secret.value) as caller:
            assert caller.events[0].session.instructions == "Be brief."


async def test_errors_have_names_and_the_session_goes_on() -> None:
    async with calling_to() as caller:
        await caller.connection.session.update(
            session={"type": "realtime", "audio": {"output": {"speed": 9}}}, event_id="too fast"
        )
        with pytest.raises(AssertionError):
            await caller.expect("session.updated")
        error = caller.events[-1].error
        assert (error.event_id, error.param) == ("too fast", "session.audio.output.speed")
        await caller.write("Hi")


async def test_the_packages_beta_interface_works() -> None:
    async with serving(reply("Hello.")) as server, client(server) as library:
        async with library.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection:
            caller = Caller(connection, BETA_SERVER)
            await caller.expect("session.created")
            await connection.session.update(session={"modalities": ["text", "audio"], "voice": "alloy"})
            await caller.expect("session.updated")
            item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
            await connection.conversation.item.create(item=item)
            await caller.expect("conversation.item.created")
            await connection.response.create()
            assert (await caller.expect("response.audio_transcript.done")).transcript == "Hello."
            await caller.expect("response.done")
