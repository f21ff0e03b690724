"""A caller without headphones: the session does not interrupt itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.audio.streams import Resampler, float_to_pcm16, pcm16_to_float
from realtime.ports.vocoder import AudioChunk
from realtime.protocol import events as wire
from realtime.session.config import SessionConfig
from realtime.session.input.echo_reference import EchoReference
from realtime.session.playout import PlayoutLedger
from tests.fakes import Caller, FakeVocoder, FakeVocoderStream, Gate, call, delta
from tests.turns import sounds

SPEECH = Path(__file__).parents[1] / "data" / "speech"
WORD = sounds.read(SPEECH / "what_time_is_it_rms.wav", -17)
STARTED = "input_audio_buffer.speech_started"


class SpeakingStream(FakeVocoderStream):
    """Recorded words in place of constants."""

    def push(self, tokens: Sequence[int]) -> None:
        words = np.concatenate([sounds.read(path, -16) for path in sorted(SPEECH.glob("*_slt.wav"))])
        spoken = Resampler(16_000, 24_000).push(words)[: 960 * len(tokens)]
        self._chunks.put_nowait(AudioChunk(spoken, compute_seconds=0.001))


class SpeakingVocoder(FakeVocoder):
    def open(self, voice: str, **_: object) -> FakeVocoderStream:
        return SpeakingStream(voice, None)


async def on_a_loudspeaker(caller: Caller, seconds: float, over: dict[float, NDArray[np.float32]]) -> list[str]:
    """The caller's microphone hears, 120 ms late and 9 dB softer, what it was sent, and ``over`` at these seconds."""
    caller.send("response.create")
    await caller.settle()
    sent = b"".join(event.delta for event in caller.of(wire.ResponseOutputAudioDelta))
    played = np.concatenate((sounds.silence(0.12), Resampler(24_000, 16_000).push(pcm16_to_float(sent)) * 0.35))
    heard = np.concatenate((played, sounds.silence(seconds)))[: int(seconds * 16_000)] + sounds.noise(seconds, -65)
    for at, sound in over.items():
        first = int(at * 16_000)
        heard[first : first + len(sound)] += sound
    types = []
    for start in range(0, len(heard), 640):
        caller.clock.now += 0.04
        caller.append(float_to_pcm16(heard[start : start + 640]))
        types += await caller.settle()
    return types


SETTINGS: dict[str, Any] = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}


@pytest.mark.parametrize("gated", [True, False])
async def test_our_own_echo_does_not_interrupt_us(gated: bool) -> None:
    script = [delta("One", 125), Gate()]
    async with call(
        script, vocoder=SpeakingVocoder(), settings=SETTINGS, config=SessionConfig(echo_gate=gated)
    ) as caller:
        assert (STARTED in await on_a_loudspeaker(caller, 5.0, {})) != gated


async def test_somebody_else_still_does() -> None:
    script = [delta("One", 125), Gate()]
    async with call(
        script, vocoder=SpeakingVocoder(), settings=SETTINGS, config=SessionConfig(echo_gate=True)
    ) as caller:
        assert STARTED in await on_a_loudspeaker(caller, 5.0, {3.0: WORD})


async def test_the_client_may_switch_the_gate() -> None:
    settings = {"audio": {"input": {**SETTINGS["audio"]["input"], "turn_detection": {"echo_gate": False}}}}
    script = [delta("One", 125), Gate()]
    async with call(
        script, vocoder=SpeakingVocoder(), settings=settings, config=SessionConfig(echo_gate=True)
    ) as caller:
        assert STARTED in await on_a_loudspeaker(caller, 5.0, {})


def test_the_reference_is_what_plays_at_that_moment() -> None:
    ledger, now = PlayoutLedger(), 100.0
    ours = EchoReference(ledger, lambda: now)
    assert not ours.during(0, 0).any()
    tone = np.sin(2 * np.pi * 500 * np.arange(24_000) / 24_000).astype(np.float32)
    ours.add("a", tone)
    ledger.queued("a", 24_000)
    ledger.sent("a", 24_000, 100.0)
    now = 100.5
    first = ours.during(8_000, 8_000)
    expected = np.sin(2 * np.pi * 500 * np.arange(8_000) / 16_000)
    assert np.abs(first - expected)[100:].max() < 0.1
    ledger.pause(100.5)
    now = 101.0
    assert not ours.during(16_000, 8_000).any()
