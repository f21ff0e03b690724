"""A voice over ours that may be nothing: what the peer is told, what it plays, and what is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.audio.streams import float_to_pcm16
from realtime.ports.payer import NOBODY, Payer
from realtime.ports.vocoder import AudioChunk
from realtime.protocol import events as wire
from realtime.session.config import SessionConfig, SessionLimits
from realtime.turns.floor import Floor
from tests.fakes import Caller, FakeVocoder, FakeVocoderStream, Gate, call, delta, reply
from tests.session.test_barge_in import remembered
from tests.turns import sounds

STOP = sounds.read(Path(__file__).parents[1] / "data" / "speech" / "short" / "stop_rms.wav", -22)
COUGH = sounds.cough(1, -16)
PAUSED, RESUMED = "output_audio_buffer.paused", "output_audio_buffer.resumed"
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"


def listening(**detection: Any) -> dict[str, Any]:
    turn_detection = {"type": "server_vad", "interruption": "pause", **detection}
    return {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": turn_detection}}}


async def hear(caller: Caller, sound: NDArray[np.float32], silence: float = 0.7) -> list[str]:
    """In real time by the fake clock; the events that came."""
    types = []
    whole = np.concatenate((sound, sounds.silence(silence)))
    for start in range(0, len(whole), 320):
        caller.append(float_to_pcm16(whole[start : start + 320]))
        caller.clock.now += 0.02
        types += await caller.settle()
    return types


async def talk_over(caller: Caller, sound: NDArray[np.float32], silence: float = 0.7) -> list[str]:
    """While 8 s of a reply play."""
    caller.send("response.create")
    await caller.expect(wire.ResponseOutputAudioDelta)
    await caller.settle()
    await hear(caller, sounds.silence(1.0), 0)
    return await hear(caller, sound, silence)


@pytest.mark.parametrize(
    "sound", [COUGH, sounds.door(2, -16), sounds.hum(130, level_db=-16)], ids=["cough", "door", "mhm"]
)
async def test_false_interruptions_pause_and_resume_without_events(sound: NDArray[np.float32]) -> None:
    async with call([delta("One", 200), Gate()], settings=listening()) as caller:
        assert await talk_over(caller, sound) == [PAUSED, RESUMED]
        assert caller.session.floor is Floor.REPLYING


async def test_words_cancel_the_reply_from_their_true_start() -> None:
    async with call([delta("One", 200), Gate()], settings=listening()) as caller:
        types = await talk_over(caller, STOP)
        assert types[:2] == [PAUSED, STARTED]
        assert RESUMED not in types
        (started,) = caller.of(wire.InputAudioBufferSpeechStarted)
        assert started.audio_start_ms == pytest.approx(1000 - 300, abs=40)
        assert caller.of(wire.ResponseDone)[0].response.status == "cancelled"


async def test_play_on_tells_nothing_of_a_false_alarm() -> None:
    async with call([delta("One", 200), Gate()], settings=listening(interruption="play_on")) as caller:
        assert await talk_over(caller, COUGH) == []


async def test_classification_comes_within_a_second() -> None:
    async with call([delta("One", 200), Gate()], settings=listening()) as caller:
        types = await talk_over(caller, sounds.hum(130, (3.0,), -16), silence=0)
        assert types[0] == PAUSED
        (started,) = caller.of(wire.InputAudioBufferSpeechStarted)
        assert caller.session.floor is Floor.USER
        assert started.audio_start_ms < 1040


async def test_interrupting_turns_are_committed_from_their_start() -> None:
    async with call([delta("One", 200), Gate()], reply("Yes?"), settings=listening()) as caller:
        await talk_over(caller, STOP)
        (committed,) = caller.of(wire.InputAudioBufferCommitted)
        audio = caller.engine.requests[-1].messages[-1].content[0].samples  # type: ignore[index,union-attr]
        assert committed.item_id == caller.of(wire.InputAudioBufferSpeechStarted)[0].item_id
        assert len(audio) > len(STOP)
        assert np.abs(audio).max() == pytest.approx(np.abs(STOP).max(), abs=0.01)


async def test_false_interruptions_leave_only_padding_in_later_turns() -> None:
    async with call([delta("One", 200), Gate()], reply("Yes?"), settings=listening()) as caller:
        await talk_over(caller, COUGH, silence=2.0)
        await hear(caller, STOP)
        audio = caller.engine.requests[-1].messages[-1].content[0].samples  # type: ignore[index,union-attr]
        assert len(audio) < len(STOP) + 16_000


async def test_silent_microphones_do_not_leave_the_reply_paused() -> None:
    limits = SessionLimits(overlap_s=0.05)
    config = SessionConfig(limits=limits)
    async with call([delta("One", 200), Gate()], settings=listening(), config=config) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.append(float_to_pcm16(COUGH[:2048]))
        await caller.expect(wire.OutputAudioBufferPaused)
        await caller.expect(wire.OutputAudioBufferResumed)
        assert caller.session.floor is Floor.REPLYING


async def test_a_pause_overtakes_audio_that_waits() -> None:
    async with call([delta("One", 200), Gate()], settings=listening()) as caller:
        caller.channel.pause()
        caller.send("response.create")
        await caller.settle()
        await hear(caller, STOP[:4000], 0)
        caller.channel.resume()
        types = await caller.settle()
        assert types.index(PAUSED) <= types.index("response.output_audio.delta") + 1


async def test_push_to_talk_is_not_contested() -> None:
    async with call([delta("One", 200), Gate()], settings={"audio": {"input": {"turn_detection": None}}}) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.settle()
        caller.say(1.0)
        assert await caller.settle() == []
        caller.send("input_audio_buffer.commit")
        assert await caller.settle() == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]


async def test_the_default_is_the_apis_way() -> None:
    settings = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
    async with call([delta("One", 200), Gate()], settings=settings) as caller:
        assert "interruption" not in caller.session.settings.audio.input.model_dump()["turn_detection"]
        assert (await talk_over(caller, COUGH))[0] == STARTED


async def test_the_operator_chooses_for_clients_that_do_not() -> None:
    settings = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
    config = SessionConfig(interruption="pause")
    async with call([delta("One", 200), Gate()], settings=settings, config=config) as caller:
        assert await talk_over(caller, COUGH) == [PAUSED, RESUMED]


# The caller's ear: a client that plays as it is told, at the pace of the fake clock


class Ear:
    """Plays deltas at 24 kHz by the session's clock, holds while paused, and drops all at `speech_started`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._waiting = np.zeros(0, np.int16)
        self._paused = False
        self._at = caller.clock.now
        self.heard: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self.before_the_end: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self._read = len(caller.seen)

    def follow(self) -> None:
        """Play the time that has passed, then take in what came."""
        count = round((self._caller.clock.now - self._at) * 24_000)
        self._at = self._caller.clock.now
        played = self._waiting[: 0 if self._paused else count]
        self._waiting = self._waiting[len(played) :]
        self.heard.append(played)
        for event in self._caller.seen[self._read :]:
            self._take(event)
        self._read = len(self._caller.seen)

    def _take(self, event: wire._ServerEvent) -> None:
        match event:
            case wire.ResponseOutputAudioDelta(delta=data):
                self._waiting = np.concatenate((self._waiting, np.frombuffer(data, "<i2")))
            case wire.OutputAudioBufferPaused():
                assert not self._paused, "paused twice"
                self._paused = True
            case wire.OutputAudioBufferResumed():
                assert self._paused, "resumed without a pause"
                self._paused = False
            case wire.InputAudioBufferSpeechStarted():
                self._paused = False
                self._waiting = self._waiting[:0]
                self.before_the_end = list(self.heard)


