"""Transports that play the audio themselves (WebRTC, phone lines): when their playback is cleared, and when not."""

from __future__ import annotations

from typing import Any

import numpy as np

from realtime.ports.channel import AudioHeard, PlaybackChanged
from realtime.protocol import events as wire
from realtime.turns.floor import Floor
from tests.fakes import Gate, MemoryChannel, Step, call, delta, reply


def long() -> list[Step]:
    """A reply of eight seconds that does not end."""
    return [delta("Long", 200), Gate()]


class PlayingChannel(MemoryChannel):
    plays_audio = True


def detection(**fields: Any) -> dict[str, Any]:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", **fields}}}}


async def test_uninterruptible_replies_are_not_cleared() -> None:
    async with call(long(), settings=detection(interrupt_response=False), channel=PlayingChannel()) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.say(1.0)
        caller.be_silent(0.7)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        await caller.settle()
        assert not caller.of(wire.OutputAudioBufferCleared)


async def test_barge_in_clears_playback_behind_the_cancelled_audio() -> None:
    async with call(long(), channel=PlayingChannel()) as caller:
        caller.say_something()
        first = await caller.expect(wire.ResponseOutputAudioDelta)
        caller.say(1.0)
        cleared = await caller.expect(wire.OutputAudioBufferCleared)
        assert cleared.response_id == first.response_id
        await caller.settle()
        kinds = caller.types()
        assert "response.output_audio.delta" not in kinds[kinds.index("output_audio_buffer.cleared") :]


async def test_clients_that_own_their_playback_get_no_clear() -> None:
    async with call(long()) as caller:
        caller.say_something()
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.say(1.0)
        await caller.expect(wire.InputAudioBufferSpeechStarted)
        await caller.settle()
        assert not caller.of(wire.OutputAudioBufferCleared)


async def test_clients_may_clear_the_playback_of_their_transport() -> None:
    async with call(long(), channel=PlayingChannel()) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseOutputAudioDelta)
        caller.send("output_audio_buffer.clear")
        await caller.expect(wire.OutputAudioBufferCleared)
        await caller.settle()
        assert caller.of(wire.ResponseDone)[-1].response.status == "cancelled"
        await caller.settle_until(lambda: caller.session.floor is Floor.NOBODY)


async def test_playback_after_the_response_can_be_cleared() -> None:
    async with call(reply("Long.", tokens=100), channel=PlayingChannel()) as caller:
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        caller.send("output_audio_buffer.clear")
        await caller.expect(wire.OutputAudioBufferCleared)
        await caller.settle_until(lambda: caller.session.floor is Floor.NOBODY)


async def test_barge_in_truncates_to_what_was_heard() -> None:
    async with call(reply("Long words.", tokens=100), channel=PlayingChannel()) as caller:
        caller.say_something()
        first = await caller.expect(wire.ResponseOutputAudioDelta)
        await caller.expect(wire.ResponseDone)
        caller.played(first.item_id, 30_000)
        caller.say(1.0)
        truncated = await caller.expect(wire.ConversationItemTruncated)
        assert (truncated.item_id, truncated.audio_end_ms) == (first.item_id, 1250)
        caller.send("conversation.item.retrieve", item_id=first.item_id)
        item = (await caller.expect(wire.ConversationItemRetrieved)).item
        assert item.content[0].transcript is None


async def test_playback_of_a_transport_is_announced() -> None:
    async with call(channel=PlayingChannel()) as caller:
        caller.channel.put(PlaybackChanged("resp_1", True))
        assert (await caller.expect(wire.OutputAudioBufferStarted)).response_id == "resp_1"
        caller.channel.put(PlaybackChanged("resp_1", False))
        assert (await caller.expect(wire.OutputAudioBufferStopped)).response_id == "resp_1"


async def test_samples_of_a_transport_are_heard_in_any_format() -> None:
    settings = {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}
    async with call(channel=PlayingChannel(), settings=settings) as caller:
        for loudness in [0.0] * 25 + [0.3] * 50 + [0.0] * 40:
            caller.channel.put(AudioHeard(np.full(320, loudness, np.float32)))
        started = await caller.expect(wire.InputAudioBufferSpeechStarted)
        assert 0 <= started.audio_start_ms <= 500
        assert 1500 <= (await caller.expect(wire.InputAudioBufferSpeechStopped)).audio_end_ms <= 2300
