"""Half a sample belongs to the buffer that it came with: after a clear, a commit or a new format nobody is deaf."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from realtime.audio.g711 import pcm16_to_mulaw
from realtime.ports.messages import Audio
from realtime.protocol import events as wire
from tests.fakes import Caller, call, heard

TONE = (8000 * np.sin(np.arange(24_000) / 20)).astype("<i2").tobytes()
"""A second at 24 kHz."""

BY_HAND = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
TRANSCRIBING = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}


def append(caller: Caller, data: bytes, *, binary: bool) -> None:
    if binary:
        caller.append(data)
    else:
        caller.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())


async def committed_audio(caller: Caller) -> np.ndarray:
    """What the model hears of what is committed now."""
    caller.send("input_audio_buffer.commit")
    await caller.expect(wire.InputAudioBufferCommitted)
    if caller.session.settings.type == "realtime":
        caller.send("response.create")
        await caller.expect(wire.ResponseCreated)
    await caller.settle_until(lambda: bool(caller.engine.requests))
    parts = [part for message in caller.engine.requests[-1].messages for part in message.content or ()]
    return [part for part in parts if isinstance(part, Audio)][-1].samples


def assert_is_tone(samples: np.ndarray) -> None:
    wanted = np.sin(np.arange(16_000) / 20 * 1.5) * 8000 / 32768
    assert len(samples) == 16_000
    assert float(np.abs(samples - wanted)[200:-200].max()) < 0.02


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "base64"])
@pytest.mark.parametrize("settings", [BY_HAND, TRANSCRIBING], ids=["realtime", "transcription"])
@pytest.mark.parametrize("ending", ["clear", "commit", "refused commit", "format"])
async def test_half_a_sample_ends_with_its_buffer(ending: str, settings: dict[str, Any], binary: bool) -> None:
    async with call(heard("a tone"), heard("a tone"), settings=settings) as caller:
        if ending == "format":
            caller.send(
                "session.update", session={"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}
            )
        append(caller, (TONE if ending == "commit" else b"") + b"\x01", binary=binary)
        if ending == "clear":
            caller.send("input_audio_buffer.clear")
        elif ending == "commit":
            await committed_audio(caller)
            caller.engine.generations.clear()
        elif ending == "refused commit":
            caller.send("input_audio_buffer.commit")
            assert (await caller.expect_error()).code == "input_audio_buffer_commit_empty"
        else:
            caller.send(
                "session.update", session={"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}}
            )
        append(caller, TONE, binary=binary)
        assert_is_tone(await committed_audio(caller))


async def test_a_sample_may_be_split_between_appends() -> None:
    async with call(settings=BY_HAND) as caller:
        for start in range(0, len(TONE), 999):
            append(caller, TONE[start : start + 999], binary=False)
        assert_is_tone(await committed_audio(caller))


@pytest.mark.parametrize("format", [{"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}])
@pytest.mark.parametrize("noise_reduction", [None, {"type": "near_field"}])
async def test_nothing_of_cleared_audio_comes_later(
    format: dict[str, Any], noise_reduction: dict[str, Any] | None
) -> None:
    loud = np.full(8000, 20_000, "<i2")
    rate, silence = (24_000, bytes(2 * 24_000)) if format["type"] == "audio/pcm" else (8000, b"\xff" * 8000)
    data = loud.tobytes() if rate == 24_000 else pcm16_to_mulaw(loud)
    listening = {"turn_detection": None, "format": format, "noise_reduction": noise_reduction}
    async with call(settings={"type": "realtime", "audio": {"input": listening}}) as caller:
        caller.append(data)
        caller.send("input_audio_buffer.clear")
        caller.append(silence)
        samples = await committed_audio(caller)
        assert len(samples) == 16_000
        assert float(np.abs(samples).max()) == 0.0


async def test_the_end_of_a_commit_is_in_it() -> None:
    """The change of rate holds back the last milliseconds until it is told that nothing follows."""
    async with call(settings=BY_HAND) as caller:
        caller.append(bytes(2 * 23_000) + np.full(1000, 20_000, "<i2").tobytes())
        first = await committed_audio(caller)
        assert len(first) == 16_000 and float(first[-1]) > 0.3
