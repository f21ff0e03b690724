"""A Python client talks to nano over WebRTC; what it hears is recognised."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("aiortc")

from realtime.audio.streams import Resampler, float_to_pcm16
from realtime.client.speech_turn import speak
from realtime.client.utterance import load_utterance
from realtime.client.webrtc import open_call
from tests.client.real_server import serving_the_model, until_ready
from tests.client.test_speech_turn import SPEECH
from tests.transports.recognised import similar, transcript, without_gaps
from tests.transports.webrtc.calls import only_loopback


async def test_nano_is_understood_over_webrtc() -> None:
    async with serving_the_model() as url:
        await until_ready(url)
        with only_loopback():
            async with open_call(url + "v1/realtime") as call:
                record = await speak(call, load_utterance(SPEECH / "what_time_is_it_slt.wav"))
        assert "time" not in record.transcript.lower() and record.audio_s > 1
        upward = Resampler(24_000, 48_000)
        heard = await transcript(url, without_gaps(float_to_pcm16(upward.push(np.concatenate(call.heard)))))
    assert similar(heard, record.transcript) > 0.5, (heard, record.transcript)
