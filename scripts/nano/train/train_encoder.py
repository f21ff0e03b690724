"""Train nano's audio encoder with CTC on phones.

    python scripts/nano/train/train_encoder.py train --minutes 45       # resumes from OUT/train.pt; log in
    OUT/train.log python scripts/nano/train/train_encoder.py evaluate                 # phone error rates of
    OUT/encoder.pt

`train` reads the shards of input_speech.py (it may still be writing them). The learning rate follows the minutes
trained, not the steps, since the machine is shared; a later `train --minutes` that is larger goes on from there.

OUT/encoder.pt holds the averaged weights with the official names `encoder.*`, and the CTC head `ctc.weight` [40, 192],
`ctc.bias` [40] (classes of phones.py) that serving does not need. user_speech.py makes its rows for the training of the
language model.
Letters: T mel frames (100 Hz), S positions (50 Hz), P rows (25 Hz).
"""

import argparse
import json
import math
import multiprocessing
import queue
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.config import AudioEncoderConfig
from realtime.model.encoder import AudioEncoder, SelfAttention, encoder_rows, pad_mels
from realtime.model.features import log_mel
from scripts.nano.data import input_speech, phones
from scripts.nano.train.optimizers import Optimizers

CONFIG = AudioEncoderConfig(
    n_mels=128, n_audio_ctx=1500, n_audio_state=192, n_audio_head=3, n_audio_layer=6, llm_dim=256, adapter_hidden=512
)  # fmt: skip
OUT = Path("work/nano/ears")


class PhoneRecogniser(nn.Module):
    """The encoder under a CTC head; state dict keys `encoder.*`, `ctc.*`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = AudioEncoder(CONFIG)
        self.ctc = nn.Linear(CONFIG.n_audio_state, phones.CLASSES)
        self.through: Callable[[nn.Module, Tensor, Tensor], Tensor] = _through

    def forward(self, mel: Tensor, frames: list[int]) -> Tensor:
        """Mel [B, 128, T] -> logits [B, P, 40]."""
        return self.ctc(self.encoder(mel, frames))  # type: ignore[no-any-return]

    def training_logits(self, mel: Tensor, frames: list[int], first_position: int) -> Tensor:
        """What `forward` gives, written for speed under bf16 autocast; positions count from `first_position`.

        Products of its own in place of scaled_dot_product_attention, and one memory layout for the residual
        stream: 1.4 times as many clips a second on a CPU; 1.6 times that with compiled blocks and a second thread.
        """
        encoder = self.encoder
        x = encoder.embed_frames(mel, frames).contiguous()
        if first_position:
            positions = encoder.positional_embedding.weight
            x = x + (positions[first_position : first_position + x.shape[1]] - positions[: x.shape[1]])
        hidden = torch.arange(x.shape[1])[None] >= torch.tensor([(count - 1) // 2 for count in frames])[:, None]
        for block in encoder.blocks:
            x = self.through(block, x, hidden)
        rows = encoder.after_norm(x[:, : x.shape[1] // 2 * 2].view(len(x), -1, 2, x.shape[2]).mean(2))
        return self.ctc(rows)  # type: ignore[no-any-return]


def _through(block: nn.Module, x: Tensor, hidden: Tensor) -> Tensor:
    x = x + _attend(block.attn, block.attn_ln(x), hidden)  # type: ignore[arg-type,operator]
    return x + block.mlp(block.mlp_ln(x))  # type: ignore[no-any-return,operator]


def _attend(attention: SelfAttention, x: Tensor, hidden: Tensor) -> Tensor:
    """`attention` over [B, S, d] where keys that `hidden` [B, S] marks are not seen."""
    batch, size, width = x.shape
    heads, scale = attention.heads, (width // attention.heads) ** -0.5
    q, k, v = (
        y.view(batch, size, heads, -1).transpose(1, 2).reshape(batch * heads, size, -1)
        for y in (attention.query(x) * scale, attention.key(x), attention.value(x))
    )
    penalty = torch.zeros(batch, 1, 1, size, dtype=q.dtype).masked_fill_(hidden[:, None, None], -1e4)
    penalty = penalty.expand(batch, heads, 1, size).reshape(batch * heads, 1, size)
    mixed = torch.bmm(torch.baddbmm(penalty, q, k.transpose(1, 2)).softmax(-1).to(v.dtype), v)
    return attention.out(mixed.view(batch, heads, size, -1).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def check_training_forward(model: PhoneRecogniser) -> None:
    """Refuse to train when `training_logits` and the encoder that will be served part ways."""
    mel, frames = torch.randn(3, CONFIG.n_mels, 101), [101, 90, 73]
    with torch.no_grad():
        pairs = zip(model(mel, frames), model.training_logits(mel, frames, 0), frames, strict=True)
        for served, trained, count in pairs:
            torch.testing.assert_close(
                trained[: encoder_rows(count)], served[: encoder_rows(count)], atol=1e-3, rtol=1e-3
            )


def initialise(model: PhoneRecogniser) -> None:
    """Sinusoids in the position table, as Whisper starts; small, since the convolutions' outputs are."""
    width = CONFIG.n_audio_state
    angle = torch.arange(CONFIG.n_audio_ctx)[:, None] * torch.exp(
        -math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2)
    )
    model.encoder.positional_embedding.weight.data = 0.2 * torch.cat([angle.sin(), angle.cos()], dim=1)


