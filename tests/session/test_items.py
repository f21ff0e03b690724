"""The conversation's items, the session object, and responses beside the conversation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from realtime.ports.messages import Audio, Message, Text
from realtime.ports.tool_calls import AFTER_TOOL_RESULT, ToolCall, tool_call_parts
from realtime.protocol import events as wire
from realtime.protocol.items import AssistantMessage, InputAudio, OutputAudio, UserMessage
from realtime.protocol.session_config import Session
from realtime.protocol.wire import encode_base64
from realtime.session.config import SessionConfig, SessionLimits
from tests.fakes import Caller, Gate, call, delta, done, reply


def text_item(text: str, id: str = "", role: str = "user") -> dict[str, Any]:
    kind = {"user": "input_text", "system": "input_text", "assistant": "output_text"}[role]
    return {"type": "message", "id": id, "role": role, "content": [{"type": kind, "text": text}]}


def settings_of(caller: Caller) -> Session:
    assert isinstance(caller.session.settings, Session)
    return caller.session.settings


async def create(caller: Caller, item: dict[str, Any], **fields: Any) -> wire.ConversationItemDone:
    caller.send("conversation.item.create", item=item, **fields)
    return await caller.expect(wire.ConversationItemDone)


async def respond(caller: Caller, **response: Any) -> wire.ResponseDone:
    caller.send("response.create", response=response)
    return await caller.expect(wire.ResponseDone)


async def test_client_items_become_messages_of_the_model() -> None:
    speech = np.full(2400, 8000, "<i2").tobytes()
    async with call() as caller:
        await create(caller, text_item("Be kind.", role="system"))
        await create(
            caller,
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_audio", "audio": encode_base64(speech)},
                    {"type": "input_text", "text": "What is this?"},
                ],
            },
        )
        await create(caller, text_item("A tone.", role="assistant"))
        await create(caller, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"})
        await create(caller, {"type": "function_call_output", "call_id": "c", "output": "42"})
        await respond(caller)
        system, user, said, called, output = caller.engine.requests[0].messages
        assert system == Message("system", "Be kind.")
        assert isinstance(user.content, tuple)
        audio, text = user.content
        assert isinstance(audio, Audio) and len(audio.samples) == 1600
        assert text == Text("What is this?")
        assert said == Message("assistant", "A tone.")
        assert called == Message("assistant", tool_call_parts(ToolCall("f", "{}")))
        assert output == Message("input", (Text("42"), Text(AFTER_TOOL_RESULT)))


async def test_an_item_goes_where_the_client_puts_it() -> None:
    async with call() as caller:
        await create(caller, text_item("b", "b"))
        await create(caller, text_item("a", "a"), previous_item_id="root")
        added = await create(caller, text_item("c", "c"), previous_item_id="a")
        assert added.previous_item_id == "a"
        await respond(caller)
        assert [message.content for message in caller.engine.requests[0].messages] == ["a", "c", "b"]


async def test_a_duplicate_item_id_is_refused() -> None:
    async with call() as caller:
        await create(caller, text_item("a", "a"))
        caller.send("conversation.item.create", item=text_item("b", "a"), event_id="c1")
        error = await caller.expect_error()
        assert (error.code, error.event_id) == ("item_create_duplicate_item_id", "c1")


async def test_images_are_refused_not_ignored() -> None:
    async with call() as caller:
        content = [{"type": "input_image", "image_url": "data:image/png;base64,"}]
        caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        assert (await caller.expect_error()).param == "item.content[0].type"


async def test_a_deleted_item_is_gone_for_the_model() -> None:
    async with call() as caller:
        await create(caller, text_item("a", "a"))
        await create(caller, text_item("b", "b"))
        caller.send("conversation.item.delete", item_id="a")
        assert (await caller.expect(wire.ConversationItemDeleted)).item_id == "a"
        await respond(caller)
        assert [message.content for message in caller.engine.requests[0].messages] == ["b"]


@pytest.mark.parametrize("verb", ["retrieve", "delete", "truncate"])
async def test_unknown_items_have_an_error_of_their_own(verb: str) -> None:
    fields = {"content_index": 0, "audio_end_ms": 0} if verb == "truncate" else {}
    async with call() as caller:
        caller.send(f"conversation.item.{verb}", item_id="nope", event_id="rci_nope", **fields)
        error = await caller.expect_error()
        assert (error.code, error.event_id) == (f"item_{verb}_invalid_item_id", "rci_nope")


async def test_a_retrieved_item_holds_the_users_audio() -> None:
    async with call() as caller:
        caller.say_something()
        item_id = (await caller.expect(wire.InputAudioBufferCommitted)).item_id
        caller.send("conversation.item.retrieve", item_id=item_id)
        item = (await caller.expect(wire.ConversationItemRetrieved)).item
        assert isinstance(item, UserMessage)
        (part,) = item.content
        assert isinstance(part, InputAudio) and part.audio is not None
        assert len(part.audio) / 48_000 == pytest.approx(1.8, abs=0.07)


async def test_too_long_items_are_retrieved_without_audio() -> None:
    async with call() as caller:
        caller.turn_detection(None)
        caller.say(20.0)
        caller.send("input_audio_buffer.commit")
        item_id = (await caller.expect(wire.InputAudioBufferCommitted)).item_id
        caller.send("conversation.item.retrieve", item_id=item_id)
        item = (await caller.expect(wire.ConversationItemRetrieved)).item
        assert isinstance(item, UserMessage)
        assert item.content == (InputAudio(),)


async def test_truncated_items_are_retrieved_without_transcript() -> None:
    async with call(reply("One", tokens=25)) as caller:
        done_event = await respond(caller)
        item_id = done_event.response.output[0].id
        caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=200)
        caller.send("conversation.item.retrieve", item_id=item_id)
        item = (await caller.expect(wire.ConversationItemRetrieved)).item
        assert isinstance(item, AssistantMessage)
        assert item.content == (OutputAudio(transcript=None),)


# The session object


async def test_an_update_is_answered_with_the_whole_session() -> None:
    async with call() as caller:
        caller.update(instructions="New.", max_output_tokens=100, tools=[{"type": "function", "name": "f"}])
        session = (await caller.expect(wire.SessionUpdated)).session
        assert session.type == "realtime"
        assert (session.instructions, session.max_output_tokens) == ("New.", 100)
        assert session.turn_detection is not None
        await respond(caller)
        (request,) = caller.engine.requests
        assert request.messages[0] == Message("system", "New.")
        assert request.sampling.max_tokens == 100


async def test_a_refused_update_changes_nothing() -> None:
    async with call() as caller:
        caller.update(instructions="New.", audio={"output": {"speed": 9}})
        error = await caller.expect_error()
        assert (error.event_id, error.param) == ("update", "session.audio.output.speed")
        assert settings_of(caller).instructions == ""


async def test_the_voice_is_frozen_once_it_was_heard() -> None:
    async with call() as caller:
        caller.update(audio={"output": {"voice": "other"}})
        await caller.expect(wire.SessionUpdated)
        await respond(caller)
        assert caller.vocoder.streams[0].voice == "other"
        caller.update(audio={"output": {"voice": "default"}})
        assert (await caller.expect_error()).code == "cannot_update_voice"


async def test_updates_around_a_request_apply_in_order() -> None:
    async with call() as caller:
        caller.update(output_modalities=["text"])
        caller.send("response.create")
        caller.update(output_modalities=["audio"])
        finished = await caller.expect(wire.ResponseDone)
        assert finished.response.output_modalities == ("text",)
        assert settings_of(caller).output_modalities == ("audio",)


async def test_output_audio_clear_is_not_for_a_websocket() -> None:
    async with call() as caller:
        caller.send("output_audio_buffer.clear", event_id="c1")
        assert (await caller.expect_error()).event_id == "c1"


# Out of band


async def test_out_of_band_responses_leave_the_conversation_alone() -> None:
    async with call(reply("route")) as caller:
        finished = await respond(caller, conversation="none", output_modalities=["text"], metadata={"topic": "x"})
        assert finished.response.conversation_id is None
        assert finished.response.metadata == {"topic": "x"}
        assert not caller.of(wire.ConversationItemAdded)
        await respond(caller)
        assert not caller.engine.requests[1].messages


async def test_out_of_band_responses_answer_their_own_input() -> None:
    async with call() as caller:
        await create(caller, text_item("first", "a"))
        await create(caller, text_item("second", "b"))
        given = [{"type": "item_reference", "id": "a"}, text_item("And?")]
        await respond(caller, conversation="none", input=given, instructions="Classify.")
        contents = [message.content for message in caller.engine.requests[0].messages]
        assert contents == ["Classify.", "first", "And?"]


async def test_an_input_may_be_empty() -> None:
    async with call() as caller:
        await create(caller, text_item("first", "a"))
        await respond(caller, input=[])
        assert not caller.engine.requests[0].messages


async def test_an_unknown_reference_is_refused_before_anything_starts() -> None:
    async with call() as caller:
        caller.send("response.create", response={"input": [{"type": "item_reference", "id": "nope"}]}, event_id="c1")
        error = await caller.expect_error()
        assert (error.param, error.event_id) == ("response.input", "c1")
        await respond(caller)


async def test_responses_out_of_band_run_beside_the_conversations() -> None:
    gate = Gate()
    async with call([gate, *reply("main")], reply("side")) as caller:
        caller.send("response.create")
        caller.send("response.create", response={"conversation": "none"})
        side = await caller.expect(wire.ResponseDone)
        gate.open()
        main = await caller.expect(wire.ResponseDone)
        assert side.response.conversation_id is None
        assert main.response.conversation_id is not None


async def test_speech_does_not_interrupt_out_of_band_responses() -> None:
    gate = Gate()
    async with call([delta("One", 5), gate, done()]) as caller:
        caller.send("response.create", response={"conversation": "none"})
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.be_silent(0.2)
        caller.say(0.3)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        gate.open()
        assert (await caller.expect(wire.ResponseDone)).response.status == "completed"


async def test_out_of_band_responses_are_cancelled_by_id() -> None:
    async with call([delta("One", 5), Gate()]) as caller:
        caller.send("response.create", response={"conversation": "none"})
        id = (await caller.expect(wire.ResponseCreated)).response.id
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.send("response.cancel", response_id=id)
        assert (await caller.expect(wire.ResponseDone)).response.status == "cancelled"


async def test_the_engine_forgets_a_response_out_of_band() -> None:
    async with call() as caller:
        finished = await respond(caller, conversation="none")
        await caller.settle()
        key = caller.engine.requests[0].conversation
        assert finished.response.id in key
        assert caller.engine.released == [key]


async def test_only_so_many_responses_run_out_of_band() -> None:
    limits = SessionLimits(out_of_band=2)
    async with call([Gate()], [Gate()], config=SessionConfig(limits=limits)) as caller:
        for _ in range(3):
            caller.send("response.create", response={"conversation": "none"}, event_id="c")
        assert (await caller.expect_error()).event_id == "c"
        assert len(caller.of(wire.ResponseCreated)) == 2
