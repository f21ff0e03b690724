"""Loads a checkpoint folder: model, vocoder and voices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from realtime.checkpoint.layout import missing_files
from realtime.checkpoint.profile import Profile, load_profile
from realtime.checkpoint.vocoder_options import vocoder_options
from realtime.config import Settings
from realtime.errors import CheckpointError, ConfigError
from realtime.model.speech_model import SpeechModel
from realtime.model.turn_completion import HEAD_FILE, TurnCompletionHead, TurnCompletionModel
from streaming_vocoder.errors import VocoderError
from streaming_vocoder.streaming import Vocoder
from streaming_vocoder.voice import Voice


def choose_device(name: str) -> torch.device:
    """``auto``: CUDA if available. Raises `ConfigError` for a device that this machine does not have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r}: {str(error).splitlines()[0]}; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: this PyTorch ({torch.__version__}) sees no CUDA device; use --device cpu")
    try:
        if device.type == "meta":
            raise RuntimeError("it computes nothing")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r}: {str(error).splitlines()[0]}; use auto, cpu or cuda") from error
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto``: the checkpoint's bfloat16 on CUDA, float32 on the CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """One checkpoint in memory. ``voices``: by name, the default one first. ``turn_completion``: where the folder has
    a head for it (`HEAD_FILE`); the official checkpoints have none."""

    profile: Profile
    speech_model: SpeechModel
    vocoder: Vocoder
    voices: dict[str, Voice]
    turn_completion: TurnCompletionModel | None = None


def load_model(settings: Settings) -> LoadedModel:
    """Load a checkpoint folder. Raises `CheckpointError` or `ConfigError` with all faults."""
    folder = settings.model
    if not folder.is_dir():
        raise CheckpointError(
            f"model folder {folder} does not exist; set --model to a local folder in the Step-Audio 2 layout "
            "(nothing is downloaded), or omit it for the embedded nano model"
        )
    missing = missing_files(folder)
    if missing:
        raise CheckpointError(f"model folder {folder} lacks {', '.join(missing)}; copy the whole checkpoint there")
    device = choose_device(settings.device)
    profile = _profile(settings)
    options = vocoder_options(settings, profile.flow_steps)
    faults: list[str] = []
    speech_model = vocoder = turn_completion = None
    try:
        speech_model = SpeechModel.load(folder, device, choose_dtype(settings.dtype, device))
        turn_completion = load_turn_completion(folder, speech_model)
    except CheckpointError as error:
        faults.append(str(error))
    try:
        vocoder = Vocoder.load(folder / "token2wav", device, options)
    except VocoderError as error:
        faults.append(str(error))
    if speech_model is None or vocoder is None:
        raise CheckpointError("\n".join(faults))
    voices = load_voices(folder, settings.voice or profile.voice)
    return LoadedModel(profile, speech_model, vocoder, voices, turn_completion)


def load_turn_completion(folder: Path, model: SpeechModel) -> TurnCompletionModel | None:
    """The end-of-turn model of a checkpoint folder, on the encoder of ``model``; None where the folder has no head.

    Raises `CheckpointError` for a head that does not fit the encoder.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        return None
    audio = model.config.audio
    head = TurnCompletionHead.load(path, audio.n_audio_state, model.decoder.device)
    return TurnCompletionModel(model.encoder, head, audio.n_mels)


def _profile(settings: Settings) -> Profile:
    """The checkpoint's profile with the settings applied."""
    profile = load_profile(settings.model, settings.profile)
    if settings.instructions:
        profile = replace(profile, instructions=settings.instructions)
    if settings.flow_steps:
        profile = replace(profile, flow_steps=settings.flow_steps)
    if settings.call_confidence >= 0:
        profile = replace(profile, sampling=replace(profile.sampling, call_confidence=settings.call_confidence))
    if settings.max_context_tokens:
        profile = replace(profile, max_context_tokens=settings.max_context_tokens)
    return profile


def load_voices(folder: Path, wanted: str) -> dict[str, Voice]:
    """The folder's voices; the wanted one (a name, a .safetensors or a .wav) comes first.

    Raises `ConfigError` for a voice that cannot be used.
    """
    try:
        return _read_voices(folder, wanted)
    except VocoderError as error:
        raise ConfigError(str(error)) from error


def _read_voices(folder: Path, wanted: str) -> dict[str, Voice]:
    paths = sorted((folder / "voices").glob("*.safetensors"))
    voices = {path.stem: Voice.load(path) for path in paths}
    if not wanted:
        return voices
    if wanted not in voices:
        path = Path(wanted)
        if not path.is_file():
            known = ", ".join(voices) or "none"
            raise ConfigError(
                f"voice {wanted!r} is neither a voice of this checkpoint ({known}) nor a file; set --voice to one of "
                "these, a .safetensors voice, or a .wav of 3 to 15 s to enroll"
            )
        wanted = path.stem
        enrolled = path.suffix == ".safetensors"
        voices[wanted] = Voice.load(path) if enrolled else Voice.enroll(path, folder / "token2wav")
    return {wanted: voices[wanted]} | voices
