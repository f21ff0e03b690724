"""Adapt nano to the recordings of one user, on a laptop.

    python scripts/nano/train/finetune.py my-recordings --out my-nano --minutes 40
    realtime serve --model my-nano

The folder holds NAME.wav with NAME.txt, what is said in it: some dozens of sentences of the domain, as one talks to
nano. Encoder, adapter and decoder learn together to write down and to answer them; one in five is kept to measure by.
Where the synthesizers of input_speech.py are installed, synthetic speakers are rehearsed beside, so that others are
still understood. Prints the word error rate before and after.

Dependencies: torch, transformers, numpy, scipy, and this repository's packages.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.io import wavfile
from scipy.signal import resample_poly
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.encoder import AudioEncoder, encoder_rows, pad_mels
from realtime.model.features import feature_count_of_frames, log_mel
from realtime.ports.messages import MODEL_SAMPLE_RATE
from scripts.nano import domain
from scripts.nano.checkpoint.export import checkpoint_tensors, write_weights
from scripts.nano.data import input_speech
from scripts.nano.data.pseudo_audio import EncoderRows
from scripts.nano.data.sequences import Sequence_, Vocabulary, Writer
from scripts.nano.domain.parsing import parse
from scripts.nano.domain.tools import schemas
from scripts.nano.train.lm import Mind, collate, edits, generate, losses
from scripts.nano.train.sizes import of_checkpoint

HELD_OUT = 5
"""One recording in so many is kept to measure by."""
LONGEST_SECONDS = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """float32 [n] at 16 kHz, what is said in it, and what that asks for (None: nothing of the domain)."""

    samples: NDArray[np.float32]
    text: str
    asked: domain.Asked | None


def read_recordings(folder: Path) -> list[Recording]:
    """Read NAME.wav with NAME.txt. Raises ValueError that names the first file that cannot be used."""
    found = []
    for path in sorted(folder.glob("*.wav")):
        words = path.with_suffix(".txt")
        if not words.exists():
            raise ValueError(f"{path} has no {words.name} beside it; write into it what is said")
        text = domain.plain(words.read_text("utf-8"))
        if not text:
            raise ValueError(f"{words} holds no words; write numbers out, as they are spoken")
        rate, pcm = wavfile.read(path)
        wave = pcm.astype(np.float32) / (np.iinfo(pcm.dtype).max if pcm.dtype.kind == "i" else 1.0)
        wave = wave if wave.ndim == 1 else wave.mean(1)
        common = math.gcd(rate, MODEL_SAMPLE_RATE)
        samples = resample_poly(wave, MODEL_SAMPLE_RATE // common, rate // common).astype(np.float32)
        if not 0.2 <= len(samples) / MODEL_SAMPLE_RATE <= LONGEST_SECONDS:
            raise ValueError(
                f"{path} lasts {len(samples) / MODEL_SAMPLE_RATE:.1f} s; cut it to 0.2 to {LONGEST_SECONDS} s"
            )
        found.append(Recording(samples, text, parse(text)))
    if len(found) < 2 * HELD_OUT:
        raise ValueError(
            f"{folder} holds {len(found)} recordings; at least {2 * HELD_OUT} are needed, better a hundred"
        )
    return found


class Student:
    """Nano's three networks, all of them learning."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.vocabulary = Vocabulary(folder)
        self.writer = Writer(self.vocabulary)
        self.rng = random.Random(seed)
        tensors: dict[str, Tensor] = {}
        for path in sorted(folder.glob("model*.safetensors")):
            tensors |= {name: x.float() for name, x in load_file(path).items()}
        sizes = of_checkpoint(folder)
        self.mind = Mind(self.vocabulary, sizes)
        state = {f"lm.{k.removeprefix('model.')}": x for k, x in tensors.items() if k.startswith("model.")}
        state |= {k: x for k, x in tensors.items() if k.startswith("adapter.")}
        missing, unexpected = self.mind.load_state_dict(state, strict=False)
        if missing != ["pseudo"] or unexpected:
            raise ValueError(f"{folder} is no nano: tensors missing {missing}, unexpected {unexpected}")
        self.encoder = AudioEncoder(sizes.audio)
        self.encoder.load_state_dict(
            {k.removeprefix("encoder."): x for k, x in tensors.items() if k.startswith("encoder.")}
        )

    def tensors(self) -> dict[str, Tensor]:
        """All weights under their official names."""
        ears = {f"encoder.{k}": x for k, x in self.encoder.state_dict().items()}
        return checkpoint_tensors(self.mind.state_dict(), ears)

    def hear(self, waves: Sequence[NDArray[np.float32]]) -> list[EncoderRows]:
        """Encoder rows of each recording; gradients flow through them."""
        mel, frames = pad_mels([log_mel(torch.from_numpy(wave), self.encoder.conv1.in_channels) for wave in waves])
        rows = self.encoder(mel, frames)
        counts = [feature_count_of_frames(count) for count in frames]
        return [
            EncoderRows(rows[k, : encoder_rows(count)], n)
            for k, (count, n) in enumerate(zip(frames, counts, strict=True))
        ]

    def transcription(self, heard: EncoderRows, text: str | None) -> Sequence_:
        """Ask for the words of a recording; `text` is the target, None opens the answer only."""
        sequence = Sequence_()
        self.writer.system(sequence, domain.TRANSCRIBE)
        self.writer.human_audio(sequence, heard)
        self.writer.open_reply(sequence, speech=False)
        if text is not None:
            self.writer.write(sequence, text)
        return sequence

    def question(self, heard: EncoderRows, asked: domain.Asked, rng: random.Random, target: bool) -> Sequence_:
        """Ask what a recording asks, of a session with the tools it needs."""
        scene = domain.draw_scene(rng, 1, lambda name: asked, domain.Odds(tools=1.0), asked.intent)
        sequence, (exchange,) = Sequence_(), scene.exchanges
        if scene.system is not None:
            self.writer.system(sequence, scene.system)
        if scene.tools:
            self.writer.tools(sequence, schemas(scene.tools))
        self.writer.human_audio(sequence, heard)
        self.writer.open_reply(sequence, speech=False)
        if target and exchange.call is not None:
            self.writer.call(sequence, exchange.call, speech=False)
        elif target:
            self.writer.write(sequence, exchange.reply_text)
        return sequence

    def loss(self, recordings: Sequence[Recording], strength: float) -> Tensor:
        """Weighted cross-entropy of writing down and answering recordings, each heard a little differently."""
        rng = np.random.default_rng(self.rng.getrandbits(32))
        heard = self.hear([input_speech.augment(r.samples, rng, strength) for r in recordings])
        sequences = []
        for rows, recording in zip(heard, recordings, strict=True):
            if recording.asked is not None and self.rng.random() < 0.6:
                sequences.append(self.question(rows, recording.asked, self.rng, target=True))
            else:
                sequences.append(self.transcription(rows, recording.text))
        loss, _, weights = losses(self.mind, collate(sequences), 0.0, everything=True)
        return (loss * weights).sum() / weights.sum()

    @torch.no_grad()
    def word_errors(self, recordings: Sequence[Recording]) -> float:
        """Word error rate of the transcriptions."""
        wrong = words = 0
        for recording in recordings:
            prompt = self.transcription(self.hear([recording.samples])[0], None)
            (ids,) = generate(self.mind, [prompt], 60, self.vocabulary.eot)
            said = recording.text.split()
            wrong += edits(said, domain.plain(self.vocabulary.decode(ids)).split())
            words += len(said)
        return wrong / max(words, 1)


