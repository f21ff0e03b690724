"""`realtime doctor`: checks the packages, the device and whether the model loads."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from realtime.config import Settings, add_arguments
from realtime.errors import RealtimeError

__all__ = ["add_arguments", "run"]

# module, distribution, required for serving, how to install it
_PACKAGES = (
    ("torch", "torch", True, "pip install torch"),
    (
        "onnxruntime",
        "onnxruntime",
        True,
        "pip install 'realtime-voice[cpu]' (with a CUDA device: [gpu], never both)",
    ),
    ("silero_vad", "silero-vad", True, "pip install silero-vad"),
    ("av", "av", True, "pip install av"),
    ("uvicorn", "uvicorn", True, "pip install uvicorn"),
    ("websockets", "websockets", True, "pip install websockets"),
    ("soundfile", "soundfile", True, "pip install soundfile"),
    ("llguidance", "llguidance", True, "pip install llguidance"),
    ("mcp", "mcp", False, "pip install 'realtime-voice[mcp]' (optional: MCP servers)"),
    ("aiortc", "aiortc", False, "pip install 'realtime-voice[webrtc]' (optional: WebRTC)"),
    (
        "sounddevice",
        "sounddevice",
        False,
        "pip install 'realtime-voice[microphone]' (optional: `talk` by microphone)",
    ),
    ("cryptography", "cryptography", False, "pip install 'realtime-voice[tls]' (optional: --tls-self-signed)"),
    ("pipecat", "pipecat-ai", False, "pip install 'realtime-voice[smart-turn]' (optional: --turn-model smart-turn)"),
    (
        "opentelemetry",
        "opentelemetry-sdk",
        False,
        "pip install 'realtime-voice[otel]' (optional: traces of each turn)",
    ),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``fatal``: the server cannot start without it."""

    name: str
    text: str
    good: bool
    fatal: bool = False


def run(arguments: argparse.Namespace) -> int:
    settings = Settings.read(arguments)
    worst = 0
    for finding in examine(settings):
        mark = "ok  " if finding.good else ("FAIL" if finding.fatal else "-   ")
        print(f"{mark}  {finding.name:<12} {finding.text}")
        worst |= finding.fatal and not finding.good
    print("\nReady to serve." if not worst else "\nNot ready: fix the lines marked FAIL.")
    return int(worst)


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings; the model comes last because it takes longest."""
    yield Finding("python", f"{platform.python_version()} at {sys.executable}", sys.version_info >= (3, 11), True)
    yield from _packages()
    yield _keys(settings)
    if importlib.util.find_spec("torch") is None:
        return
    yield from _device(settings)
    yield from _model(settings)


def _packages() -> Iterator[Finding]:
    for module, distribution, needed, remedy in _PACKAGES:
        present = importlib.util.find_spec(module) is not None
        yield Finding(distribution, _version(distribution) if present else f"missing: {remedy}", present, needed)


def _keys(settings: Settings) -> Finding:
    """How clients get in."""
    if not settings.api_key and not settings.api_keys_file:
        return Finding("API keys", "none: whoever reaches the server may use it", True)
    how = "the page asks for one, or takes it from the link .../#key=KEY"
    if settings.api_key:
        how += ", which `realtime serve` prints on a terminal"
    return Finding("API keys", f"set: {how}", True)


def _version(distribution: str) -> str:
    for name in (distribution, f"{distribution}-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "installed, version unknown"


def _device(settings: Settings) -> Iterator[Finding]:
    import torch

    from realtime.checkpoint.load import choose_device

    try:
        device = choose_device(settings.device)
    except RealtimeError as error:
        yield Finding("device", str(error), False, True)
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    yield Finding("device", f"{device} ({name})", True)


def _model(settings: Settings) -> Iterator[Finding]:
    from realtime.checkpoint.load import load_model

    started = time.perf_counter()
    try:
        loaded = load_model(settings)
    except RealtimeError as error:
        yield Finding("model", str(error), False, True)
        return
    voices = ", ".join(loaded.voices) or "none: set --voice prompt.wav"
    yield Finding("model", f"{loaded.profile.name} in {time.perf_counter() - started:.1f} s", True)
    yield Finding("vocoder", str(loaded.vocoder.options), True)
    yield Finding("voices", voices, bool(loaded.voices), True)
