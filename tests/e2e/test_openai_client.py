"""The unmodified `openai` package holds a conversation with the embedded model over a real socket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.serving import RunningServer

SPEECH = Path(__file__).parents[1] / "data" / "speech"
FRAME = 2 * 24_000 // 50  # 20 ms of PCM16 at 24 kHz
TURN_SECONDS = 60


@dataclass
class Turn:
    """What came back for one turn."""

    transcript: str = ""
    audio: bytearray = field(default_factory=bytearray)
    events: list[str] = field(default_factory=list)
    status: str | None = None
    usage: Any = None


@asynccontextmanager
async def connection(server: RunningServer) -> AsyncIterator[AsyncRealtimeConnection]:
    base = f"127.0.0.1:{server.port}/v1"
    client = AsyncOpenAI(api_key="unused", base_url=f"http://{base}", websocket_base_url=f"ws://{base}")
    async with client, client.realtime.connect(model="gpt-realtime") as realtime:
        yield realtime


async def take_turn(realtime: AsyncRealtimeConnection) -> Turn:
    """Read to the end of the next response."""
    turn = Turn()
    async with asyncio.timeout(TURN_SECONDS):
        async for event in realtime:
            turn.events.append(event.type)
            if event.type == "response.output_audio_transcript.delta":
                turn.transcript += event.delta
            elif event.type == "response.output_text.delta":
                turn.transcript += event.delta
            elif event.type == "response.output_audio.delta":
                turn.audio += base64.b64decode(event.delta)
            elif event.type == "error":
                raise AssertionError(event.error.message)
            elif event.type == "response.done":
                turn.status, turn.usage = event.response.status, event.response.usage
                break
    return turn


async def speak(realtime: AsyncRealtimeConnection, name: str) -> None:
    """A recording and the silence after it, faster than real time: the server counts samples, not seconds."""
    samples, rate = soundfile.read(SPEECH / f"{name}.wav", dtype="int16")
    positions = np.arange(0, len(samples), rate / 24_000)
    pcm = np.interp(positions, np.arange(len(samples)), samples).astype("<i2").tobytes() + bytes(2 * 24_000)
    for start in range(0, len(pcm), FRAME):
        await realtime.input_audio_buffer.append(audio=base64.b64encode(pcm[start : start + FRAME]).decode())


def seconds(audio: bytes) -> float:
    return len(audio) / 2 / 24_000


def loudness(audio: bytes) -> float:
    return float(np.sqrt(np.mean(np.square(np.frombuffer(bytes(audio), "<i2").astype(np.float64)))))


async def write(realtime: AsyncRealtimeConnection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await realtime.conversation.item.create(item={"type": "message", "role": "user", "content": content})
    await realtime.response.create()


async def test_a_spoken_conversation_of_several_turns(server: RunningServer) -> None:
    async with connection(server) as realtime:
        for name in ("hello_slt", "what_time_is_it_slt", "two_plus_three_slt"):
            await speak(realtime, name)
            turn = await take_turn(realtime)
            assert turn.status == "completed"
            assert turn.transcript.strip()
            assert 0.3 < seconds(turn.audio) < 30 and loudness(turn.audio) > 200
            started, stopped = (f"input_audio_buffer.speech_{end}" for end in ("started", "stopped"))
            assert turn.events.count(started) == turn.events.count(stopped) == 1
            assert turn.usage.input_token_details.audio_tokens > 0
            assert turn.usage.output_token_details.audio_tokens > 0
        assert turn.usage.input_token_details.cached_tokens > 0


async def test_a_written_question_is_answered_with_speech(server: RunningServer) -> None:
    async with connection(server) as realtime:
        await write(realtime, "hello")
        turn = await take_turn(realtime)
        assert "help you" in turn.transcript
        assert 0.3 < seconds(turn.audio) < 10


async def test_a_written_answer_has_no_sound(server: RunningServer) -> None:
    async with connection(server) as realtime:
        await realtime.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await write(realtime, "hello")
        turn = await take_turn(realtime)
        assert turn.transcript.strip() and not turn.audio


async def test_a_turn_is_committed_by_hand(server: RunningServer) -> None:
    async with connection(server) as realtime:
        detection: Any = {"input": {"turn_detection": None}}
        await realtime.session.update(session={"type": "realtime", "audio": detection})
        await speak(realtime, "what_time_is_it_slt")
        await realtime.input_audio_buffer.commit()
        await realtime.response.create()
        turn = await take_turn(realtime)
        assert turn.status == "completed" and turn.audio
        assert not any("speech_started" in event for event in turn.events)


async def test_speaking_into_a_long_answer_stops_it(server: RunningServer) -> None:
    async with connection(server) as realtime:
        await write(realtime, "count from one to one hundred")
        begun = Turn()
        async for event in realtime:
            if event.type == "response.output_audio.delta":
                begun.audio += base64.b64decode(event.delta)
                if seconds(begun.audio) > 1.0:
                    break
        await speak(realtime, "what_time_is_it_slt")
        cut = await take_turn(realtime)
        assert cut.status == "cancelled"
        spoken_after_the_cut = cut.events[cut.events.index("input_audio_buffer.speech_started") :]
        assert "response.output_audio.delta" not in spoken_after_the_cut
        answer = await take_turn(realtime)
        assert answer.status == "completed" and answer.audio


async def test_a_requested_first_greeting_is_a_greeting(server: RunningServer) -> None:
    for asked in ({}, {"instructions": "Greet the user."}):
        async with connection(server) as realtime:
            await realtime.response.create(response=asked)
            assert "hello" in (await take_turn(realtime)).transcript.lower()
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "what time is it"}]}
            await realtime.conversation.item.create(item=item)
            await realtime.response.create()
            assert "it is" in (await take_turn(realtime)).transcript.lower()
