"""Bad input, faults of the model side, peers that vanish or do not read: a clear answer, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from realtime.errors import Draining
from realtime.ports.messages import Tokens
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.session.config import SessionConfig, SessionLimits
from tests.fakes import Caller, FakeVocoder, Gate, call, delta, done, reply
from tests.session.test_items import create, respond, text_item


def limited(**limits: Any) -> SessionConfig:
    return SessionConfig(limits=SessionLimits(**limits))


async def fill(caller: Caller, turns: int) -> None:
    for turn in range(turns):
        await create(caller, text_item(f"question {turn}"))
        await create(caller, text_item(f"answer {turn}", role="assistant"))


async def hear_all(caller: Caller, seconds: int) -> None:
    """Until the session has taken in so much audio; the change of rate holds a millisecond back."""
    await caller.settle_until(lambda: caller.session.parts.audio_input.received >= seconds * 16_000 - 32)


def contents(caller: Caller, request: int) -> list[Any]:
    return [message.content for message in caller.engine.requests[request].messages]


# What clients do wrong


async def test_unreadable_frames_are_errors_and_the_session_lives() -> None:
    async with call() as caller:
        caller.channel.put(ProtocolError("invalid_value", "Invalid value: 'nope'.", param="type", event_id="c1"))
        error = await caller.expect_error()
        assert (error.code, error.param, error.event_id) == ("invalid_value", "type", "c1")
        await respond(caller)


async def test_errors_keep_their_place_among_the_answers() -> None:
    async with call() as caller:
        caller.update(instructions="a")
        caller.channel.put(ProtocolError("invalid_json", "The message is not valid JSON."))
        caller.update(instructions="b")
        await caller.settle()
        assert caller.types()[1:] == ["session.updated", "error", "session.updated"]


async def test_half_samples_between_appends_are_put_together() -> None:
    async with call() as caller:
        data = np.concatenate([np.zeros(12_000, "<i2"), np.full(24_000, 8000, "<i2"), np.zeros(16_800, "<i2")])
        stream = data.tobytes()
        for start in range(0, len(stream), 961):
            caller.append(stream[start : start + 961])
        started = await caller.expect(wire.InputAudioBufferSpeechStarted)
        await caller.expect(wire.ResponseDone)
        assert started.audio_start_ms == pytest.approx(200, abs=32)


async def test_an_empty_append_is_nothing() -> None:
    async with call() as caller:
        caller.append(b"")
        assert await caller.settle() == []


async def test_silence_brings_no_event_at_all() -> None:
    async with call() as caller:
        caller.be_silent(30)
        assert await caller.settle() == []


async def test_ten_minutes_of_noise_grow_no_memory() -> None:
    noise = np.random.default_rng(0).integers(-2000, 2000, 24_000).astype("<i2").tobytes()
    async with call() as caller:
        for _ in range(600):
            caller.append(noise)
        await hear_all(caller, 600)
        assert caller.session.parts.audio_input.kept <= 2 * 16_000
        assert await caller.settle() == []


async def test_endless_noise_becomes_turns_of_bounded_length() -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, 24_000).astype("<i2").tobytes()
    async with call(config=limited(history_audio_s=200.0)) as caller:
        for _ in range(600):
            caller.append(noise)
        await hear_all(caller, 600)
        await caller.settle()
        assert 4 <= len(caller.of(wire.InputAudioBufferCommitted)) <= 6
        assert caller.session.parts.audio_input.kept <= 121 * 16_000
        starts, stops = caller.of(wire.InputAudioBufferSpeechStarted), caller.of(wire.InputAudioBufferSpeechStopped)
        assert len(starts) - len(stops) in (0, 1)
        kept = [message for message in caller.engine.requests[-1].messages if message.role == "human"]
        assert len(kept) == 1


async def test_uncommitted_audio_without_turn_detection_is_bounded() -> None:
    async with call(config=limited(turn_s=5.0)) as caller:
        caller.turn_detection(None)
        caller.say(30)
        await hear_all(caller, 30)
        assert caller.session.parts.audio_input.kept <= 5 * 16_000
        caller.send("input_audio_buffer.commit")
        await caller.expect(wire.InputAudioBufferCommitted)


async def test_open_turns_are_bounded_without_turn_detection() -> None:
    async with call(config=limited(turn_s=5.0)) as caller:
        caller.say(0.5)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        caller.turn_detection(None)
        caller.say(30)
        await hear_all(caller, 30)
        assert caller.session.parts.audio_input.kept <= 5 * 16_000


async def test_minutes_in_one_append_let_others_run() -> None:
    async with call() as caller:
        caller.append(np.zeros(24_000 * 60, "<i2").tobytes())
        turns_of_others = 0
        while caller.session.parts.audio_input.received < 59 * 16_000:
            await asyncio.sleep(0)
            turns_of_others += 1
        assert turns_of_others > 100


# The model side


async def test_full_contexts_drop_the_oldest_turns_and_retry() -> None:
    async with call([done("context_full")], reply("Hi.")) as caller:
        await create(caller, text_item("Rules.", role="system"))
        await fill(caller, 5)
        await create(caller, text_item("now"))
        finished = await respond(caller)
        assert finished.response.status == "completed"
        assert contents(caller, 0)[:2] == ["Rules.", "question 0"]
        assert contents(caller, 1)[:2] == ["Rules.", "question 3"]
        assert len(caller.of(wire.ResponseCreated)) == 1


async def test_what_was_forgotten_stays_forgotten() -> None:
    async with call([done("context_full")]) as caller:
        await fill(caller, 5)
        await create(caller, text_item("now"))
        await respond(caller)
        await respond(caller)
        assert contents(caller, 2)[0] == "question 3"


async def test_turns_that_fit_no_context_fail_with_reason() -> None:
    async with call([done("context_full")], [done("context_full")]) as caller:
        await create(caller, text_item("old"))
        await create(caller, text_item("much too long"))
        response = (await respond(caller)).response
        assert response.status == "failed"
        assert response.status_details is not None and response.status_details.error is not None
        assert response.status_details.error.code == "context_full"
        assert len(caller.engine.requests) == 2


async def test_with_truncation_disabled_a_full_context_fails() -> None:
    async with call([done("context_full")]) as caller:
        caller.update(truncation="disabled")
        await fill(caller, 3)
        assert (await respond(caller)).response.status == "failed"
        assert len(caller.engine.requests) == 1


async def test_the_retention_ratio_says_how_much_is_kept() -> None:
    async with call([done("context_full")]) as caller:
        caller.update(truncation={"type": "retention_ratio", "retention_ratio": 0.2})
        await fill(caller, 5)
        await respond(caller)
        assert contents(caller, 1) == ["question 4", "answer 4"]


@pytest.mark.parametrize(("reason", "status"), [("looped", "incomplete"), ("silent", "completed")])
async def test_repetitive_replies_end_and_keep_only_new_content(reason: str, status: str) -> None:
    ended = replace(done(reason), surplus=9)
    async with call([delta("One", 5), delta("", 8), ended]) as caller:
        finished = await respond(caller)
        assert finished.response.status == status
        details = finished.response.status_details
        assert status == "completed" or (details is not None and details.reason == "max_output_tokens")
        await respond(caller)
        (said,) = caller.engine.requests[1].messages
        assert said.content == (Tokens((1, 2, 2, 2, 2)),)


@pytest.mark.parametrize(
    "script", [[done("failed", "boom")], [delta("One", 5), done("failed", "boom")], [delta("One"), ValueError("boom")]]
)
async def test_engine_failures_fail_the_response_only(script: list[Any]) -> None:
    async with call(script) as caller:
        response = (await respond(caller)).response
        assert response.status == "failed"
        assert response.status_details is not None and response.status_details.error is not None
        assert "boom" not in (response.status_details.error.message or "")
        assert not caller.of(wire.Error)
        assert (await respond(caller)).response.status == "completed"


async def test_vocoder_failures_fail_the_response_and_stop_generation() -> None:
    async with call([delta("One", 5), Gate()], vocoder=FakeVocoder(ValueError("boom"))) as caller:
        assert (await respond(caller)).response.status == "failed"
        assert caller.engine.generations[0].cancelled
        assert caller.vocoder.streams[0].closed


# Peers that go or do not read


async def test_clients_that_vanish_mid_reply_leave_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with call([delta("One", 50), Gate()], [delta("Two", 50), Gate()]) as caller:
        caller.send("response.create")
        caller.send("response.create", response={"conversation": "none"})
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.say(0.3)
        await caller.hang_up()
        assert asyncio.all_tasks() == before
        assert all(generation.cancelled for generation in caller.engine.generations)
        assert all(stream.closed for stream in caller.vocoder.streams)
        keys = {request.conversation for request in caller.engine.requests}
        assert keys <= set(caller.engine.released)
        assert caller.channel.closed == (1000, "channel_closed")


async def test_clients_that_vanish_during_speech_leave_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with call() as caller:
        caller.say(0.5)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        await caller.hang_up()
        assert asyncio.all_tasks() == before
        assert caller.engine.released == [caller.session.id]


async def test_a_client_that_never_reads_is_closed() -> None:
    async with call([delta("One", 50), done()], config=limited(send_timeout_s=0.05, farewell_s=0.05)) as caller:
        caller.channel.pause()
        caller.send("response.create")
        async with asyncio.timeout(5):
            await caller.task
        assert caller.channel.closed == (1008, "slow_reader")
        assert caller.vocoder.streams[0].closed


async def test_audio_for_clients_that_never_read_is_bounded() -> None:
    async with call([delta("One", 1000), done()]) as caller:
        caller.channel.pause()
        caller.send("response.create")
        await caller.settle()
        assert caller.session.parts.outbox.audio_samples <= 2.3 * 24_000


async def test_answers_for_clients_that_never_read_are_bounded() -> None:
    async with call(config=limited(outbox_bytes=10_000)) as caller:
        caller.channel.pause()
        for _ in range(100):
            caller.update()
        await caller.settle()
        assert caller.session.parts.outbox.size <= 10_000
        caller.channel.resume()
        assert (await caller.expect_error()).code == "slow_reader"
        await caller.task


async def test_a_second_caller_does_not_disturb_the_first() -> None:
    async with call([delta("One", 5), Gate()]) as first, call(reply("Two.")) as second:
        first.send("response.create")
        await first.expect(wire.ResponseOutputAudioDelta)
        second.say_something()
        assert (await second.expect(wire.ResponseDone)).response.status == "completed"
        await second.hang_up()
        assert await first.settle() == []
        assert not first.engine.generations[0].cancelled


# The end


async def test_sessions_end_at_their_age_with_a_reason() -> None:
    async with call(config=limited(session_s=0.05)) as caller:
        assert (await caller.expect_error()).code == "session_expired"
        await caller.task
        assert caller.channel.closed == (1000, "session_expired")


async def test_a_draining_server_says_so() -> None:
    async with call([Gate()]) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseCreated)
        caller.session.end(Draining("Bye."))
        error = await caller.expect_error()
        assert (error.type, error.code) == ("server_error", "server_draining")


async def test_internal_faults_close_the_session_without_details(caplog: pytest.LogCaptureFixture) -> None:
    async with call() as caller:
        caller.channel.put(RuntimeError("our secret"))
        error = await caller.expect_error()
        assert (error.type, error.code) == ("server_error", "internal_error")
        assert "secret" not in error.message
        await caller.task
        assert caller.channel.closed == (1011, "internal_error")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None


async def test_log_records_name_their_session_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="realtime")
    async with call(reply("tender secret"), [delta("a secret"), ValueError("fault")]) as caller:
        await create(caller, text_item("private question"))
        await respond(caller)
        await respond(caller)
        await caller.hang_up()
    records = [record for record in caplog.records if record.name.startswith("realtime")]
    assert all(record.session == caller.session.id for record in records)  # type: ignore[attr-defined]
    texts = [record.getMessage() for record in records if record.levelno == logging.INFO]
    assert len(texts) == 4 and "completed" in texts[1] and "total_ms" in texts[1]
    assert not any("secret" in record.getMessage() or "private" in record.getMessage() for record in records)
