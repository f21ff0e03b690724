"""A carrier in Twilio's dialect calls nano; what the caller hears is recognised, and a barge-in clears it."""

from __future__ import annotations

import asyncio

import soundfile
from websockets.asyncio.client import ClientConnection

from realtime.audio.streams import AudioReader, AudioWriter, float_to_pcm16
from realtime.transports.phone.dialects import MULAW_8K
from tests.client.real_server import serving_the_model, until_ready
from tests.client.test_speech_turn import SPEECH
from tests.transports.phone.carrier import Carrier, attached, calling
from tests.transports.recognised import similar, transcript, without_gaps
from tests.transports.test_server import expect


def recording(name: str) -> bytes:
    """As a telephone carries it."""
    samples, rate = soundfile.read(SPEECH / f"{name}.wav", dtype="float32")
    return AudioWriter(MULAW_8K, rate).push(samples)


async def played_out(carrier: Carrier, side: ClientConnection) -> str:
    """What the reply says, when the caller has heard it."""
    said = asyncio.create_task(expect(side, "response.output_audio_transcript.done"))
    while not said.done():
        await carrier.be_silent(0.2)
    stopped = asyncio.create_task(expect(side, "output_audio_buffer.stopped"))
    while not stopped.done():
        await carrier.be_silent(0.2)
    await stopped
    return str((await said)["transcript"])


async def answer(carrier: Carrier, side: ClientConnection, name: str) -> tuple[str, bytes]:
    """What the reply to this recording says, and what the caller hears of it, u-law."""
    before = len(carrier.received)
    await carrier.say(recording(name))
    return await played_out(carrier, side), bytes(carrier.received[before:])


async def recognised(url: str, audio: bytes) -> str:
    heard = AudioReader(MULAW_8K, 48_000).push(audio)
    return await transcript(url, without_gaps(float_to_pcm16(heard)))


async def test_nano_is_understood_over_the_phone() -> None:
    async with serving_the_model() as url:
        await until_ready(url)
        sockets = url.replace("http", "ws")
        async with calling(sockets + "v1/phone/twilio") as carrier:
            side = await attached(sockets + "v1/realtime")
            await played_out(carrier, side)  # the greeting
            likeness = []
            for question in ("two_plus_three_slt", "what_time_is_it_slt", "hello_slt"):
                said, audio = await answer(carrier, side, question)
                likeness.append(similar(await recognised(url, audio), said))
            assert max(likeness) > 0.3, likeness  # nano reads telephone speech badly, and only its own voice
            before = len(carrier.received)
            await carrier.say(recording("count_to_one_hundred_slt"))
            await carrier.be_silent(1)
            await carrier.until(lambda: len(carrier.received) > before + 12_000)
            await carrier.say(recording("what_time_is_it_slt"))
            await carrier.until(lambda: carrier.clears == 1)
            cut = await expect(side, "conversation.item.truncated")
            assert abs(cut["audio_end_ms"] / 1000 - (carrier.played_at_clear[0] - before / 8000)) < 0.5
            await side.close()
