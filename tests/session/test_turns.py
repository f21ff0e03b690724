"""Spoken and typed turns, from the microphone to `response.done`, in the order that the protocol promises."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from realtime.ports.messages import Audio, Message, Tokens
from realtime.protocol import events as wire
from realtime.protocol.session_config import Session as WireSession
from realtime.session.config import SessionConfig, SessionLimits
from realtime.turns.floor import Floor
from tests.fakes import Gate, call, delta, done, reply

SPOKEN_REPLY = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
COMMITTED = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]


def audio_of(message: Message) -> Audio:
    assert isinstance(message.content, tuple)
    (part,) = message.content
    assert isinstance(part, Audio)
    return part


def tokens_of(message: Message) -> Tokens:
    assert isinstance(message.content, tuple)
    (part,) = message.content
    assert isinstance(part, Tokens)
    return part


async def test_the_first_event_is_the_session_in_force() -> None:
    async with call(config=SessionConfig(model="m", voice="anna", instructions="Be brief.")) as caller:
        (created,) = caller.of(wire.SessionCreated)
        assert created.session.type == "realtime"
        assert (created.session.model, created.session.voice) == ("m", "anna")
        assert created.session.instructions == "Be brief."


async def test_spoken_turns_are_answered_in_protocol_order() -> None:
    async with call(reply("Hi.", tokens=5)) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        started = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
        assert caller.types()[1:] == [*started, *COMMITTED, *SPOKEN_REPLY]


async def test_a_turns_events_share_one_item_id() -> None:
    async with call() as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        names = [
            caller.of(wire.InputAudioBufferSpeechStarted)[0].item_id,
            caller.of(wire.InputAudioBufferSpeechStopped)[0].item_id,
            caller.of(wire.InputAudioBufferCommitted)[0].item_id,
            caller.of(wire.ConversationItemAdded)[0].item.id,
        ]
        assert len(set(names)) == 1


@pytest.mark.parametrize(
    ("format", "rate"),
    [
        ({"type": "audio/pcm", "rate": 24000}, 24_000),
        ({"type": "audio/pcm", "rate": 16000}, 16_000),
        ({"type": "audio/pcm", "rate": 8000}, 8_000),
    ],
)
async def test_times_count_received_audio_at_any_rate(format: dict[str, object], rate: int) -> None:
    async with call() as caller:
        caller.update(audio={"input": {"format": format}})
        caller.rate = rate
        caller.say_something()
        started = await caller.expect(wire.InputAudioBufferSpeechStarted)
        stopped = await caller.expect(wire.InputAudioBufferSpeechStopped)
        assert started.audio_start_ms == pytest.approx(500 - 300, abs=32)
        assert stopped.audio_end_ms == pytest.approx(1500 + 500, abs=40)


@pytest.mark.parametrize(("type", "loud"), [("audio/pcmu", 0x90), ("audio/pcma", 0x2A)])
async def test_telephone_formats_are_heard(type: str, loud: int) -> None:
    quiet = {"audio/pcmu": 0xFF, "audio/pcma": 0xD5}[type]
    async with call() as caller:
        caller.update(audio={"input": {"format": {"type": type}}})
        wave = bytes([loud, loud ^ 0x80]) * 4000
        for data in (bytes([quiet]) * 4000, wave, bytes([quiet]) * 6000):
            caller.append(data)
        await caller.expect(wire.InputAudioBufferCommitted)
        await caller.expect(wire.ResponseDone)
        assert len(audio_of(caller.engine.requests[0].messages[-1]).samples) > 16_000


async def test_the_model_hears_the_turn_padded_with_silence() -> None:
    async with call() as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        (request,) = caller.engine.requests
        speech = audio_of(request.messages[-1]).samples
        assert len(speech) == pytest.approx((0.3 + 1.0 + 0.5) * 16_000, abs=1100)
        assert not speech[-6_464:].any()
        assert abs(float(speech[8_000])) == pytest.approx(8000 / 32768, abs=0.01)
        assert request.speech


async def test_instructions_come_first_with_their_placeholders_filled() -> None:
    config = SessionConfig(instructions="Today is {today}.", render=lambda text: text.replace("{today}", "Friday"))
    async with call(config=config) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        assert caller.engine.requests[0].messages[0] == Message("system", "Today is Friday.")


async def test_braces_in_client_instructions_are_left_alone() -> None:
    config = SessionConfig(instructions="Today is {today}.", render=lambda text: text.replace("{today}", "Friday"))
    async with call(config=config) as caller:
        shown = caller.of(wire.SessionCreated)[0].session
        assert isinstance(shown, WireSession) and shown.instructions == "Today is {today}."
        wanted = {"Say {today} as it stands.": "Say {today} as it stands.", shown.instructions: "Today is Friday."}
        for instructions, told in wanted.items():
            caller.update(instructions=instructions)
            caller.send("response.create")
            await caller.expect(wire.ResponseDone)
            caller.send("response.create", response={"conversation": "none", "instructions": instructions})
            await caller.expect(wire.ResponseDone)
            assert [request.messages[0] for request in caller.engine.requests[-2:]] == [Message("system", told)] * 2


async def test_the_next_turn_repeats_the_replys_own_ids() -> None:
    async with call(reply("One.", tokens=2), reply("Two.")) as caller:
        for _ in range(2):
            caller.say_something()
            await caller.expect(wire.ResponseDone)
            caller.clock.now += 60
        roles = [message.role for message in caller.engine.requests[1].messages]
        assert roles == ["human", "assistant", "human"]
        assert tokens_of(caller.engine.requests[1].messages[1]) == Tokens((1, 2, 2), None)


async def test_each_turns_audio_has_its_own_id() -> None:
    async with call() as caller:
        for _ in range(3):
            caller.say_something()
            await caller.expect(wire.ResponseDone)
            caller.clock.now += 60
        turns = [message for message in caller.engine.requests[-1].messages if message.role == "human"]
        assert len({audio_of(message).id for message in turns}) == 3


async def test_the_engine_is_warned_when_a_turn_begins() -> None:
    async with call() as caller:
        caller.be_silent(0.3)
        caller.say(0.3)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        await caller.settle()
        (request,) = caller.engine.prefetched
        assert request.messages[-1] == Message("human", None)


async def test_without_create_response_turns_only_join_the_conversation() -> None:
    async with call() as caller:
        caller.turn_detection({"type": "server_vad", "create_response": False})
        caller.say_something()
        await caller.expect(wire.ConversationItemDone)
        assert await caller.settle() == []
        assert not caller.engine.requests


async def test_semantic_vad_waits_by_its_eagerness() -> None:
    async with call() as caller:
        caller.turn_detection({"type": "semantic_vad", "eagerness": "low"})
        caller.say_something()
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        assert await caller.settle() == []
        caller.be_silent(0.7)
        await caller.expect(wire.InputAudioBufferSpeechStopped)


async def test_words_as_short_as_no_are_turns() -> None:
    async with call() as caller:
        caller.be_silent(0.4)
        caller.say(0.15)
        caller.be_silent(0.8)
        await caller.expect(wire.ResponseDone)


async def test_endless_turns_are_committed_at_their_limit() -> None:
    limits = SessionLimits(turn_s=2.0)
    async with call(config=SessionConfig(limits=limits)) as caller:
        caller.say(2.5)
        stopped = await caller.expect(wire.InputAudioBufferSpeechStopped)
        await caller.expect(wire.ResponseDone)
        assert stopped.audio_end_ms == pytest.approx(2000, abs=120)
        assert len(audio_of(caller.engine.requests[0].messages[-1]).samples) <= 2.2 * 16_000


# Manual turns


async def test_manual_turns_are_answered_only_on_request() -> None:
    async with call() as caller:
        caller.turn_detection(None)
        caller.be_silent(0.2)
        caller.say(1.0)
        caller.send("input_audio_buffer.commit")
        await caller.expect(wire.InputAudioBufferCommitted)
        assert await caller.settle() == COMMITTED[1:]
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert len(audio_of(caller.engine.requests[0].messages[-1]).samples) == pytest.approx(1.2 * 16_000, abs=32)
        assert not caller.of(wire.InputAudioBufferSpeechStarted)


async def test_commit_with_create_answers_that_item() -> None:
    async with call() as caller:
        caller.turn_detection(None)
        caller.say(0.5)
        caller.send("input_audio_buffer.commit")
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert [message.role for message in caller.engine.requests[0].messages] == ["human"]


async def test_commits_of_less_than_100_ms_are_refused() -> None:
    async with call() as caller:
        caller.turn_detection(None)
        caller.say(0.09)
        caller.send("input_audio_buffer.commit", event_id="c1")
        error = await caller.expect_error()
        assert (error.code, error.event_id) == ("input_audio_buffer_commit_empty", "c1")
        caller.say(0.02)
        caller.send("input_audio_buffer.commit")
        await caller.expect(wire.InputAudioBufferCommitted)


async def test_a_cleared_buffer_is_empty() -> None:
    async with call() as caller:
        caller.turn_detection(None)
        caller.say(1.0)
        caller.send("input_audio_buffer.clear")
        await caller.expect(wire.InputAudioBufferCleared)
        caller.send("input_audio_buffer.commit")
        assert (await caller.expect_error()).code == "input_audio_buffer_commit_empty"


async def test_commits_during_speech_end_turns_without_speech_stopped() -> None:
    async with call() as caller:
        caller.be_silent(0.3)
        caller.say(0.5)
        started = await caller.expect(wire.InputAudioBufferSpeechStarted)
        caller.send("input_audio_buffer.commit")
        committed = await caller.expect(wire.InputAudioBufferCommitted)
        assert committed.item_id == started.item_id
        caller.be_silent(1.0)
        assert "input_audio_buffer.speech_stopped" not in await caller.settle()


async def test_after_detection_off_the_client_commits_the_turn() -> None:
    async with call() as caller:
        caller.be_silent(0.3)
        caller.say(0.5)
        started = await caller.expect(wire.InputAudioBufferSpeechStarted)
        caller.turn_detection(None)
        stopped = await caller.expect(wire.InputAudioBufferSpeechStopped)
        await caller.expect(wire.SessionUpdated)
        caller.send("input_audio_buffer.commit")
        committed = await caller.expect(wire.InputAudioBufferCommitted)
        assert started.item_id == stopped.item_id == committed.item_id


async def test_manual_commits_after_vad_turns_are_separate_items() -> None:
    async with call() as caller:
        caller.say_something()
        first = await caller.expect(wire.InputAudioBufferCommitted)
        caller.turn_detection(None)
        caller.say(0.5)
        caller.send("input_audio_buffer.commit")
        second = await caller.expect(wire.InputAudioBufferCommitted)
        assert second.item_id != first.item_id
        assert not caller.of(wire.Error)


async def test_times_stay_right_across_detection_pauses() -> None:
    async with call() as caller:
        caller.turn_detection(None)
        caller.say(2.0)
        caller.send("input_audio_buffer.clear")
        caller.turn_detection({"type": "server_vad"})
        caller.be_silent(1.0)
        caller.say(0.5)
        started = await caller.expect(wire.InputAudioBufferSpeechStarted)
        assert started.audio_start_ms == pytest.approx(2000 + 1000 - 300, abs=40)


async def test_silence_after_a_reply_is_answered_on_request() -> None:
    async with call(reply("Hi.", tokens=1), reply("Still there?")) as caller:
        caller.turn_detection({"type": "server_vad", "idle_timeout_ms": 5000})
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        while caller.session.floor is not Floor.NOBODY:
            caller.clock.now += 1
            await asyncio.sleep(0.01)
        caller.be_silent(5.2)
        timeout = await caller.expect(wire.InputAudioBufferTimeoutTriggered)
        assert timeout.audio_end_ms - timeout.audio_start_ms == pytest.approx(5000, abs=120)
        await caller.expect(wire.InputAudioBufferCommitted)
        await caller.expect(wire.ResponseDone)


# Typed turns, and what a response may be asked for


async def test_a_typed_turn_is_spoken() -> None:
    async with call() as caller:
        caller.send(
            "conversation.item.create",
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What time is it?"}]},
        )
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert caller.types()[1:] == ["conversation.item.added", "conversation.item.done", *SPOKEN_REPLY]
        assert caller.engine.requests[0].messages == (Message("human", "What time is it?"),)


async def test_text_responses_have_no_audio_and_no_voice() -> None:
    async with call([delta("It is "), delta("noon."), done()]) as caller:
        caller.send("response.create", response={"output_modalities": ["text"]})
        finished = await caller.expect(wire.ResponseDone)
        assert [event.delta for event in caller.of(wire.ResponseOutputTextDelta)] == ["It is ", "noon."]
        assert not caller.of(wire.ResponseOutputAudioDelta)
        assert not caller.engine.requests[0].speech
        assert not caller.vocoder.streams
        assert finished.response.output_modalities == ("text",)


async def test_responses_take_their_own_instructions_tokens_and_metadata() -> None:
    config = SessionConfig(instructions="Speak English.")
    async with call(config=config) as caller:
        metadata = {"client_event_id": "x1"}
        wanted = {"instructions": "Speak French.", "max_output_tokens": 7, "metadata": metadata}
        caller.send("response.create", response=wanted)
        created = await caller.expect(wire.ResponseCreated)
        finished = await caller.expect(wire.ResponseDone)
        (request,) = caller.engine.requests
        assert request.messages[0] == Message("system", "Speak French.")
        assert request.sampling.max_tokens == 7
        assert created.response.metadata == finished.response.metadata == metadata


@pytest.mark.parametrize(
    ("format", "bytes_each_second"),
    [
        ({"type": "audio/pcm", "rate": 24000}, 48_000),
        ({"type": "audio/pcm", "rate": 16000}, 32_000),
        ({"type": "audio/pcmu"}, 8_000),
        ({"type": "audio/pcma"}, 8_000),
    ],
)
async def test_speech_comes_in_the_output_format(format: dict[str, object], bytes_each_second: int) -> None:
    async with call(reply("One ", "two.", tokens=25)) as caller:
        caller.update(audio={"output": {"format": format}})
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        deltas = [event.delta for event in caller.of(wire.ResponseOutputAudioDelta)]
        assert sum(map(len, deltas)) == 2 * bytes_each_second
        assert max(map(len, deltas)) <= bytes_each_second / 5


async def test_the_usage_is_the_engines() -> None:
    async with call() as caller:
        caller.send("response.create")
        usage = (await caller.expect(wire.ResponseDone)).response.usage
        assert usage is not None
        assert (usage.total_tokens, usage.input_token_details.audio_tokens) == (35, 5)


async def test_reply_figures_count_all_its_audio() -> None:
    async with call([delta("One", 25), done()]) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        await caller.settle()
        ((_, figures),) = caller.reports
        assert figures["audio_ms"] == 1000
        assert figures["decoder_rtf"] == 0.05
        assert figures["total_ms"] is not None and figures["endpointing_ms"] is not None


async def test_a_reply_cut_by_its_limit_is_incomplete() -> None:
    async with call([delta("One", 5), done("length")]) as caller:
        caller.send("response.create")
        response = (await caller.expect(wire.ResponseDone)).response
        assert response.status == "incomplete"
        assert response.status_details is not None
        assert response.status_details.reason == "max_output_tokens"


async def test_a_reply_without_words_completes_with_no_item() -> None:
    async with call([done()]) as caller:
        caller.send("response.create")
        response = (await caller.expect(wire.ResponseDone)).response
        assert (response.status, response.output) == ("completed", ())


async def test_second_responses_are_refused_with_their_event_id() -> None:
    gate = Gate()
    async with call([gate, *reply("Hi.")]) as caller:
        caller.send("response.create")
        created = await caller.expect(wire.ResponseCreated)
        caller.send("response.create", event_id="c2")
        error = await caller.expect_error()
        assert (error.code, error.event_id) == ("conversation_already_has_active_response", "c2")
        assert created.response.id in error.message
        gate.open()
        await caller.expect(wire.ResponseDone)


async def test_uninterruptible_replies_leave_speech_for_the_next_answer() -> None:
    gate = Gate()
    async with call([delta("One", 5), gate, *reply("two.")], reply("Three.")) as caller:
        caller.turn_detection({"type": "server_vad", "interrupt_response": False})
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.say_something()
        await caller.expect(wire.InputAudioBufferCommitted)
        await caller.settle()
        assert len(caller.engine.requests) == 1
        gate.open()
        first = await caller.expect(wire.ResponseDone)
        assert first.response.status == "completed"
        await caller.expect(wire.ResponseDone)
        assert [message.role for message in caller.engine.requests[1].messages] == ["assistant", "human"]


async def test_instruction_time_is_fixed_from_the_first_word() -> None:
    """Or the prompt that was prepared while the user spoke would be another one than that of the answer."""
    minutes = count()
    async with call(
        config=SessionConfig(instructions="It is", render=lambda text: f"{text} {next(minutes)}")
    ) as caller:
        for turn in range(2):
            caller.say_something()
            await caller.expect(wire.ResponseDone)
            caller.clock.now += 60
            told = [request.messages[0] for request in (*caller.engine.prefetched, *caller.engine.requests)]
            assert told[-1] == Message("system", f"It is {turn}")
            caller.engine.prefetched.clear()
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert caller.engine.requests[-1].messages[0] == Message("system", "It is 2")
