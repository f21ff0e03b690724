"""A page to look at and listen to: what nano says, and beside it the voice that it learnt from.

    python scripts/nano/evaluate/samples.py --out scripts/nano/samples

Asks the served model by text, speaks its answers with the streaming vocoder, and writes Ogg/Opus files, spectrograms
(0 to 12 kHz, 80 dB) and a README.md that shows them.

Dependencies: torch, numpy, soundfile, pillow and this repository's packages; festival with its voice us-slt-hts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.ports.messages import Message
from scripts.nano.data.voice_data import speak
from scripts.nano.evaluate.answering import Answerer
from scripts.nano.evaluate.asr_wer import SAMPLE_RATE, streamed

CHECKPOINT = Path(__file__).resolve().parents[3] / "realtime/checkpoints/nano"
QUESTIONS = (
    "hello",
    "who are you",
    "what can you do",
    "what is seven plus eight",
    "count to five",
    "spell garden",
    "tell me a joke",
    "repeat after me the train leaves at noon",
)
WINDOW, HOP = 1024, 240
RANGE_DB = 80.0
Wave = NDArray[np.float32]


def spectrogram(wave: Wave) -> Image.Image:
    """Draw log magnitudes: a column every 10 ms, 0 Hz at the bottom, 12 kHz at the top, the loudest white."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, WINDOW // 2), WINDOW)[::HOP]
    level = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) + 1e-5)
    shade = np.clip((level - level.max() + RANGE_DB) / RANGE_DB, 0, 1)
    picture = Image.fromarray((255 * shade.T[::-1]).astype(np.uint8))
    return picture.resize((picture.width, 160))


def save(wave: Wave, path: Path) -> None:
    """Write PATH.ogg and PATH.png."""
    soundfile.write(path.with_suffix(".ogg"), wave, SAMPLE_RATE, format="OGG", subtype="OPUS")
    spectrogram(wave).save(path.with_suffix(".png"), optimize=True)


def page(checkpoint: Path, out: Path, seed: int) -> Iterator[str]:
    """Write the files of every question and give the page's lines."""
    answerer = Answerer(checkpoint, seed=seed)
    names = sorted(path.stem for path in (checkpoint / "voices").glob("*.safetensors"))
    voices = {name: streamed(checkpoint, answerer.profile.flow_steps, name) for name in names}
    yield "# What nano says\n"
    yield "Made by `scripts/nano/evaluate/samples.py` from the committed weights: typed questions, the"
    yield "first answer of each, none chosen. Above nano in each of its voices, below the synthesizer that the"
    yield "default voice learnt from, on its words. 0 to 12 kHz, 80 dB.\n"
    for k, question in enumerate(QUESTIONS, 1):
        reply = answerer.answer([Message("human", question)], True)
        yield f"## {question}\n\n> {reply.text}\n"
        if len(reply.codes) < 2:
            yield "(no speech)\n"
            continue
        for name, voice in voices.items():
            save(voice(torch.tensor(reply.codes)), out / f"{k}-{name}")
            yield f"[nano, {name}]({k}-{name}.ogg)\n\n![]({k}-{name}.png)\n"
        for speech in speak([reply.text]):
            save(speech.audio.astype(np.float32), out / f"{k}-source")
            yield f"[source voice]({k}-source.ogg)\n\n![]({k}-source.png)\n"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "samples")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "README.md").write_text("\n".join(page(args.checkpoint, args.out, args.seed)), "utf-8")


if __name__ == "__main__":
    main()
