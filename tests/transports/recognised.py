"""What is heard over a transport, recognised by the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from realtime.audio.streams import AudioFormat, AudioReader, float_to_pcm16
from realtime.client.connection import open_session


async def transcript(url: str, pcm: bytes) -> str:
    """What the model hears in PCM16 at 48 kHz."""
    reader = AudioReader(AudioFormat("pcm16", 48_000), 24_000)
    audio = float_to_pcm16(reader.push(pcm)) + bytes(24_000)
    async with open_session(url.replace("http", "ws") + "v1/realtime?intent=transcription") as session:
        detection: dict[str, Any] = {"turn_detection": None, "transcription": {"model": "nano"}}
        await session.send("session.update", session={"type": "transcription", "audio": {"input": detection}})
        await session.append(audio)
        await session.send("input_audio_buffer.commit")
        while True:
            event = await session.receive()
            if event.type == "conversation.item.input_audio_transcription.completed":
                return str(event["transcript"])


def without_gaps(pcm: bytes) -> bytes:
    """PCM16 with silences of 100 ms at most, and half a second of it around."""
    frames = np.frombuffer(pcm, "<i2")[: len(pcm) // 2 // 480 * 480].reshape(-1, 480)  # 10 ms each
    loud = np.abs(frames.astype(int)).max(axis=1) > 100
    near = np.convolve(loud, np.ones(11), "same") > 0
    return bytes(48_000) + frames[near].tobytes() + bytes(48_000)


def similar(one: str, other: str) -> float:
    """The share of common words."""
    first, second = (set(text.lower().replace(".", "").split()) for text in (one, other))
    return len(first & second) / max(1, len(second))
