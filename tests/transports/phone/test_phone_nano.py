"""A carrier in Twilio's dialect calls nano; what the caller hears is recognised, and a barge-in clears it."""

from __future__ import annotations

import soundfile
from websockets.asyncio.client import connect

from realtime.audio.streams import AudioReader, AudioWriter, float_to_pcm16
from realtime.transports.phone.dialects import MULAW_8K
from tests.client.real_server import serving_the_model
from tests.client.test_speech_turn import SPEECH
from tests.transports.phone.carrier import Carrier, calling
from tests.transports.recognised import ready, similar, transcript, without_gaps
from tests.transports.test_server import expect


def recording(name: str) -> bytes:
    """As a telephone carries it."""
    samples, rate = soundfile.read(SPEECH / f"{name}.wav", dtype="float32")
    return AudioWriter(MULAW_8K, rate).push(samples)


async def answer(carrier: Carrier, name: str) -> bytes:
    """What the caller hears after this recording, u-law."""
    before = len(carrier.received)
    await carrier.say(recording(name))
    await carrier.be_silent(1)
    await carrier.until(lambda: len(carrier.received) > before)
    while carrier.queued > 0:
        await carrier.be_silent(0.5)
    return bytes(carrier.received[before:])


async def recognised(url: str, audio: bytes) -> str:
    heard = AudioReader(MULAW_8K, 48_000).push(audio)
    return await transcript(url, without_gaps(float_to_pcm16(heard)))


async def test_nano_is_understood_over_the_phone() -> None:
    async with serving_the_model() as url:
        await ready(url)
        sockets = url.replace("http", "ws")
        async with calling(sockets + "v1/phone/twilio") as carrier:
            await carrier.until(lambda: len(carrier.received) > 4000)  # the greeting
            while carrier.queued > 0:
                await carrier.be_silent(0.5)
            async with connect(sockets + "v1/realtime?call_id=CA1") as side:
                audio = await answer(carrier, "what_time_is_it_slt")
                said = (await expect(side, "response.output_audio_transcript.done"))["transcript"]
                heard = await recognised(url, audio)
                assert similar(heard, said) > 0.5, (heard, said)
                before = len(carrier.received)
                await carrier.say(recording("count_to_one_hundred_slt"))
                await carrier.be_silent(1)
                await carrier.until(lambda: len(carrier.received) > before + 12_000)
                clears = carrier.clears
                await carrier.say(recording("what_time_is_it_slt"))
                await carrier.until(lambda: carrier.clears > clears)
                cut = await expect(side, "conversation.item.truncated")
                assert abs(cut["audio_end_ms"] / 1000 - (carrier.played_at_clear[-1] - before / 8000)) < 0.5
