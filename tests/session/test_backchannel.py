"""A short word over a paused reply: the model writes it down, and only a sure backchannel gives the floor back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.protocol import events as wire
from realtime.session.config import SessionConfig
from realtime.turns.floor import Floor
from tests.fakes import Caller, Gate, Step, call, delta, done, heard
from tests.session.test_false_alarms import COUGH, PAUSED, RESUMED, STARTED, STOP, SweepVocoder, hear, listen, listening
from tests.turns import sounds

YES = sounds.read(Path(__file__).parents[1] / "data" / "speech" / "short" / "yes_slt.wav", -22)


def answer() -> list[Step]:
    """Eight seconds of it, and more to come."""
    return [delta("One", 200), Gate()]


async def say_over(caller: Caller, word: NDArray[np.float32]) -> list[str]:
    caller.send("response.create")
    await caller.expect(wire.ResponseOutputAudioDelta)
    await caller.settle()
    await hear(caller, sounds.silence(1.0), 0)
    return await hear(caller, word, 0.7)


@pytest.mark.parametrize("text", ["Yeah.", "uh-huh", "okay", "Right.", "mhm", "嗯", ""])
async def test_backchannels_and_wordless_voices_leave_the_floor(text: str) -> None:
    async with call(answer(), heard(text), settings=listening()) as caller:
        assert await say_over(caller, YES) == [PAUSED, RESUMED]
        assert caller.session.floor is Floor.REPLYING
        transcribing = caller.engine.requests[1]
        assert not transcribing.speech and transcribing.conversation in caller.engine.released


@pytest.mark.parametrize("text", ["stop", "No.", "Wait!", "yeah but", "停"])
async def test_any_other_word_takes_it(text: str) -> None:
    async with call(answer(), heard(text), settings=listening()) as caller:
        assert (await say_over(caller, STOP))[:2] == [PAUSED, STARTED]


@pytest.mark.parametrize(
    "unsure",
    [
        heard("yeah", 0.4),
        heard("yeah", end=0.5),
        heard("", end=0.4),
        [*heard("yeah")[:1], done("length")],
        [done()],
        [RuntimeError("broken")],
        None,
    ],
    ids=["unlikely", "going on", "nothing, unlikely", "longer", "no chances", "failed", "late"],
)
async def test_uncertain_transcripts_take_the_floor(unsure: Sequence[Step] | None) -> None:
    async with call(answer(), unsure or [Gate()], settings=listening()) as caller:
        assert (await say_over(caller, YES))[:2] == [PAUSED, STARTED]
        (started,) = caller.of(wire.InputAudioBufferSpeechStarted)
        assert started.audio_start_ms == pytest.approx(1000 - 300, abs=64)


async def test_the_model_hears_the_word_from_its_start() -> None:
    async with call(answer(), heard("yeah"), settings=listening()) as caller:
        await say_over(caller, YES)
        (_, message) = caller.engine.requests[1].messages
        samples = message.content[0].samples  # type: ignore[index,union-attr]
        assert len(YES) + 4800 < len(samples) < len(YES) + 4800 + 16_000
        assert np.abs(samples).max() == pytest.approx(np.abs(YES).max(), abs=0.01)


async def test_speech_that_goes_on_takes_the_floor() -> None:
    gap = np.concatenate((YES[: 16 * 400], sounds.silence(0.13), STOP, STOP))
    async with call(answer(), [Gate()], [Gate()], settings=listening()) as caller:
        assert STARTED in await say_over(caller, gap)
        assert all(generation.cancelled for generation in caller.engine.generations[1:3])


async def test_a_cough_is_not_written_down() -> None:
    async with call(answer(), settings=listening()) as caller:
        await say_over(caller, COUGH)
        assert len(caller.engine.generations) == 1


@pytest.mark.parametrize("interruption", ["immediate", "play_on"])
async def test_only_a_paused_reply_waits_for_words(interruption: str) -> None:
    async with call(answer(), heard("yeah"), settings=listening(interruption=interruption)) as caller:
        assert STARTED in await say_over(caller, YES)


async def test_without_listed_words_nothing_is_transcribed() -> None:
    async with call(answer(), heard("yeah"), settings=listening(), config=SessionConfig(backchannels=())) as caller:
        assert STARTED in await say_over(caller, YES)


async def test_a_yes_may_answer_the_end_of_replies() -> None:
    script = [delta("Shall I?", 50), done()]  # two seconds of speech
    async with call(script, heard("yes"), settings=listening()) as caller:
        caller.send("response.create")
        await caller.settle()
        await hear(caller, sounds.silence(1.2), 0)
        assert (await hear(caller, YES, 0.7))[:2] == [PAUSED, STARTED]


async def test_callers_that_hang_up_leave_no_open_question() -> None:
    async with call(answer(), [Gate()], settings=listening()) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await hear(caller, YES, 0.13)
        assert len(caller.engine.generations) == 2
    assert caller.engine.generations[1].cancelled


async def test_backchannels_neither_lose_nor_double_a_sample() -> None:
    script = [delta("One ", 75), done()]
    noisy = np.concatenate((sounds.silence(0.7), YES, sounds.silence(4.0)))
    heard_by_ear = []
    for sound in (np.zeros_like(noisy), noisy):
        async with call(script, heard("yeah"), vocoder=SweepVocoder(), settings=listening()) as caller:
            ear = await listen(caller, sound)
            heard_by_ear.append(np.concatenate(ear.heard))
            assert (RESUMED in caller.types()) == (sound is noisy)
            caller.clock.now += 100
    assert len(heard_by_ear[0]) == 75 * 960
    assert np.array_equal(*heard_by_ear)
