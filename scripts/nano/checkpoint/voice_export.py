"""Writes nano's output voices into its checkpoint: token2wav/{flow,hift}.safetensors (half precision) and the
voices.

    python scripts/nano/checkpoint/voice_export.py

Takes the averaged weights that train_flow.py and polish_hift.py left in work/nano/voice. A voice's prompt is
one synthesized sentence; its speaker embedding is a fixed unit vector that stands for it: nothing was measured.

Dependencies: torch, safetensors, numpy, scipy, pyworld, pyyaml; festival with its voice us-slt-hts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data.voice_data import DITHER, VOICES, speak
from scripts.nano.train.train_flow import speaker_embedding
from scripts.nano.train.voice_training import FLOW_YAML, RUNS, average_of
from streaming_vocoder.config import read_flow_yaml
from streaming_vocoder.flow import Flow
from streaming_vocoder.hift import Hift
from streaming_vocoder.mel import prompt_mel
from streaming_vocoder.voice import Voice

PROMPT_TEXT = "Hello, I am here to help. What would you like to know?"


def save_half(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Writes `state` in half precision, after a check that it is the whole of `module`."""
    module.load_state_dict(state)
    save_file({name: value.half().contiguous() for name, value in state.items()}, path)


def make_voice(name: str) -> Voice:
    """One of nano's voices: PROMPT_TEXT as the synthesizer speaks it, in that voice."""
    (said,) = speak([PROMPT_TEXT])
    speech = said.in_voice(VOICES[name])
    noise = torch.randn(len(speech.audio), generator=torch.Generator().manual_seed(0))
    audio = torch.from_numpy(speech.audio).float() + DITHER * noise
    return Voice(name, torch.tensor(speech.codes), prompt_mel(audio), speaker_embedding(name))


def export(folder: Path, runs: Path = RUNS) -> None:
    """Writes all files under the checkpoint `folder`, whose token2wav/flow.yaml gives the sizes."""
    config = read_flow_yaml(folder / "token2wav/flow.yaml")
    save_half(Flow(config.flow), average_of("flow", runs), folder / "token2wav/flow.safetensors")
    save_half(Hift(config.hift), average_of("hift-polished", runs), folder / "token2wav/hift.safetensors")
    (folder / "voices").mkdir(exist_ok=True)
    for name in VOICES:
        make_voice(name).save(folder / f"voices/{name}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FLOW_YAML.parents[1], help="the checkpoint")
    parser.add_argument("--runs", type=Path, default=RUNS, help="what the trainings left")
    arguments = parser.parse_args()
    export(arguments.folder, arguments.runs)
    for path in sorted(arguments.folder.glob("*/*.safetensors")):
        print(f"{path.relative_to(arguments.folder)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
