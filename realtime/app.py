"""Builds the parts from `Settings` and joins them: the only module that imports all of them.

`load_model` gives the loaded checkpoint, `start_services` its two threads, `Application` a server's whole life:
loading in the background while `/healthz` answers 503, warm-up, sessions, draining.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from realtime.config import Settings
from realtime.engine.engine import EngineCore, ThreadedEngine
from realtime.engine.runner import ModelRunner
from realtime.engine.vocoding import ThreadedVocoder
from realtime.errors import CheckpointError, ConfigError
from realtime.model.speech_model import SpeechModel
from realtime.profile import Profile, load_profile
from streaming_vocoder.streaming import Vocoder
from streaming_vocoder.voice import Voice, VoiceError

logger = logging.getLogger(__name__)

MODEL_THREADS = 2
"""Threads that compute at the same time: the engine's and the vocoder's."""


def find_frontend() -> Path | None:
    """The console's folder in a checkout; None where it is not installed."""
    folder = Path(__file__).parent.parent / "frontend"
    return folder if (folder / "index.html").exists() else None


def choose_device(name: str) -> torch.device:
    """``auto``: CUDA when there is one. Raises `ConfigError` for a device that this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r}: {str(error).splitlines()[0]}; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device {name!r}: this PyTorch ({torch.__version__}) sees no CUDA device; use --device cpu"
        )
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto``: the checkpoint's bfloat16 on CUDA, float32 on the CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """One checkpoint in memory. ``voices``: by name, the default one first."""

    profile: Profile
    speech_model: SpeechModel
    vocoder: Vocoder
    voices: dict[str, Voice]


def load_model(settings: Settings) -> LoadedModel:
    """Everything of a checkpoint folder. Raises `CheckpointError` or `ConfigError` with all that is wrong."""
    folder = settings.model
    if not folder.is_dir():
        raise CheckpointError(
            f"model folder {folder} does not exist; give --model a local folder in the Step-Audio 2 layout "
            "(nothing is ever downloaded), or leave it out for the embedded nano model"
        )
    device = choose_device(settings.device)
    profile = _profile(settings)
    speech_model = SpeechModel.load(folder, device, choose_dtype(settings.dtype, device))
    vocoder = Vocoder.load(folder / "token2wav", device, steps=profile.flow_steps)
    return LoadedModel(profile, speech_model, vocoder, load_voices(folder, settings.voice or profile.voice))


def _profile(settings: Settings) -> Profile:
    """The checkpoint's profile with what the settings say otherwise."""
    profile = load_profile(settings.model)
    if settings.instructions:
        profile = replace(profile, instructions=settings.instructions)
    if settings.flow_steps:
        profile = replace(profile, flow_steps=settings.flow_steps)
    if settings.max_context_tokens:
        profile = replace(profile, max_context_tokens=settings.max_context_tokens)
    return profile


def load_voices(folder: Path, wanted: str) -> dict[str, Voice]:
    """The folder's voices and the wanted one (a name, a .safetensors or a .wav), which comes first."""
    paths = sorted((folder / "voices").glob("*.safetensors"))
    voices = {path.stem: Voice.load(path) for path in paths}
    if not wanted:
        return voices
    if wanted not in voices:
        path = Path(wanted)
        if not path.is_file():
            known = ", ".join(voices) or "none"
            raise ConfigError(
                f"voice {wanted!r} is neither a voice of this checkpoint ({known}) nor a file; give --voice one of "
                "these, a .safetensors voice, or a .wav of 3 to 15 s to enroll"
            )
        try:
            voice = (
                Voice.load(path)
                if path.suffix == ".safetensors"
                else Voice.enroll(path, folder / "token2wav")
            )
        except VoiceError as error:
            raise ConfigError(f"voice {wanted}: {error}") from error
        wanted = path.stem
        voices[wanted] = voice
    return {wanted: voices[wanted]} | voices


@dataclass(frozen=True, slots=True, eq=False)
class Services:
    """The two threads that compute. `stop` when done."""

    engine: ThreadedEngine
    vocoder: ThreadedVocoder

    def stop(self) -> None:
        self.engine.stop()
        self.vocoder.stop()


def start_services(loaded: LoadedModel, settings: Settings) -> Services:
    """Warm both up and start their threads. Blocks for the warm-up."""
    if not loaded.voices:
        raise ConfigError(
            f"model folder {settings.model} has no voices/*.safetensors; give --voice a .wav of 3 to 15 s to enroll"
        )
    torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 2) // MODEL_THREADS))
    runner = ModelRunner(loaded.speech_model, max_tokens=loaded.profile.max_context_tokens)
    runner.warm_up()
    vocoder = ThreadedVocoder(loaded.vocoder, loaded.voices)
    vocoder.warm_up()
    services = Services(ThreadedEngine(EngineCore(runner, slots=settings.max_sessions + 1)), vocoder)
    services.engine.start()
    services.vocoder.start()
    return services
