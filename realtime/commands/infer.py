"""`realtime infer FILE.wav`: answer one recording offline, without a server. The shortest path through the parts."""

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

from realtime import spoken
from realtime.app import ModelThreads, load_model, start_threads
from realtime.audio import Resampler
from realtime.cli import configure_logging
from realtime.config import Settings
from realtime.config import add_arguments as add_settings
from realtime.errors import AudioFormatError, EngineError
from realtime.messages import MODEL_SAMPLE_RATE, Audio, Message
from realtime.profile import Profile
from realtime.session.ports import OUTPUT_SAMPLE_RATE, GenerationDone, GenerationRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.wav", help="what the user says")
    parser.add_argument("--text", help="what the user writes, instead of a file")
    parser.add_argument("--out", type=Path, metavar="ANSWER.wav", help="where the spoken answer goes")
    parser.add_argument("--text-only", action="store_true", help="a written answer, no speech")


def run(arguments: argparse.Namespace) -> int:
    if (arguments.file is None) == (arguments.text is None):
        print("realtime infer: give either FILE.wav or --text", file=sys.stderr)
        return 2
    settings = Settings.read(arguments)
    configure_logging(settings.log_level)
    message = Message("human", arguments.text) if arguments.text else _spoken_message(arguments.file)
    loaded = load_model(settings)
    threads = start_threads(loaded, settings)
    try:
        samples = asyncio.run(_answer(threads, loaded.profile, message, speech=not arguments.text_only))
    finally:
        threads.stop()
    if arguments.out is not None and samples.size:
        soundfile.write(arguments.out, samples, OUTPUT_SAMPLE_RATE, subtype="PCM_16")
        print(f"wrote {arguments.out}: {samples.size / OUTPUT_SAMPLE_RATE:.2f} s", file=sys.stderr)
    return 0


def _spoken_message(path: Path) -> Message:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioFormatError(f"{path}: {error}; give a WAV, FLAC or OGG file") from error
    resampler = Resampler(rate, MODEL_SAMPLE_RATE)
    speech = np.concatenate((resampler.push(np.ascontiguousarray(samples[:, 0])), resampler.flush()))
    return Message("human", (Audio(str(path), speech),))


async def _answer(threads: ModelThreads, profile: Profile, message: Message, *, speech: bool) -> NDArray[np.float32]:
    """Print the text as it comes; gives the speech [n] at 24 kHz, empty for a written answer."""
    system = Message("system", spoken.fill(profile.instructions, datetime.now()))
    request = GenerationRequest((system, message), speech, profile.sampling, cache_key="infer")
    stream = threads.vocoder.open(threads.vocoder.voices[0])
    started = time.perf_counter()
    done: GenerationDone | None = None
    async for event in threads.engine.generate(request):
        if isinstance(event, GenerationDone):
            done = event
            break
        print(event.text, end="", flush=True)
        if speech:
            stream.push(event.audio_tokens)
    print()
    stream.finish()
    chunks = [chunk.samples async for chunk in stream] if speech else []
    stream.close()
    if done is None or done.reason in ("failed", "context_full"):
        error = done.error if done is not None else None
        raise EngineError(error or "the recording does not fit into the model's context; give a shorter one")
    _report(done, time.perf_counter() - started)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


def _report(done: GenerationDone, seconds: float) -> None:
    timings = done.timings
    rate = timings.decode_tokens / timings.decode_seconds if timings.decode_seconds else 0.0
    print(
        f"{done.usage.input_text + done.usage.input_audio} ids in, {timings.decode_tokens} out; first id after "
        f"{timings.first_token * 1000:.0f} ms, {rate:.0f} ids/s, {seconds:.2f} s in all",
        file=sys.stderr,
    )
