"""`RealtimeRunner` of openai-agents, with its own defaults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from driver import KEY, URL, drive, seen, speech, until

turns = 0


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"21 degrees in {city}"


@asynccontextmanager
async def connected(with_tool: bool = False) -> AsyncIterator[RealtimeSession]:
    agent = RealtimeAgent(name="assistant", instructions="Be brief.", tools=[get_weather] if with_tool else [])
    runner = RealtimeRunner(agent)
    async with await runner.run(model_config={"url": URL, "api_key": KEY}) as session:
        watching = asyncio.create_task(watch(session))
        try:
            yield session
        finally:
            watching.cancel()


async def watch(session: RealtimeSession) -> None:
    global turns
    async for event in session:
        if event.type == "audio":
            seen.audio(event.audio.data)
        elif event.type == "audio_interrupted":
            seen.interrupted = True
        elif event.type == "agent_end":
            turns += 1
        elif event.type == "tool_end":
            seen.calls.append([event.tool.name, str(event.output)])
        elif event.type == "error":
            seen.errors.append(str(event.error))
        elif event.type == "raw_model_event" and event.data.type == "exception":
            seen.errors.append(repr(event.data.exception))
        elif event.type == "history_updated":
            remember(event.history)


def remember(history: list) -> None:
    for item in history:
        if item.type != "message":
            continue
        for part in item.content:
            if item.role == "assistant" and part.type == "audio" and part.transcript:
                seen.transcript = part.transcript
            elif part.type == "input_audio" and part.transcript:
                seen.heard = part.transcript


async def speak(session: RealtimeSession) -> None:
    async for frame in speech():
        await session.send_audio(frame)


async def spoken() -> None:
    async with connected() as session:
        await speak(session)
        await until(lambda: turns == 1 and seen.heard and seen.transcript, "an answer and the question's transcript")


async def barge_in() -> None:
    async with connected() as session:
        await session.send_message("tell me a story")
        await until(lambda: seen.audio_seconds > 1, "a second of the story")
        await speak(session)
        await until(lambda: seen.interrupted and turns == 2, "an interruption and an answer")


async def tool() -> None:
    async with connected(with_tool=True) as session:
        await session.send_message("What is the weather in Paris?")
        await until(lambda: "21" in seen.transcript, "the answer after the call")


drive({"spoken": spoken, "barge_in": barge_in, "tool": tool})
