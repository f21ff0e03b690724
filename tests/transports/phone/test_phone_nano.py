"""A carrier in Twilio's dialect calls nano; what the caller hears is recognised, and a barge-in clears it."""

from __future__ import annotations

import numpy as np

from realtime.audio.streams import AudioReader, AudioWriter, float_to_pcm16
from realtime.client.utterance import load_utterance
from realtime.transports.phone.dialects import MULAW_8K
from tests.client.real_server import serving_the_model
from tests.client.test_speech_turn import SPEECH
from tests.transports.phone.carrier import Carrier, calling
from tests.transports.webrtc.test_browser import transcript, without_gaps
from tests.transports.webrtc.test_webrtc_nano import ready


def recording(name: str) -> bytes:
    """As a telephone carries it."""
    return AudioWriter(MULAW_8K, 24_000).push(load_utterance(SPEECH / f"{name}.wav"))


async def answer(carrier: Carrier, name: str) -> bytes:
    """What the caller hears after this recording, u-law."""
    await carrier.until(lambda: carrier.queued == 0)
    before = len(carrier.received)
    await carrier.say(recording(name))
    await carrier.be_silent(1)
    await carrier.until(lambda: len(carrier.received) > before)
    while carrier.queued > 0:
        await carrier.be_silent(0.5)
    return bytes(carrier.received[before:])


async def understood(url: str, audio: bytes) -> str:
    heard = AudioReader(MULAW_8K, 48_000).push(audio)
    return (await transcript(url, without_gaps(float_to_pcm16(heard)))).lower()


async def test_nano_is_understood_over_the_phone() -> None:
    async with serving_the_model() as url:
        await ready(url)
        async with calling(url.replace("http", "ws") + "v1/phone/twilio") as carrier:
            await carrier.until(lambda: len(carrier.received) > 4000)  # the greeting
            time = await answer(carrier, "what_time_is_it_slt")
            assert len(time) > 8000 and np.ptp(AudioReader(MULAW_8K, 8000).push(time)) > 0.1
            said = await understood(url, time)
            assert "time" in said or "it is" in said or "o'clock" in said, said
            await carrier.until(lambda: carrier.queued == 0)
            before = len(carrier.received)
            await carrier.say(recording("count_to_one_hundred_slt"))
            await carrier.be_silent(1)
            await carrier.until(lambda: len(carrier.received) > before + 12_000)
            clears = carrier.clears
            await carrier.say(recording("what_time_is_it_slt"))
            await carrier.until(lambda: carrier.clears > clears)
