"""Interruptions: what stops, in which order, and what is remembered as heard."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from realtime.ports.messages import Tokens
from realtime.protocol import events as wire
from realtime.protocol.items import AssistantMessage, OutputAudio
from realtime.session.config import SessionConfig, SessionLimits
from realtime.turns.endpointing import Endpointer
from realtime.turns.floor import Floor
from tests.fakes import SAMPLES_PER_TOKEN, Caller, Gate, LoudnessDetector, call, delta, done, reply

CLOSING = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


async def interrupt(caller: Caller) -> None:
    caller.be_silent(0.2)
    caller.say(0.2)


async def finish_turn(caller: Caller) -> None:
    caller.say(0.3)
    caller.be_silent(0.7)
    await caller.expect(wire.ResponseDone)


def remembered(caller: Caller) -> Tokens | None:
    """The first reply as the newest request tells it to the model."""
    for message in caller.engine.requests[-1].messages:
        if message.role == "assistant" and isinstance(message.content, tuple):
            (part,) = message.content
            assert isinstance(part, Tokens)
            return part
    return None


async def test_speech_started_comes_before_the_closing_events() -> None:
    async with call([delta("One", 50), Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.settle()
        await interrupt(caller)
        assert await caller.settle() == ["input_audio_buffer.speech_started", *CLOSING]
        (finished,) = caller.of(wire.ResponseDone)
        assert finished.response.status == "cancelled"
        assert finished.response.status_details is not None
        assert finished.response.status_details.reason == "turn_detected"


async def test_generation_and_vocoder_stop_at_once() -> None:
    async with call([delta("One", 50), Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await interrupt(caller)
        await caller.expect(wire.ResponseDone)
        assert caller.engine.generations[0].cancelled
        assert caller.vocoder.streams[0].closed


async def test_cancelled_responses_send_nothing_after_their_end() -> None:
    gate = Gate()
    async with call([delta("One", 50), gate, *reply("two", "three")]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await interrupt(caller)
        await caller.expect(wire.ResponseDone)
        gate.open()
        caller.vocoder.streams[0].push(range(50))
        assert not [type for type in await caller.settle() if type.startswith("response")]


async def test_audio_that_waits_is_taken_back() -> None:
    async with call([delta("One", 200), Gate()]) as caller:
        caller.channel.pause()
        caller.send("response.create")
        await caller.settle()
        await interrupt(caller)
        await caller.settle()
        caller.channel.resume()
        await caller.expect(wire.ResponseDone)
        assert len(caller.of(wire.ResponseOutputAudioDelta)) <= 1


async def test_closing_events_repeat_the_transcript_of_the_deltas() -> None:
    async with call([delta("One "), delta("two ", 50), Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await interrupt(caller)
        finished = await caller.expect(wire.ResponseDone)
        assert caller.of(wire.ResponseOutputAudioTranscriptDone)[0].transcript == "One two "
        (item,) = finished.response.output
        assert isinstance(item, AssistantMessage)
        assert item.status == "incomplete"


async def test_the_history_keeps_what_playback_has_reached() -> None:
    async with call([delta("One", 50), Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.settle()
        caller.clock.now += 0.5
        await interrupt(caller)
        await finish_turn(caller)
        await caller.expect(wire.ResponseDone)
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples == pytest.approx(12_000, abs=1)
        assert len(kept.ids) == 51


async def test_replies_that_were_never_heard_leave_the_prompt() -> None:
    async with call([delta("One", 50), Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.settle()
        await interrupt(caller)
        await finish_turn(caller)
        await caller.expect(wire.ResponseDone)
        assert remembered(caller) is None


async def test_audio_still_playing_after_response_done_is_cut() -> None:
    async with call(reply("One", tokens=50)) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        caller.clock.now += 1.0
        await interrupt(caller)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        await finish_turn(caller)
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples == pytest.approx(24_000, abs=1)


async def test_replies_played_to_their_end_are_kept_whole() -> None:
    async with call(reply("One", tokens=50)) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        caller.clock.now += 10.0
        await interrupt(caller)
        await finish_turn(caller)
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples is None


async def test_the_clients_truncate_overrides_the_clock() -> None:
    async with call([delta("One", 50), Gate()]) as caller:
        caller.send("response.create")
        item_id = (await caller.expect(wire.ResponseOutputAudioDelta)).item_id
        await caller.settle()
        caller.clock.now += 1.0
        await interrupt(caller)
        await caller.expect(wire.ResponseDone)
        caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=400)
        truncated = await caller.expect(wire.ConversationItemTruncated)
        assert truncated.audio_end_ms == 400
        await finish_turn(caller)
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples == 9_600


async def test_truncation_beyond_the_audio_is_refused_without_effect() -> None:
    async with call(reply("One", tokens=25)) as caller:
        caller.send("response.create")
        item_id = (await caller.expect(wire.ResponseOutputAudioDelta)).item_id
        await caller.expect(wire.ResponseDone)
        caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=99_000, event_id="c1")
        error = await caller.expect_error()
        assert (error.code, error.param, error.event_id) == ("invalid_value", "audio_end_ms", "c1")
        caller.send("conversation.item.retrieve", item_id=item_id)
        item = (await caller.expect(wire.ConversationItemRetrieved)).item
        assert isinstance(item, AssistantMessage) and item.content == (OutputAudio(transcript="One"),)
        caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1_000)
        assert (await caller.expect(wire.ConversationItemTruncated)).audio_end_ms == 1_000


async def test_the_transports_report_counts_more_than_the_clock() -> None:
    async with call([delta("One", 50), Gate()]) as caller:
        caller.send("response.create")
        item_id = (await caller.expect(wire.ResponseOutputAudioDelta)).item_id
        await caller.settle()
        caller.clock.now += 1.5
        caller.played(item_id, 5 * SAMPLES_PER_TOKEN)
        await interrupt(caller)
        await finish_turn(caller)
        await caller.expect(wire.ResponseDone)
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples == 5 * SAMPLES_PER_TOKEN


async def test_cancelled_responses_close_and_keep_what_was_sent() -> None:
    async with call([delta("One", 50), Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.settle()
        caller.send("response.cancel")
        assert await caller.settle() == CLOSING
        details = caller.of(wire.ResponseDone)[0].response.status_details
        assert details is not None
        assert details.reason == "client_cancelled"
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples == 50 * SAMPLES_PER_TOKEN


async def test_cancelling_before_the_first_word_leaves_no_items() -> None:
    async with call([Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseCreated)
        caller.send("response.cancel")
        finished = await caller.expect(wire.ResponseDone)
        assert (finished.response.status, finished.response.output) == ("cancelled", ())


async def test_responses_cancelled_immediately_never_run() -> None:
    async with call([Gate()]) as caller:
        caller.send("response.create")
        caller.send("response.cancel")
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        finished = await caller.expect(wire.ResponseCreated)
        assert finished.response.status == "in_progress"


async def test_cancelling_nothing_gives_the_error_that_clients_match() -> None:
    async with call() as caller:
        caller.send("response.cancel", event_id="c1")
        error = await caller.expect_error()
        assert (error.code, error.event_id) == ("response_cancel_not_active", "c1")
        assert error.message.startswith("Cancellation failed")


async def test_cancelling_another_response_leaves_this_one_alone() -> None:
    gate = Gate()
    async with call([gate, *reply("Hi.")]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseCreated)
        caller.send("response.cancel", response_id="resp_other")
        assert (await caller.expect_error()).code == "response_cancel_not_active"
        gate.open()
        assert (await caller.expect(wire.ResponseDone)).response.status == "completed"


async def test_the_next_turn_after_an_interruption_is_answered() -> None:
    async with call([delta("One", 50), Gate()], reply("Yes?")) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await interrupt(caller)
        await caller.expect(wire.ResponseDone)
        await finish_turn(caller)
        assert caller.of(wire.ResponseOutputAudioTranscriptDone)[-1].transcript == "Yes?"
        assert caller.session.floor in (Floor.AUDIBLE, Floor.NOBODY)


async def test_audio_is_sent_only_a_bounded_lead_ahead() -> None:
    limits = SessionLimits(lead_s=1.0)
    async with call([delta("One", 100), done()], config=SessionConfig(limits=limits)) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.settle()
        sent = sum(len(event.delta) for event in caller.of(wire.ResponseOutputAudioDelta)) / 48_000
        assert sent == pytest.approx(1.0, abs=0.21)
        caller.clock.now += 10


async def test_the_clients_cancel_takes_back_audio_that_waits() -> None:
    async with call([delta("One", 200), Gate()]) as caller:
        caller.channel.pause()
        caller.send("response.create")
        await caller.settle()
        caller.send("response.cancel")
        await caller.settle()
        caller.channel.resume()
        await caller.expect(wire.ResponseDone)
        assert len(caller.of(wire.ResponseOutputAudioDelta)) <= 1


async def test_speech_after_generation_takes_back_waiting_audio() -> None:
    async with call(reply("One", tokens=25)) as caller:
        caller.channel.pause()
        caller.send("response.create")
        await caller.settle()
        await interrupt(caller)
        await caller.settle()
        caller.channel.resume()
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        await caller.settle()
        assert len(caller.of(wire.ResponseOutputAudioDelta)) <= 1
        assert caller.of(wire.ResponseDone)[0].response.status == "completed"


@pytest.mark.parametrize("interrupted", [False, True])
async def test_truncating_a_running_reply_covers_what_follows(interrupted: bool) -> None:
    gate = Gate()
    async with call([delta("One", 50), gate, delta("two", 50), Gate() if interrupted else done()]) as caller:
        caller.send("response.create")
        item_id = (await caller.expect(wire.ResponseOutputAudioDelta)).item_id
        await caller.settle()
        caller.clock.now += 1.0
        caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=400)
        await caller.expect(wire.ConversationItemTruncated)
        gate.open()
        await caller.settle()
        if interrupted:
            caller.clock.now += 1.0
            await interrupt(caller)
        await finish_turn(caller)
        await caller.settle()
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples == 9_600


async def test_the_next_response_outlives_its_predecessors_playback() -> None:
    async with call(reply("One", tokens=1), [Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        caller.send("response.create")
        await caller.expect(wire.ResponseCreated)
        caller.clock.now += 10
        await asyncio.sleep(0.1)
        await caller.settle()
        assert not caller.task.done()
        assert caller.session.floor is Floor.REPLYING


async def test_a_truncated_reply_is_not_waited_for() -> None:
    async with call(reply("One", tokens=200)) as caller:
        caller.send("response.create")
        item_id = (await caller.expect(wire.ResponseDone)).response.output[0].id
        caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
        await caller.expect(wire.ConversationItemTruncated)
        await caller.settle()
        assert caller.session.floor is Floor.NOBODY


async def test_the_stop_comes_with_the_audio_at_threshold() -> None:
    """So within 20 ms of it, of which the server spends none waiting: the clock stands still meanwhile."""
    appends = [np.zeros(320, "<i2")] * 30 + [np.full(320, 8000, "<i2")] * 20
    ears = Endpointer(LoudnessDetector())
    decided = [bool(list(ears.push((sound / 32768).astype(np.float32)))) for sound in appends].index(True)
    settings = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
    async with call([delta("One", 50), Gate()], settings=settings) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.settle()
        for number, sound in enumerate(appends):
            caller.append(sound.tobytes())
            if "input_audio_buffer.speech_started" in await caller.settle():
                assert number == decided
                return
        raise AssertionError("it never stopped")
