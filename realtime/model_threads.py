"""The engine's and the vocoder's thread for a loaded checkpoint."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from realtime.admission.capacity import Capacity
from realtime.checkpoint.load import LoadedModel
from realtime.config import Settings
from realtime.engine.engine import EngineCore
from realtime.engine.runner import ModelRunner
from realtime.engine.threaded import ThreadedEngine
from realtime.engine.token_counter import PromptTokenCounter
from realtime.engine.vocoder_service import ThreadedVocoder
from realtime.errors import ConfigError
from realtime.sandbox.schemas import SchemaSandbox
from streaming_vocoder.streaming import Vocoder

logger = logging.getLogger(__name__)

MODEL_THREADS = 2
"""Threads that compute at the same time: the engine's and the vocoder's."""

STOP_SECONDS = 2.0
"""Limit of the wait for each of them at the end. The operating system takes care of one that is stuck."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelThreads:
    """The engine's and the vocoder's thread. Call `stop` when done."""

    engine: ThreadedEngine
    vocoder: ThreadedVocoder
    token_counter: PromptTokenCounter
    schemas: SchemaSandbox
    max_sessions: int
    """As set, or as measured."""

    def stop(self) -> None:
        self.schemas.close()
        self.engine.stop(STOP_SECONDS)
        self.vocoder.stop(STOP_SECONDS)


def start_threads(loaded: LoadedModel, settings: Settings, *, measure: bool = False) -> ModelThreads:
    """Warm up engine and vocoder and start their threads. Blocks during the warm-up. ``measure``: find out how
    many sessions the machine serves, if the settings do not say it; else it is 1. Raises `ConfigError` without voices.
    """
    if not loaded.voices:
        raise ConfigError(
            f"model folder {settings.model} has no voices/*.safetensors; set --voice to a .wav of 3 to 15 s to enroll"
        )
    torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 2) // MODEL_THREADS))
    schemas = SchemaSandbox(settings.model)
    make_runner = partial(_warm_runner, loaded, schemas)
    runner = make_runner()
    loaded.vocoder.prepare(next(iter(loaded.voices.values())))
    chunks = loaded.vocoder.options.ladder
    vocoder = ThreadedVocoder(loaded.vocoder, loaded.voices, chunks, partial(_other_vocoder, loaded))
    vocoder.warm_up()
    max_sessions = settings.max_sessions or (_measure_sessions(runner, vocoder, settings) if measure else 1)
    # Two KV caches per session: transcripts do not share the conversation's. Fewer for responses out of band.
    asides = 2 + max_sessions // 2
    slots = 2 * max_sessions + 1 + asides
    make_core = partial(EngineCore, slots=slots, asides=asides, pressed=lambda: vocoder.urgent)
    engine = ThreadedEngine(make_core(runner), lambda: make_core(make_runner()))
    vocoder.yield_to(lambda: engine.urgent)
    model = loaded.speech_model
    token_counter = PromptTokenCounter(model.tokenizer, model.tokens, runner.max_tokens)
    threads = ModelThreads(engine, vocoder, token_counter, schemas, max_sessions)
    schemas.start()
    threads.engine.start()
    threads.vocoder.start()
    return threads


def _warm_runner(loaded: LoadedModel, schemas: SchemaSandbox) -> ModelRunner:
    """A runner of its own caches, features and grammars."""
    runner = ModelRunner(loaded.speech_model, max_tokens=loaded.profile.max_context_tokens, probe=schemas.probe)
    runner.warm_up()
    return runner


def _other_vocoder(loaded: LoadedModel) -> Vocoder:
    """One to go on with when the first is stuck."""
    twin = loaded.vocoder.twin()
    twin.prepare(next(iter(loaded.voices.values())))
    return twin


def _measure_sessions(runner: ModelRunner, vocoder: ThreadedVocoder, settings: Settings) -> int:
    """How many sessions this machine serves in time; a second on two cores. Says so in the log."""
    began = time.monotonic()
    threads = MODEL_THREADS * torch.get_num_threads()
    parallel = settings.device in ("auto", "cpu") and threads <= _processors() and not torch.cuda.is_available()
    with ThreadPoolExecutor(1, "measurement") as other:

        def time_both(replies: int) -> tuple[float, float]:
            if not parallel:
                return runner.time_step(replies), vocoder.time_speech(replies)
            speech = other.submit(vocoder.time_speech, replies)  # at the same time: they share memory and caches
            steps = [runner.time_step(replies)]
            while not speech.done():
                steps.append(runner.time_step(replies))
            return sorted(steps)[len(steps) // 2], speech.result()

        capacity = Capacity.measured(time_both, parallel=parallel)
    seconds = time.monotonic() - began
    logger.info("--max-sessions is not set: measured in %.1f s, this machine holds %s", seconds, capacity)
    return capacity.sessions


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
