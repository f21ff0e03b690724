"""`RealtimeModel` of livekit-plugins-openai, with its own defaults, in an `AgentSession` without a room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from driver import KEY, URL, drive, seen, speech, until
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.utils import http_context
from livekit.agents.voice import io
from livekit.plugins import openai

RATE = 24_000
BASE_URL = URL.replace("ws", "http", 1).removesuffix("/realtime")


class AudioInput(io.AudioInput):
    """Gives the session what is put into it."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()

    async def speak(self) -> None:
        async for data in speech():
            self._frames.put_nowait(rtc.AudioFrame(data, RATE, 1, len(data) // 2))


class Loudspeaker(io.AudioOutput):
    """Plays into the air, slowly: on a loaded machine the interruption shall still find it playing."""

    slowness = 4

    def __init__(self) -> None:
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE)
        self._position = 0.0
        self._playing: asyncio.Task[None] | None = None
        self._started = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        seen.audio(bytes(frame.data))
        if self._started == 0.0:
            self._started = asyncio.get_running_loop().time()
        self._position += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._position:
            self._playing = asyncio.create_task(self._finish(self._left()))

    def clear_buffer(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
        if self._position:
            seen.interrupted = True
            self._end(self._position - max(0.0, self._left()) / self.slowness, interrupted=True)

    def _left(self) -> float:
        return self._started + self.slowness * self._position - asyncio.get_running_loop().time()

    async def _finish(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
        self._end(self._position, interrupted=False)

    def _end(self, position: float, *, interrupted: bool) -> None:
        self._position = self._started = 0.0
        self._playing = None
        self.on_playback_finished(playback_position=position, interrupted=interrupted)


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")


class Forecaster(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    @function_tool
    async def get_weather(self, city: str) -> str:
        """The weather in a city."""
        return f"21 degrees in {city}"


@asynccontextmanager
async def connected(agent: Agent) -> AsyncIterator[tuple[AgentSession, AudioInput]]:
    async with http_context.open():
        session = AgentSession(llm=openai.realtime.RealtimeModel(base_url=BASE_URL, api_key=KEY))
        microphone = AudioInput()
        session.input.audio = microphone
        session.output.audio = Loudspeaker()
        watch(session)
        await session.start(agent)
        try:
            yield session, microphone
        finally:
            await session.aclose()


def watch(session: AgentSession) -> None:
    @session.on("conversation_item_added")
    def _(event):
        if event.item.type == "message" and event.item.role == "assistant":
            answers.append(event.item)
            seen.transcript = event.item.text_content or seen.transcript

    @session.on("user_input_transcribed")
    def _(event):
        if event.is_final:
            seen.heard = event.transcript

    @session.on("function_tools_executed")
    def _(event):
        for call, output in event.zipped():
            seen.calls.append([call.name, output.output])

    @session.on("error")
    def _(event):
        seen.errors.append(repr(event.error))


answers: list = []


async def spoken() -> None:
    async with connected(Assistant()) as (_, microphone):
        await microphone.speak()
        await until(lambda: answers and seen.heard, "an answer and the question's transcript")


async def barge_in() -> None:
    async with connected(Assistant()) as (session, microphone):
        session.generate_reply(user_input="tell me a story")
        await until(lambda: seen.audio_seconds > 1, "a second of the story")
        await microphone.speak()
        await until(lambda: seen.interrupted and len(answers) == 2, "an interruption and an answer")


async def tool() -> None:
    async with connected(Forecaster()) as (session, _):
        session.generate_reply(user_input="What is the weather in Paris?")
        await until(lambda: "21" in seen.transcript, "the answer after the call")


drive({"spoken": spoken, "barge_in": barge_in, "tool": tool})
