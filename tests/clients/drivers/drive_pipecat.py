"""`OpenAIRealtimeLLMService` of pipecat-ai in a pipeline with its context aggregators and a loudspeaker in memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from driver import KEY, URL, drive, seen, speech, until
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SemanticTurnDetection,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

RATE = 24_000
answers: list[str] = []
words: list[str] = []


class Microphone(FrameProcessor):
    """Stands before the service, which tells upstream what it heard."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            seen.heard = frame.text
        elif isinstance(frame, ErrorFrame):
            seen.errors.append(frame.error)
        await self.push_frame(frame, direction)


class Loudspeaker(FrameProcessor):
    """Stands behind the service: plays what comes."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            seen.audio(frame.audio)
        elif isinstance(frame, TTSTextFrame):
            words.append(frame.text)
        elif isinstance(frame, InterruptionFrame):
            seen.interrupted = True
        elif isinstance(frame, LLMFullResponseEndFrame) and words:
            seen.transcript = "".join(words)
            answers.append(seen.transcript)
            words.clear()
        await self.push_frame(frame, direction)


async def get_weather(params: FunctionCallParams) -> None:
    result = f"21 degrees in {params.arguments['city']}"
    seen.calls.append([params.function_name, result])
    await params.result_callback(result)


WEATHER = FunctionSchema(
    name="get_weather",
    description="The weather in a city.",
    properties={"city": {"type": "string"}},
    required=["city"],
)


@asynccontextmanager
async def connected(context: LLMContext) -> AsyncIterator[PipelineWorker]:
    heard = AudioInput(transcription=InputAudioTranscription(), turn_detection=SemanticTurnDetection())
    settings = OpenAIRealtimeLLMService.Settings(
        system_instruction="Be brief.", session_properties=SessionProperties(audio=AudioConfiguration(input=heard))
    )
    service = OpenAIRealtimeLLMService(api_key=KEY, base_url=URL, settings=settings)
    service.register_function("get_weather", get_weather)
    user, assistant = LLMContextAggregatorPair(context)
    pipeline = Pipeline([user, Microphone(), service, Loudspeaker(), assistant])
    worker = PipelineWorker(pipeline, params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        yield worker
    finally:
        await worker.cancel()
        await running


async def speak(worker: PipelineWorker) -> None:
    async for frame in speech():
        await worker.queue_frame(InputAudioRawFrame(frame, RATE, 1))


async def spoken() -> None:
    async with connected(LLMContext([{"role": "user", "content": "hello"}])) as worker:
        await worker.queue_frame(LLMRunFrame())  # pipecat's agents greet: this gives the service its context
        await until(lambda: answers, "a greeting")
        await speak(worker)
        await until(lambda: len(answers) == 2 and seen.heard, "an answer and the question's transcript")


async def barge_in() -> None:
    async with connected(LLMContext([{"role": "user", "content": "tell me a story"}])) as worker:
        await worker.queue_frame(LLMRunFrame())
        await until(lambda: seen.audio_seconds > 1, "a second of the story")
        await speak(worker)
        await until(lambda: seen.interrupted and len(answers) == 2, "an interruption and an answer")


async def tool() -> None:
    question = {"role": "user", "content": "What is the weather in Paris?"}
    async with connected(LLMContext([question], tools=ToolsSchema(standard_tools=[WEATHER]))) as worker:
        await worker.queue_frame(LLMRunFrame())
        await until(lambda: "21" in seen.transcript, "the answer after the call")


logger.remove()
logger.add(sys.stderr, level="WARNING")
logger.add(lambda message: seen.errors.append(str(message)), level="ERROR")
drive({"spoken": spoken, "barge_in": barge_in, "tool": tool})
