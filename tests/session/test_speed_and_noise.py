"""`audio.output.speed` and `audio.input.noise_reduction`: what the caller hears, and what is counted."""

from __future__ import annotations

import numpy as np

from realtime.ports.messages import Audio, Tokens
from realtime.protocol import events as wire
from tests.fakes import SAMPLES_PER_TOKEN, Caller, call, reply


def heard(caller: Caller) -> int:
    """Samples of PCM16 that were sent."""
    return sum(len(event.delta) // 2 for event in caller.of(wire.ResponseOutputAudioDelta))


async def test_faster_speech_is_shorter_in_proportion() -> None:
    async with call(reply("A b c.", tokens=100)) as caller:
        caller.update(audio={"output": {"speed": 1.25}})
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        assert heard(caller) == 100 * SAMPLES_PER_TOKEN * 4 // 5


async def test_heard_audio_is_counted_at_the_models_speed() -> None:
    """The client heard 1 s at double length: that is half a second of the model's speech."""
    async with call(reply("A b c.", tokens=100)) as caller:
        caller.update(audio={"output": {"speed": 0.5}})
        caller.send("response.create")
        item = (await caller.expect(wire.ResponseDone)).response.output[0]
        caller.send("conversation.item.truncate", item_id=item.id, content_index=0, audio_end_ms=1000)
        await caller.expect(wire.ConversationItemTruncated)
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        (said,) = caller.engine.requests[1].messages
        assert isinstance(said.content, tuple)
        tokens = said.content[0]
        assert isinstance(tokens, Tokens)
        assert (tokens.heard_samples, tokens.speed) == (24_000, 0.5)


async def test_noise_reduction_keeps_every_sample_of_a_commit() -> None:
    noise = (np.random.default_rng(0).standard_normal(72_000) * 300).astype("<i2")
    async with call() as caller:
        caller.update(audio={"input": {"turn_detection": None, "noise_reduction": {"type": "far_field"}}})
        for start in range(0, len(noise), 480):
            caller.append(noise[start : start + 480].tobytes())
        caller.send("input_audio_buffer.commit")
        await caller.expect(wire.InputAudioBufferCommitted)
        caller.send("response.create")
        await caller.expect(wire.ResponseDone)
        (turn,) = caller.engine.requests[0].messages
        assert isinstance(turn.content, tuple)
        audio = turn.content[0]
        assert isinstance(audio, Audio)
        assert abs(len(audio.samples) - 48_000) < 64  # the change of rate holds a few back
        assert np.abs(audio.samples[-16_000:]).mean() < 0.3 * np.abs(noise / 32768).mean()


async def test_speech_is_found_in_place_behind_noise_reduction() -> None:
    async with call() as caller:
        caller.update(audio={"input": {"noise_reduction": {"type": "near_field", "strength": 0.5}}})
        caller.say_something()
        started = await caller.expect(wire.InputAudioBufferSpeechStarted)
        assert abs(started.audio_start_ms - (500 - 300)) <= 64