# -- batches ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Mels zero-padded [B, 128, T] with own lengths, phone ids of all clips in a row with their counts."""

    mel: Tensor
    frames: list[int]
    targets: Tensor
    target_counts: list[int]


FULL_STRENGTH = 150_000
"""Utterances after which augmentation does not grow any more."""


def strength_at(seen: int) -> float:
    """Augmentation strength after so many utterances: mild until CTC has left its plateau and the phones are clear."""
    return float(np.interp(seen, [0, 15_000, 70_000, FULL_STRENGTH], [0.1, 0.25, 0.4, 0.8]))


def mask_spectrum(mel: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """SpecAugment in place: two bands of mel bins and a few spans of frames are set to the clip's mean."""
    bins, frames = mel.shape
    mean = mel.mean()
    for _ in range(2):
        size = int(rng.integers(0, 1 + int(24 * strength)))
        start = int(rng.integers(0, bins - size))
        mel[start : start + size] = mean
    for _ in range(1 + frames // 150):
        size = int(rng.integers(0, 1 + int(18 * strength)))
        start = int(rng.integers(0, max(frames - size, 1)))
        mel[:, start : start + size] = mean
    return mel


def warp_bins(mel: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Another vocal tract: the spectral envelope moved along the frequency axis by up to 16 % of its height."""
    bins = mel.shape[0]
    factor = float(np.exp(rng.uniform(-0.16, 0.16) * strength))
    source = torch.clamp(torch.arange(bins) * factor, max=bins - 1.001)
    below = source.long()
    share = (source - below)[:, None]
    return mel[below] * (1 - share) + mel[below + 1] * share


def make_batch(clips: list[tuple[Tensor, list[int]]]) -> Batch:
    """Pad clips of (mel [128, T], phone ids) into a batch."""
    mel, frames = pad_mels([mel for mel, _ in clips])
    targets = [target for _, target in clips]
    return Batch(mel, frames, torch.tensor([p for t in targets for p in t]), [len(t) for t in targets])


def _fits(frames: int, target: list[int]) -> bool:
    repeats = sum(a == b for a, b in zip(target, target[1:], strict=False))
    return 0 < len(target) and len(target) + repeats <= encoder_rows(frames)


def training_batches(data: Path, seed: int, seen: int, batch_frames: int, general_share: float) -> Iterator[Batch]:
    """Endless augmented batches of about `batch_frames` mel frames, clips of like length together.

    Of the texts that are not of the domain, only `general_share` are used.
    """
    rng = np.random.default_rng([seed, seen])
    while True:
        shards = sorted(data.glob("train-????.npz"))
        order = rng.permutation(len(shards))
        for first in range(0, len(order), 4):
            pool = [u for i in order[first : first + 4] for u in input_speech.read_shard(shards[i])]
            rng.shuffle(pool)
            for start in range(0, len(pool), 400):
                strength = strength_at(seen)
                clips = []
                for utterance in pool[start : start + 400]:
                    if not utterance.intent and rng.random() >= general_share:
                        continue
                    heard = input_speech.augment(utterance.samples, rng, strength)
                    mel = mask_spectrum(warp_bins(log_mel(torch.from_numpy(heard)), rng, strength), rng, strength)
                    target = phones.phone_ids(utterance.text)
                    if _fits(mel.shape[1], target):
                        clips.append((mel, target))
                clips.sort(key=lambda clip: clip[0].shape[1])
                batches: list[list[tuple[Tensor, list[int]]]] = [[]]
                for clip in clips:
                    if (len(batches[-1]) + 1) * clip[0].shape[1] > batch_frames and batches[-1]:
                        batches.append([])
                    batches[-1].append(clip)
                for index in rng.permutation(len(batches)):
                    seen += len(batches[index])
                    yield make_batch(batches[index])


def _feed(out: "multiprocessing.Queue[Any]", *options: Any) -> None:
    torch.set_num_threads(1)
    for batch in training_batches(*options):
        # As numpy arrays: tensors would go through shared-memory files.
        out.put((batch.mel.half().numpy(), batch.frames, batch.targets.numpy(), batch.target_counts))


class BatchFeeder:
    """Batches made ahead by a process of its own."""

    def __init__(self, data: Path, seed: int, seen: int, batch_frames: int, general_share: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: multiprocessing.Queue[Any] = context.Queue(maxsize=64)
        self._process = context.Process(
            target=_feed, args=(self._queue, data, seed, seen, batch_frames, general_share), daemon=True
        )
        self._process.start()

    def next(self) -> Batch:
        while True:
            try:
                mel, frames, targets, counts = self._queue.get(timeout=20)
                return Batch(torch.from_numpy(mel).float(), frames, torch.from_numpy(targets), counts)
            except queue.Empty:
                if not self._process.is_alive():
                    raise RuntimeError("the process that makes batches ended; its error is above") from None

    def close(self) -> None:
        self._process.kill()


# -- evaluation ------------------------------------------------------------------------------------------


def edit_distance(said: list[int], heard: list[int]) -> int:
    """Levenshtein distance."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def greedy_phones(logits: Tensor) -> list[int]:
    """Best path of logits [P, 40]: repeats merged, blanks dropped."""
    best = torch.unique_consecutive(logits.argmax(-1)).tolist()
    return [phone for phone in best if phone != phones.BLANK]


def voice_group(voice: str) -> str:
    """The group under which a voice's errors are reported."""
    if voice in input_speech.HELD_OUT:
        return "rms" if voice == "flite:rms" else "espeak-unseen"
    return "espeak-seen" if voice.startswith("espeak") else "natural-seen"


def evaluation_clips(data: Path, strength: float) -> list[tuple[str, Tensor, list[int]]]:
    """(voice group, mel, phone ids) of the evaluation shards, always augmented in the same way."""
    rng = np.random.default_rng(1)
    clips = []
    for path in (*sorted(data.glob("seen-*.npz")), *sorted(data.glob("held-out-*.npz"))):
        for utterance in input_speech.read_shard(path):
            heard = input_speech.augment(utterance.samples, rng, strength)
            clips.append(
                (
                    voice_group(utterance.voice),
                    log_mel(torch.from_numpy(heard)),
                    phones.phone_ids(utterance.text),
                )
            )
    return sorted(clips, key=lambda clip: clip[1].shape[1])


@torch.inference_mode()
def error_rates(model: PhoneRecogniser, clips: list[tuple[str, Tensor, list[int]]]) -> dict[str, float]:
    """Phone error rate of each voice group."""
    wrong: dict[str, int] = {}
    total: dict[str, int] = {}
    for start in range(0, len(clips), 16):
        part = clips[start : start + 16]
        mel, frames = pad_mels([mel for _, mel, _ in part])
        logits = model(mel, frames)
        for (group, _, target), clip_logits, count in zip(part, logits, frames, strict=True):
            heard = greedy_phones(clip_logits[: encoder_rows(count)])
            wrong[group] = wrong.get(group, 0) + edit_distance(target, heard)
            total[group] = total.get(group, 0) + len(target)
    return {group: wrong[group] / total[group] for group in sorted(total)}


def load(path: Path) -> PhoneRecogniser:
    """The recogniser of an encoder.pt, for inference."""
    model = PhoneRecogniser()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def evaluate(args: argparse.Namespace) -> None:
    """Print the phone error rates of a checkpoint, clean and as a bad line gives it."""
    model = load(args.out / "encoder.pt")
    for name, strength in (("quiet", 0.0), ("augmented", 0.5), ("strong", 1.0)):
        rates = error_rates(model, evaluation_clips(args.data, strength))
        print(f"{name:10s}", "  ".join(f"{group} {rate:.3f}" for group, rate in rates.items()))


# -- training --------------------------------------------------------------------------------------------


def save_whole(content: object, path: Path) -> None:
    """Save a file so that it appears under its name only when complete."""
    torch.save(content, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def rate_factor(step: int, done: float) -> float:
    """Warm-up over 300 steps, then cosine over the share `done` of the minutes, down to 2 % of the peak."""
    return min(1.0, (step + 1) / 300) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


class Training:
    """Model, optimiser, running average and counters; saved and loaded as one file.

    Without such a file it begins anew, or with the weights of `start`, which have seen speech at full augmentation.
    """

    def __init__(self, out: Path, seed: int, rate: float, start: Path | None) -> None:
        torch.manual_seed(seed)
        self._path = out / "train.pt"
        self._export = out / "encoder.pt"
        self.model = PhoneRecogniser()
        initialise(self.model)
        if start is not None:
            self.model.load_state_dict(torch.load(start, weights_only=True))
        self.average = PhoneRecogniser()
        self.average.load_state_dict(self.model.state_dict())
        named = [(n, p, p.ndim == 2 and "blocks" in n) for n, p in self.model.named_parameters()]
        rest = [p for _, p, matrix in named if not matrix]
        self.optimiser = Optimizers([p for _, p, matrix in named if matrix], rate, ((rest, rate),))
        self.step, self.seconds, self.rng = 0, 0.0, random.Random(seed)
        self.seen = 0 if start is None else FULL_STRENGTH
        if self._path.exists():
            state = torch.load(self._path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seen, self.seconds = state["step"], state["seen"], state["seconds"]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(), "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(), "step": self.step, "seen": self.seen, "seconds": self.seconds,
        }  # fmt: skip
        save_whole(state, self._path)
        save_whole(self.average.state_dict(), self._export)

    def update(self, batch: Batch, factor: float) -> float:
        """One step on a batch at `factor` times the rate; the loss in nats per phone."""
        # One batch in five starts later in the position table, or rows beyond the longest clip would stay untrained.
        first = self.rng.randrange(1000) if self.rng.random() < 0.2 else 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model.training_logits(batch.mel, batch.frames, first)
        loss = F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),
            batch.targets,
            torch.tensor([encoder_rows(count) for count in batch.frames]),
            torch.tensor(batch.target_counts),
            blank=phones.BLANK,
            reduction="sum",
            zero_infinity=True,
        ) / len(batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step(factor)
        self.step += 1
        self.seen += len(batch.frames)
        decay = min(0.999, self.step / (self.step + 100))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), [p.detach() for p in self.model.parameters()], 1 - decay
            )
        return float(loss.detach())


def train(args: argparse.Namespace) -> None:
    """Train until `args.minutes` are spent in all (earlier runs counted)."""
    torch.set_num_threads(args.threads)
    state = Training(args.out, args.seed, args.rate, args.start)
    if args.compile:
        state.model.through = torch.compile(_through, dynamic=True)
    check_training_forward(state.model)
    for parameter in state.average.parameters():
        parameter.requires_grad_(False)
    feeder = BatchFeeder(args.data, args.seed, state.seen, args.batch_frames, args.general_share)
    clips = evaluation_clips(args.data, 0.3)
    started, before, seen = time.time(), state.seconds, state.seen
    evaluated = saved = started
    losses: list[float] = []
    with (args.out / "train.log").open("a") as log:

        def report(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()

        while state.seconds < args.minutes * 60:
            done = (state.seconds - args.restart_minute * 60) / ((args.minutes - args.restart_minute) * 60)
            losses.append(state.update(feeder.next(), rate_factor(state.step, done)))
            state.seconds = before + time.time() - started
            if state.step % 200 == 0:
                report(
                    f"minute {state.seconds / 60:5.1f} step {state.step} utterances {state.seen} "
                    f"({(state.seen - seen) / (time.time() - started):.0f}/s) loss {np.mean(losses[-200:]):.3f} "
                    f"strength {strength_at(state.seen):.2f}"
                )
            if time.time() - evaluated > args.evaluate_minutes * 60:
                rates = error_rates(state.average, clips)
                report(json.dumps({"minute": round(state.seconds / 60, 1), "utterances": state.seen, "per": rates}))
                evaluated = time.time()
            if time.time() - saved > 120:
                state.save()
                saved = time.time()
        state.save()
        report(json.dumps({"final": True, "utterances": state.seen, "per": error_rates(state.average, clips)}))
    feeder.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--data", type=Path, default=OUT / "data")
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train, or go on training")
    command.add_argument("--minutes", type=float, default=45, help="training time in all")
    command.add_argument("--restart-minute", type=float, default=0, help="the cosine of the learning rate starts here")
    command.add_argument("--rate", type=float, default=1e-3, help="of AdamW; twice that for Muon")
    command.add_argument("--start", type=Path, help="an encoder.pt whose weights to begin with")
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--compile", action="store_true", help="faster on a CPU with a C++ compiler")
    command.add_argument("--batch-frames", type=int, default=3600)
    command.add_argument("--general-share", type=float, default=1.0, help="use so many of the texts off the domain")
    command.add_argument("--evaluate-minutes", type=float, default=4)
    command.set_defaults(run=train)
    command = commands.add_parser("evaluate", help="phone error rates of encoder.pt")
    command.set_defaults(run=evaluate)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
