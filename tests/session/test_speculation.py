"""Speculation: the reply is generated in a pause and held back. It is sent whole or dropped without a trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from realtime.metrics import Speculated
from realtime.ports.messages import Audio, Message
from realtime.ports.tool_calls import ToolCall, render_tool_call
from realtime.protocol import events as wire
from realtime.session.config import SessionConfig
from realtime.session.quota import Quota, QuotaLimits
from tests.fakes import Caller, FakeClock, Gate, call, calling, delta, done, reply
from tests.session.test_turns import COMMITTED, SPOKEN_REPLY

TOLD_BEFORE_THE_END = ["session.created", "input_audio_buffer.speech_started"]


def pause(caller: Caller) -> None:
    """A second of speech and 300 ms of silence: perhaps the end of the turn."""
    caller.be_silent(0.5)
    caller.say(1.0)
    caller.be_silent(0.3)


def confirm(caller: Caller) -> None:
    """The rest of the silence that ends a turn."""
    caller.be_silent(0.4)


def samples_of(message: Message) -> Any:
    assert isinstance(message.content, tuple)
    (part,) = message.content
    assert isinstance(part, Audio)
    return part.samples


def figures(caller: Caller) -> Mapping[str, float | None]:
    return caller.reports[-1][1]


async def test_speculation_sends_nothing_before_the_end_of_turn() -> None:
    async with call(reply("Hi.")) as caller:
        pause(caller)
        await caller.settle()
        assert caller.engine.generations[0].finished and caller.vocoder.streams[0].made_seconds > 0
        assert caller.types() == TOLD_BEFORE_THE_END


async def test_speculative_replies_keep_the_protocols_event_order() -> None:
    async with call(reply("Hi.")) as caller:
        pause(caller)
        await caller.settle()
        confirm(caller)
        await caller.expect(wire.ResponseDone)
        assert caller.types() == [
            *TOLD_BEFORE_THE_END,
            "input_audio_buffer.speech_stopped",
            *COMMITTED,
            *SPOKEN_REPLY,
        ]


async def test_speculative_replies_answer_exactly_the_committed_audio() -> None:
    async with call() as caller:
        pause(caller)
        await caller.settle()
        (generation,) = caller.engine.generations
        assert generation.speculative and not generation.confirmed
        confirm(caller)
        item_id = (await caller.expect(wire.InputAudioBufferCommitted)).item_id
        await caller.expect(wire.ResponseDone)
        (generation,) = caller.engine.generations
        assert generation.confirmed and caller.vocoder.streams[0].confirmed
        caller.send("conversation.item.retrieve", item_id=item_id)
        (part,) = (await caller.expect(wire.ConversationItemRetrieved)).item.content  # type: ignore[union-attr]
        assert len(part.audio) // 2 == pytest.approx(len(samples_of(generation.request.messages[-1])) * 1.5, abs=2)


async def test_unfinished_speculation_is_taken_over_and_continues() -> None:
    gate = Gate()
    async with call([delta("One", 5), gate, delta(" two.", 5), done()]) as caller:
        pause(caller)
        await gate.reached.wait()
        confirm(caller)
        await caller.expect(wire.ResponseOutputAudioDelta)
        gate.open()
        end = await caller.expect(wire.ResponseDone)
        assert end.response.status == "completed"
        assert "".join(e.delta for e in caller.of(wire.ResponseOutputAudioTranscriptDelta)) == "One two."
        assert sum(len(e.delta) for e in caller.of(wire.ResponseOutputAudioDelta)) == 10 * 960 * 2


async def test_resumed_speech_drops_speculation_without_a_trace() -> None:
    gate = Gate()
    async with call([delta("Too early.", 5), gate], reply("Right.")) as caller:
        pause(caller)
        await gate.reached.wait()
        caller.say(0.5)
        await caller.settle()
        assert caller.engine.generations[0].cancelled and caller.vocoder.streams[0].closed
        gate.open()
        caller.be_silent(0.7)
        await caller.expect(wire.ResponseDone)
        assert "".join(e.delta for e in caller.of(wire.ResponseOutputAudioTranscriptDelta)) == "Right."
        assert len(caller.of(wire.ResponseCreated)) == len(caller.of(wire.ResponseDone)) == 1
        caller.clock.now += 10.0
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        told = caller.engine.requests[-1].messages
        assert [message.role for message in told] == ["human", "assistant", "human"]


async def test_what_was_made_in_vain_is_counted() -> None:
    outcomes: list[Speculated] = []
    gate = Gate()
    async with call(
        [delta("Too early.", 5), gate, done()], reply("Right."), parts={"on_speculation": outcomes.append}
    ) as caller:
        pause(caller)
        await gate.reached.wait()
        caller.say(0.5)
        await caller.settle()
        gate.open()
        caller.be_silent(0.7)
        await caller.expect(wire.ResponseDone)
        await caller.settle_until(lambda: bool(caller.reports))
        assert [outcome.used for outcome in outcomes] == [False, True]
        assert (outcomes[0].ids, outcomes[0].audio_s) == (6 + 15, 0.2)  # 6 generated, 15 of the prompt
        report = figures(caller)
        assert (report["wasted_drafts"], report["wasted_ids"], report["wasted_audio_ms"]) == (1, 21, 200.0)


async def test_the_trace_of_speculation_begins_at_the_pause() -> None:
    async with call() as caller:
        pause(caller)
        await caller.settle()
        caller.clock.now += 0.3
        confirm(caller)
        await caller.expect(wire.ResponseDone)
        await caller.settle_until(lambda: bool(caller.reports))
        report = figures(caller)
        assert report["ahead_ms"] == 300.0
        parts = [report[f"{name}_ms"] for name in ("endpointing", "queued", "encoded", "first_token", "first_audio")]
        assert sum(part or 0.0 for part in parts) == pytest.approx(report["total_ms"])
        assert report["queued_ms"] == pytest.approx(1 - 300)


async def test_the_usage_of_speculation_is_the_engines() -> None:
    async with call() as caller:
        pause(caller)
        await caller.settle()
        confirm(caller)
        usage = (await caller.expect(wire.ResponseDone)).response.usage
        assert usage is not None and (usage.input_tokens, usage.output_tokens) == (15, 20)


async def test_speculative_function_calls_wait_for_the_turn_end() -> None:
    rest = render_tool_call(ToolCall("now", "{}"))
    async with call(calling("Wait.", rest=rest)) as caller:
        caller.update(tools=[{"type": "function", "name": "now", "parameters": {"type": "object"}}])
        pause(caller)
        await caller.settle()
        assert not caller.of(wire.ResponseFunctionCallArgumentsDone)
        confirm(caller)
        await caller.expect(wire.ResponseDone)
        assert [event.name for event in caller.of(wire.ResponseFunctionCallArgumentsDone)] == ["now"]


async def test_conversations_changed_during_the_pause_are_answered_anew() -> None:
    async with call(reply("Stale."), reply("Fresh.")) as caller:
        pause(caller)
        await caller.settle()
        item = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}
        caller.send("conversation.item.create", item=item)
        await caller.settle()
        confirm(caller)
        await caller.expect(wire.ResponseDone)
        assert "".join(e.delta for e in caller.of(wire.ResponseOutputAudioTranscriptDelta)) == "Fresh."
        assert caller.engine.generations[0].request != caller.engine.generations[1].request
        assert caller.vocoder.streams[0].closed


@pytest.mark.parametrize("event", ["input_audio_buffer.commit", "input_audio_buffer.clear"])
async def test_turns_that_clients_end_leave_no_speculation(event: str) -> None:
    gate = Gate()
    async with call([delta("Hi.", 5), gate]) as caller:
        pause(caller)
        await gate.reached.wait()
        caller.send(event)
        await caller.settle()
        gate.open()
        await caller.settle()
        assert caller.engine.generations[0].cancelled and caller.vocoder.streams[0].closed
        assert not caller.of(wire.ResponseCreated)


async def test_callers_that_hang_up_leave_no_speculation() -> None:
    gate = Gate()
    async with call([delta("Hi.", 5), gate]) as caller:
        pause(caller)
        await gate.reached.wait()
        await caller.hang_up()
        assert caller.engine.generations[0].cancelled and caller.vocoder.streams[0].closed


async def test_a_draft_that_failed_is_made_again() -> None:
    async with call([delta("Hi.", 5), done("failed", "out of memory")], reply("Again.")) as caller:
        pause(caller)
        await caller.settle()
        confirm(caller)
        end = await caller.expect(wire.ResponseDone)
        assert end.response.status == "completed"
        assert "".join(e.delta for e in caller.of(wire.ResponseOutputAudioTranscriptDelta)) == "Again."


async def test_barge_in_stops_a_speculative_reply() -> None:
    gate = Gate()
    async with call([delta("Hi.", 5), gate]) as caller:
        pause(caller)
        await gate.reached.wait()
        confirm(caller)
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.say(0.3)
        end = await caller.expect(wire.ResponseDone)
        assert end.response.status == "cancelled"
        assert caller.engine.generations[0].cancelled and caller.vocoder.streams[0].closed
        gate.open()


async def test_pauses_are_prefetched_as_the_turn_they_end() -> None:
    async with call() as caller:
        caller.be_silent(0.5)
        caller.say(1.0)
        caller.be_silent(0.15)
        await caller.settle()
        assert not caller.engine.generations
        prefetched = caller.engine.prefetched[-1]
        caller.be_silent(0.5)
        await caller.expect(wire.ResponseDone)
        assert caller.engine.requests == [prefetched]


async def test_no_speculation_where_no_reply_will_be_requested() -> None:
    async with call() as caller:
        caller.turn_detection({"type": "server_vad", "create_response": False})
        pause(caller)
        await caller.settle()
        assert not caller.engine.generations


async def test_no_speculation_for_keys_without_responses_left() -> None:
    clock = FakeClock()
    quota = Quota(QuotaLimits(responses_per_minute=1), clock)
    quota.take_response()
    async with call(quota=quota) as caller:
        pause(caller)
        await caller.settle()
        assert not caller.engine.generations
        confirm(caller)
        done = await caller.expect(wire.ResponseDone)
        assert done.response.status == "failed" and not caller.engine.generations
        clock.now += 60
        pause(caller)
        await caller.settle()
        assert caller.engine.generations[0].speculative


async def test_work_ahead_can_be_switched_off() -> None:
    async with call(config=SessionConfig(speculate=False)) as caller:
        pause(caller)
        await caller.settle()
        assert not caller.engine.generations
        confirm(caller)
        await caller.expect(wire.ResponseDone)
        await caller.settle_until(lambda: bool(caller.reports))
        assert not caller.engine.generations[0].speculative
        assert figures(caller)["ahead_ms"] is None


async def test_full_segments_of_long_turns_are_prefetched_early() -> None:
    async with call() as caller:
        caller.say(52.0)
        await caller.settle_until(lambda: caller.session.parts.audio_input.received > 51 * 16_000)
        open_turns = [request.messages[-1] for request in caller.engine.prefetched]  # the first: before any speech
        assert [message.content is None or len(samples_of(message)) / 16_000 for message in open_turns] == [
            True,
            25,
            50,
        ]
        assert not any(message.closed for message in open_turns[1:])
        caller.be_silent(0.7)
        await caller.expect(wire.ResponseDone)
        whole = samples_of(caller.engine.requests[0].messages[-1])
        assert len(whole) / 16_000 == pytest.approx(0.032 + 52.0 + 0.5, abs=0.1)
        assert (whole[: 25 * 16_000] == samples_of(open_turns[1])).all()
        assert caller.engine.requests[0].messages[-1].content[0].id == open_turns[1].content[0].id  # type: ignore[index,union-attr]