async def listen(caller: Caller, sound: NDArray[np.float32]) -> Ear:
    ear = Ear(caller)
    caller.send("response.create")
    await caller.settle()
    ear.follow()
    for start in range(0, len(sound), 320):
        caller.append(float_to_pcm16(sound[start : start + 320]))
        caller.clock.now += 0.02
        await caller.settle()
        ear.follow()
    return ear


class SweepStream(FakeVocoderStream):
    """No two samples next to each other are the same."""

    def push(self, tokens: Sequence[int]) -> None:
        at = 960 * self.pushed
        self.pushed += len(tokens)
        samples = (np.arange(at, at + 960 * len(tokens)) % 30_000 / 32_768).astype(np.float32)
        self._chunks.put_nowait(AudioChunk(samples, compute_seconds=0.001))

    pushed = 0


class SweepVocoder(FakeVocoder):
    def open(
        self, voice: str, *, speculative: bool = False, aside: bool = False, payer: Payer = NOBODY
    ) -> FakeVocoderStream:
        return SweepStream(voice, None, speculative=speculative)


async def test_paused_sound_is_the_sound_plus_silence() -> None:
    alarms = [COUGH, sounds.hum(130, level_db=-16), COUGH, sounds.door(3, -16)]
    noisy = np.concatenate([part for alarm in alarms for part in (sounds.silence(0.7), alarm)])
    noisy = np.concatenate((noisy, sounds.silence(4.0)))
    heard = []
    for sound in (np.zeros_like(noisy), noisy):
        script = reply("One ", "two ", "three.", tokens=25)
        async with call(script, vocoder=SweepVocoder(), settings=listening()) as caller:
            ear = await listen(caller, sound)
            heard.append(np.concatenate(ear.heard))
            if sound is noisy:
                assert caller.types().count(PAUSED) == caller.types().count(RESUMED) >= 3
            caller.clock.now += 100
    assert len(heard[0]) == 75 * 960
    assert np.array_equal(heard[0], heard[1])


async def test_the_heard_audio_leaves_pauses_out() -> None:
    script = [delta("One", 200), Gate()]
    sound = np.concatenate((sounds.silence(0.7), COUGH, sounds.silence(1.0), STOP, sounds.silence(0.7)))
    async with call(script, reply("Yes?"), vocoder=SweepVocoder(), settings=listening()) as caller:
        ear = await listen(caller, sound)
        kept = remembered(caller)
        assert kept is not None
        assert kept.heard_samples == pytest.approx(sum(map(len, ear.before_the_end)), abs=480)
