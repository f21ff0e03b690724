"""Transcription of user turns: when it runs, what events it sends, and transcription sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from realtime.admission.manager import first_settings
from realtime.ports.engine import TokenDelta, TokenLogProb
from realtime.ports.messages import Audio, Message
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.protocol.ids import Ids
from realtime.protocol.items import InputAudio, UserMessage
from realtime.session.config import SessionConfig, SessionLimits
from tests.fakes import USAGE, Caller, Gate, Step, call, delta, done, reply

ON = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
BY_HAND: dict[str, Any] = {"audio": {"input": {"transcription": {}, "turn_detection": None}}}
ONLY = {"type": "transcription"}
AT_ONCE = SessionConfig(limits=SessionLimits(transcript_grace_s=0.0))


def words(*deltas: str, end: Step | None = None) -> list[Step]:
    return [*(delta(text) for text in deltas), end or done()]


def commit(caller: Caller, seconds: float = 0.2) -> None:
    caller.say(seconds)
    caller.send("input_audio_buffer.commit")


def ends(caller: Caller) -> list[str]:
    """How each transcript ended, in order, by the item."""
    kinds = (wire.InputAudioTranscriptionCompleted, wire.InputAudioTranscriptionFailed)
    return [event.item_id for event in caller.seen if isinstance(event, kinds)]


async def test_the_words_come_as_deltas_and_then_whole() -> None:
    async with call(reply("Noon."), words("What time", " is it?"), settings=ON, config=AT_ONCE) as caller:
        caller.say_something()
        completed = await caller.expect(wire.InputAudioTranscriptionCompleted)
        deltas = caller.of(wire.InputAudioTranscriptionDelta)
        assert [event.delta for event in deltas] == ["What time", " is it?"]
        assert completed.transcript == "What time is it?"
        (committed,) = caller.of(wire.InputAudioBufferCommitted)
        assert {completed.item_id, *(event.item_id for event in deltas)} == {committed.item_id}


async def test_the_tokens_of_a_transcript_are_counted() -> None:
    async with call(words("Hi."), settings=BY_HAND, config=AT_ONCE) as caller:
        commit(caller)
        usage = (await caller.expect(wire.InputAudioTranscriptionCompleted)).usage
        assert isinstance(usage, wire.TokensUsage)
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (15, 20, 35)
        details = usage.input_token_details
        assert (details.text_tokens, details.audio_tokens) == (USAGE.input_text, USAGE.input_audio)


async def test_the_transcript_is_kept_before_it_is_sent() -> None:
    async with call(words("Hi."), settings=BY_HAND, config=AT_ONCE) as caller:
        commit(caller)
        completed = await caller.expect(wire.InputAudioTranscriptionCompleted)
        caller.send("conversation.item.retrieve", item_id=completed.item_id)
        item = (await caller.expect(wire.ConversationItemRetrieved)).item
        assert isinstance(item, UserMessage) and isinstance(item.content[0], InputAudio)
        assert item.content[0].transcript == "Hi."


async def test_the_model_hears_only_the_turn_decoding_greedily() -> None:
    config = SessionConfig(transcription_prompt="Write.", limits=SessionLimits(transcript_grace_s=0.0))
    async with call(words("Hi."), settings=BY_HAND, config=config) as caller:
        commit(caller, seconds=2.0)
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        (request,) = caller.engine.requests
        system, human = request.messages
        assert system == Message("system", "Write.")
        assert human.role == "human" and isinstance(human.content, tuple)
        assert isinstance(human.content[0], Audio) and len(human.content[0].samples) == pytest.approx(32_000, abs=50)
        assert not request.speech
        assert request.sampling.temperature == 0.0
        assert request.sampling.max_tokens < 100
        assert request.conversation != caller.session.id
        assert caller.engine.released == [request.conversation]


async def test_without_the_setting_nothing_is_written_down() -> None:
    async with call(reply("Hi.")) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseDone)
        await caller.settle()
        assert len(caller.engine.requests) == 1


async def test_transcripts_wait_for_the_replys_first_audio() -> None:
    before, after = Gate(), Gate()
    script: list[Step] = [delta("One."), before, delta("Two.", 5), after, done()]
    async with call(script, words("Hi."), settings=ON, config=AT_ONCE) as caller:
        caller.say_something()
        await before.reached.wait()
        await caller.settle()
        assert len(caller.engine.requests) == 1
        before.open()
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert not caller.of(wire.ResponseDone)
        after.open()


async def test_transcripts_wait_for_the_end_of_written_replies() -> None:
    gate = Gate()
    settings = {**ON, "output_modalities": ["text"]}
    async with call([delta("One."), gate, done()], words("Hi."), settings=settings, config=AT_ONCE) as caller:
        caller.say_something()
        await gate.reached.wait()
        await caller.settle()
        assert len(caller.engine.requests) == 1
        gate.open()
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert caller.of(wire.ResponseDone)


async def test_transcripts_do_not_wait_for_cancelled_replies() -> None:
    gate = Gate()
    async with call([gate, *reply("Never.")], words("Hi."), settings=ON, config=AT_ONCE) as caller:
        caller.say_something()
        await gate.reached.wait()
        caller.send("response.cancel")
        await caller.expect(wire.InputAudioTranscriptionCompleted)


async def test_a_turn_that_is_not_answered_is_transcribed() -> None:
    detection = {"type": "server_vad", "create_response": False}
    settings = {"audio": {"input": {"transcription": {}, "turn_detection": detection}}}
    async with call(words("Hi."), settings=settings, config=AT_ONCE) as caller:
        caller.say_something()
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert not caller.of(wire.ResponseCreated)


async def test_responses_requested_after_a_commit_go_first() -> None:
    async with call(reply("Noon."), words("Hi."), settings=BY_HAND) as caller:
        commit(caller)
        await caller.settle()
        caller.send("response.create")
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        answer, transcript = caller.engine.requests
        assert answer.speech and not transcript.speech


async def test_turns_are_transcribed_one_after_the_other() -> None:
    gate = Gate()
    async with call([gate, *words("One.")], words("Two."), settings=BY_HAND, config=AT_ONCE) as caller:
        commit(caller)
        await gate.reached.wait()
        commit(caller)
        await caller.settle()
        assert len(caller.engine.requests) == 1
        gate.open()
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        second = await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert second.transcript == "Two."
        assert ends(caller) == [event.item_id for event in caller.of(wire.InputAudioBufferCommitted)]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([delta("Hi"), done("failed", "no memory")], "engine_error"),
        ([done("cancelled")], "engine_error"),
        ([done("context_full")], "audio_too_long"),
        ([RuntimeError("broken")], "internal_error"),
        ([delta("Hi")], "internal_error"),
    ],
)
async def test_transcription_failures_belong_to_the_item(script: list[Step], code: str) -> None:
    async with call(script, words("Next."), settings=BY_HAND, config=AT_ONCE) as caller:
        commit(caller)
        failed = await caller.expect(wire.InputAudioTranscriptionFailed)
        assert failed.error.code == code
        commit(caller)
        assert (await caller.expect(wire.InputAudioTranscriptionCompleted)).transcript == "Next."
        assert not caller.of(wire.Error)
        assert len(ends(caller)) == 2


async def test_deleted_items_never_get_completed_transcripts() -> None:
    gate = Gate()
    async with call([gate, *words("Hi.")], settings=BY_HAND, config=AT_ONCE) as caller:
        commit(caller)
        await gate.reached.wait()
        caller.send("conversation.item.delete", item_id=(await caller.expect(wire.ConversationItemDone)).item.id)
        await caller.expect(wire.ConversationItemDeleted)
        gate.open()
        assert (await caller.expect(wire.InputAudioTranscriptionFailed)).error.code == "item_deleted"


async def test_speech_that_waits_for_its_transcript_is_bounded() -> None:
    limits = SessionLimits(transcript_grace_s=0.0, history_audio_s=1.0)
    gate = Gate()
    async with call([gate, *words("One.")], settings=BY_HAND, config=SessionConfig(limits=limits)) as caller:
        commit(caller)
        await gate.reached.wait()
        commit(caller, seconds=0.8)
        commit(caller, seconds=0.8)
        assert (await caller.expect(wire.InputAudioTranscriptionFailed)).error.code == "transcription_backlog"
        gate.open()
        for _ in range(2):
            await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert len(set(ends(caller))) == 3


async def test_a_caller_who_leaves_leaves_no_transcript_behind() -> None:
    gate = Gate()
    async with call([gate, *words("Hi.")], settings=BY_HAND, config=AT_ONCE) as caller:
        commit(caller)
        await gate.reached.wait()
    (generation,) = caller.engine.generations
    assert generation.cancelled
    assert generation.request.conversation in caller.engine.released


# Sessions that only transcribe


async def test_transcription_sessions_write_every_turn_and_answer_none() -> None:
    async with call(words("One."), words("Two."), settings=ONLY, config=AT_ONCE) as caller:
        (created,) = caller.of(wire.SessionCreated)
        assert created.session.object == "realtime.transcription_session"
        for expected in ("One.", "Two."):
            caller.say_something()
            assert (await caller.expect(wire.InputAudioTranscriptionCompleted)).transcript == expected
        assert not caller.of(wire.ResponseCreated)
        assert caller.engine.prefetched == []


async def test_a_transcription_session_refuses_responses() -> None:
    async with call(settings=ONLY) as caller:
        caller.send("response.create", event_id="c1")
        error = await caller.expect_error()
        assert (error.code, error.event_id) == ("invalid_value", "c1")


async def test_a_transcription_session_is_updated_like_any_other() -> None:
    async with call(words("Hi."), settings=ONLY, config=AT_ONCE) as caller:
        audio: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": 16000}, "turn_detection": None}
        caller.send("session.update", session={"type": "transcription", "audio": {"input": audio}})
        updated = await caller.expect(wire.SessionUpdated)
        assert updated.session.turn_detection is None
        caller.append(np.full(8000, 8000, "<i2").tobytes())
        caller.send("input_audio_buffer.commit")
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        (request,) = caller.engine.requests
        human = request.messages[-1].content
        assert isinstance(human, tuple) and isinstance(human[0], Audio) and len(human[0].samples) == 8000


async def test_transcription_sessions_do_not_answer_long_silence() -> None:
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    settings = {**ONLY, "audio": {"input": {"turn_detection": detection}}}
    async with call(settings=settings) as caller:
        caller.be_silent(7.0)
        assert await caller.settle() == []


def test_a_transcription_session_shows_what_transcribes() -> None:
    settings = first_settings(SessionConfig(model="m"), Ids("t"), patch=ONLY)
    transcription = settings.audio.input.transcription
    assert transcription is not None and transcription.model == "m"


def test_a_wrong_transcription_session_is_refused() -> None:
    with pytest.raises(ProtocolError):
        first_settings(SessionConfig(), Ids("t"), patch={**ONLY, "audio": {"input": {"format": {"type": "mp3"}}}})


async def test_log_probabilities_come_on_request() -> None:
    chosen = (TokenLogProb(b"Hi", -0.25), TokenLogProb(b"\xc3", -1.5))
    script: list[Step] = [TokenDelta("Hi", (), (1, 1), logprobs=chosen), done()]
    asked = BY_HAND | {"include": ["item.input_audio_transcription.logprobs"]}
    async with call(script, settings=asked, config=AT_ONCE) as caller:
        commit(caller)
        completed = await caller.expect(wire.InputAudioTranscriptionCompleted)
        (told,) = caller.of(wire.InputAudioTranscriptionDelta)
        assert told.logprobs == completed.logprobs is not None
        assert [(one.token, one.bytes, one.logprob) for one in completed.logprobs] == [
            ("Hi", (72, 105), -0.25),
            ("\ufffd", (195,), -1.5),
        ]


async def test_log_probabilities_come_only_on_request() -> None:
    async with call(words("Hi."), settings=BY_HAND, config=AT_ONCE) as caller:
        commit(caller)
        completed = await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert completed.logprobs is None
        assert not caller.engine.requests[0].logprobs


# Hints

HINTS = {"model": "whisper-1", "language": "en", "prompt": "A call to a garage.", "keywords": ["Škoda", "V60"]}


async def test_transcription_prompts_stand_behind_the_models_own() -> None:
    async with call(words("Hi."), settings=_hinted(HINTS), config=AT_ONCE) as caller:
        commit(caller)
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        (system, _) = caller.engine.requests[0].messages
        assert system.content == (
            f"{AT_ONCE.transcription_prompt}\nLanguage of the speech: en.\nWords that may occur: Škoda, V60.\n"
            "A call to a garage."
        )


async def test_models_with_one_fixed_prompt_get_no_hints() -> None:
    config = replace(AT_ONCE, transcription_hints=False)
    async with call(words("Hi."), settings=_hinted(HINTS), config=config) as caller:
        commit(caller)
        await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert caller.engine.requests[0].messages[0].content == AT_ONCE.transcription_prompt


@pytest.mark.parametrize("hint", [{"prompt": "x" * 5000}, {"keywords": ["x"] * 101}, {"language": "x" * 81}])
async def test_hints_that_would_fill_the_prompt_are_refused(hint: dict[str, Any]) -> None:
    async with call(settings=BY_HAND) as caller:
        caller.update(audio={"input": {"transcription": hint}})
        error = await caller.expect_error()
        assert (error.code, error.param) == ("invalid_value", f"session.audio.input.transcription.{next(iter(hint))}")


def _hinted(transcription: dict[str, Any]) -> dict[str, Any]:
    return {**BY_HAND, "audio": {"input": {**BY_HAND["audio"]["input"], "transcription": transcription}}}


# Recordings without signal


@pytest.mark.parametrize("level", [0, 10])  # of 32768: -70.3 dBFS
async def test_a_recording_without_signal_has_an_empty_transcript(level: int) -> None:
    include = ["item.input_audio_transcription.logprobs"]
    async with call(words("Hi."), settings={**BY_HAND, "include": include}, config=AT_ONCE) as caller:
        caller._sound(1.0, level)
        caller.send("input_audio_buffer.commit")
        silent = await caller.expect(wire.InputAudioTranscriptionCompleted)
        assert (silent.transcript, silent.logprobs) == ("", ())
        assert silent.usage is not None and silent.usage.total_tokens == 0
        assert not caller.engine.requests
        commit(caller)
        assert (await caller.expect(wire.InputAudioTranscriptionCompleted)).transcript == "Hi."


async def test_a_quiet_voice_is_transcribed() -> None:
    async with call(words("Hi."), settings=BY_HAND, config=AT_ONCE) as caller:
        caller._sound(1.0, 20)
        caller.send("input_audio_buffer.commit")
        assert (await caller.expect(wire.InputAudioTranscriptionCompleted)).transcript == "Hi."
