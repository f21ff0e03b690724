"""`realtime infer FILE.wav`: answers one recording without a server. The shortest path through the parts.

``--task`` requests something other than an answer, e.g. a transcript. The instruct models take the task as system
prompt, the base model as the beginning of a text to continue (`realtime.commands.infer_tasks`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from realtime.audio.streams import Resampler
from realtime.checkpoint import instructions as spoken
from realtime.checkpoint.load import load_model
from realtime.checkpoint.profile import Profile
from realtime.commands.argument_types import new_file
from realtime.commands.infer_tasks import CHAT, TASKS, task_messages
from realtime.config import Settings
from realtime.config import add_arguments as add_settings
from realtime.engine.thinking import ThinkingEngine
from realtime.errors import AudioFormatError, ConfigError, EngineError
from realtime.logs import configure_logging
from realtime.model_threads import ModelThreads, start_threads
from realtime.ports.engine import GenerationDone
from realtime.ports.messages import MODEL_SAMPLE_RATE, Audio, Message, Text
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.wav", help="recording of the user")
    parser.add_argument("--text", help="typed message instead of a recording")
    parser.add_argument("--out", type=new_file, metavar="ANSWER.wav", help="file for the spoken answer")
    parser.add_argument("--text-only", action="store_true", help="answer in text, without speech")
    tasks = "; ".join(f"{name}: {task.help}" for name, task in TASKS.items())
    parser.add_argument("--task", choices=(CHAT, *TASKS), default=CHAT, help=f"{CHAT}: an answer; {tasks}")
    parser.add_argument("--no-thinking", action="store_true", help="answer without thinking first")


def run(arguments: argparse.Namespace) -> int:
    if (arguments.file is None) == (arguments.text is None):
        print("realtime infer: give either FILE.wav or --text", file=sys.stderr)
        return 2
    settings = Settings.read(arguments)
    configure_logging(settings.log_level, settings.log_format)
    given = Text(arguments.text) if arguments.text else _recording(arguments.file)
    loaded = load_model(settings)
    request = _request(arguments, loaded.profile, given)
    threads = start_threads(loaded, settings)
    try:
        samples = asyncio.run(_answer(threads, request))
    finally:
        threads.stop()
    if arguments.out is not None and samples.size:
        soundfile.write(arguments.out, samples, OUTPUT_SAMPLE_RATE, subtype="PCM_16")
        print(f"wrote {arguments.out}: {samples.size / OUTPUT_SAMPLE_RATE:.2f} s", file=sys.stderr)
    return 0


def _recording(path: Path) -> Audio:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioFormatError(f"{path}: {error}; use a WAV, FLAC or OGG file") from error
    resampler = Resampler(rate, MODEL_SAMPLE_RATE)
    speech = np.concatenate((resampler.push(np.ascontiguousarray(samples[:, 0])), resampler.flush()))
    return Audio(str(path), speech)


def _request(arguments: argparse.Namespace, profile: Profile, given: Text | Audio) -> GenerationRequest:
    """The request to the engine. Raises `ConfigError` for a task that the model was not trained for."""
    if arguments.task != CHAT:
        task = TASKS[arguments.task]
        messages = task_messages(arguments.task, given, profile.prompt_format)
        speech = task.speech and not arguments.text_only
        return GenerationRequest(messages, speech, task.sampling(profile.sampling))
    if profile.prompt_format != "chat":
        raise ConfigError(f"{profile.name} was not trained for conversation; set --task {', '.join(TASKS)}")
    system = Message("system", spoken.fill(profile.instructions, datetime.now()))
    human = Message("human", given.text if isinstance(given, Text) else (given,))
    thinking = 0 if arguments.no_thinking else profile.thinking_tokens
    return GenerationRequest((system, human), not arguments.text_only, profile.sampling, thinking=thinking)


async def _answer(threads: ModelThreads, request: GenerationRequest) -> NDArray[np.float32]:
    """Print the text as it is generated, thoughts on stderr. Returns the speech [n] at 24 kHz, empty for a text
    answer."""
    stream = threads.vocoder.open(threads.vocoder.voices[0])
    started = time.perf_counter()
    done: GenerationDone | None = None
    conversation = EngineConversation(ThinkingEngine(threads.engine), "infer")
    async for event in conversation.generate(request):
        if isinstance(event, GenerationDone):
            done = event
            break
        print(event.thought, end="", flush=True, file=sys.stderr)
        print(event.text, end="", flush=True)
        if request.speech:
            stream.push(event.audio_tokens)
    print()
    stream.finish()
    chunks = [chunk.samples async for chunk in stream] if request.speech else []
    stream.close()
    if done is None or done.reason in ("failed", "context_full"):
        error = done.error if done is not None else None
        raise EngineError(error or "the recording does not fit into the model's context; use a shorter one")
    _report(done, time.perf_counter() - started)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


def _report(done: GenerationDone, seconds: float) -> None:
    timings = done.timings
    rate = timings.decode_tokens / timings.decode_seconds if timings.decode_seconds else 0.0
    print(
        f"{done.usage.input_text + done.usage.input_audio} input tokens, {timings.decode_tokens} output tokens; first "
        f"token after {timings.first_token * 1000:.0f} ms, {rate:.0f} tokens/s, {seconds:.2f} s in total",
        file=sys.stderr,
    )