def rehearsal(rng: random.Random, count: int) -> list[Recording]:
    """Questions of synthetic speakers; none where their synthesizers are not installed."""
    found = []
    for _ in range(count):
        numbers = np.random.default_rng(rng.getrandbits(32))
        asked = domain.ask(domain.random_intent(rng).name, rng)
        try:
            samples = input_speech.synthesize(asked.text, input_speech.sample_voice(numbers), numbers)
        except (OSError, ImportError):
            return []
        found.append(Recording(samples, asked.text, asked))
    return found


def train(student: Student, recordings: Sequence[Recording], minutes: float, rate: float) -> int:
    """Learn for so many minutes; returns the number of steps."""
    parts = ((student.encoder, rate), (student.mind.adapter, rate), (student.mind.lm, rate / 3))
    optimizer = torch.optim.AdamW([{"params": m.parameters(), "lr": lr} for m, lr in parts], weight_decay=0.0)
    parameters = [p for m, _ in parts for p in m.parameters()]
    began, step, mean = time.time(), 0, 0.0
    while (spent := (time.time() - began) / 60) < minutes:
        for group, (_, lr) in zip(optimizer.param_groups, parts, strict=True):
            group["lr"] = lr * min(1.0, (step + 1) / 20, max(0.05, 2 * (1 - spent / minutes)))
        drawn = student.rng.sample(list(recordings), min(6, len(recordings)))
        loss = student.loss([*drawn, *rehearsal(student.rng, 4)], 0.4)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        mean += (float(loss.detach()) - mean) / min(step, 50)
        if step % 25 == 0:
            print(f"minute {spent:.1f} step {step} loss {mean:.3f}", flush=True)
    return step


def main() -> None:
    """Adapt and write the new checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="NAME.wav with NAME.txt")
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parents[3] / "realtime/checkpoints/nano")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new checkpoint")
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    try:
        recordings = read_recordings(args.folder)
        student = Student(args.checkpoint, args.seed)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    student.rng.shuffle(recordings)
    kept, used = recordings[: len(recordings) // HELD_OUT], recordings[len(recordings) // HELD_OUT :]
    known = sum(r.asked is not None for r in recordings)
    print(f"{len(recordings)} recordings, {known} of them ask something of the domain; {len(kept)} kept to measure by")
    before = student.word_errors(kept)
    steps = train(student, used, args.minutes, args.rate)
    print(f"{steps} steps; word error rate {before:.3f} before, {student.word_errors(kept):.3f} after")
    if args.out.resolve() != args.checkpoint.resolve():
        shutil.copytree(args.checkpoint, args.out, dirs_exist_ok=True)
    write_weights(student.tensors(), args.out)


if __name__ == "__main__":
    main()
