"""Tune nano's audio encoder, Whisper-tiny's, with CTC on phones of synthetic speech.

    python scripts/nano/train/whisper_encoder.py --out work/nano/ears/whisper.pt     # where it begins
    python scripts/nano/train/train_encoder.py train --start work/nano/ears/whisper.pt --head-minutes 2
    python scripts/nano/train/train_encoder.py evaluate                 # phone error rates of OUT/encoder.pt

`train` reads the clips of user_speech.py (it may still be writing them) and of input_speech.py, each anew in every
pass. The learning rate follows the minutes trained, not the steps, since the machine is shared; a later
`train --minutes` that is larger goes on from there. Convolutions and positions stay as they are. Log in OUT/train.log.

OUT/encoder.pt holds the averaged weights with the official names `encoder.*`, and the CTC head `inp.*`, `out.*`
(classes of phones.py, twice a row) that serving does not need. user_speech.py makes its rows for the training of the
language model.
Letters: T mel frames (100 Hz), S positions (50 Hz), P rows (25 Hz), d width.
"""

import argparse
import json
import math
import multiprocessing
import queue
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.encoder import AudioEncoder, SelfAttention, encoder_rows, pad_mels
from realtime.model.features import log_mel
from scripts.nano.data import input_speech, phones
from scripts.nano.train.precision import autocast
from scripts.nano.train.sizes import AUDIO

HEAD_WIDTH = 256
HEAD_RATE = 2e-3
"""While the head learns alone, upon an encoder that never had one."""
OUT = Path("work/nano/ears")


class PhoneRecogniser(nn.Module):
    """The encoder under a CTC head of two frames a row, for fast speech; keys `encoder.*`, `inp.*`, `out.*`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = AudioEncoder(AUDIO)
        self.inp = nn.Conv1d(AUDIO.n_audio_state, HEAD_WIDTH, 5, padding=2)
        self.out = nn.Linear(HEAD_WIDTH, 2 * phones.CLASSES)
        self.through: Callable[[nn.Module, Tensor, Tensor], Tensor] = _through

    def forward(self, mel: Tensor, frames: list[int]) -> Tensor:
        """Mel [B, n_mels, T] -> logits [B, 2 P, 40]."""
        return self.heard(self.encoder(mel, frames))

    def heard(self, rows: Tensor) -> Tensor:
        """Rows of the encoder [B, P, d], zeros behind each clip -> logits [B, 2 P, 40]."""
        hidden = F.gelu(self.inp(rows.transpose(1, 2))).transpose(1, 2)
        return self.out(hidden).view(len(rows), -1, phones.CLASSES)  # type: ignore[no-any-return]

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
        counts = torch.tensor([encoder_rows(count) for count in frames])
        return self.heard(rows * (torch.arange(rows.shape[1])[None] < counts[:, None])[..., None])


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
    mel, frames = torch.randn(3, AUDIO.n_mels, 101), [101, 90, 73]
    with torch.no_grad():
        pairs = zip(model(mel, frames), model.training_logits(mel, frames, 0), frames, strict=True)
        for served, trained, count in pairs:
            torch.testing.assert_close(
                trained[: 2 * encoder_rows(count)], served[: 2 * encoder_rows(count)], atol=1e-3, rtol=1e-3
            )


# -- batches ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Mels zero-padded [B, n_mels, T] with own lengths, phone ids of all clips in a row with their counts."""

    mel: Tensor
    frames: list[int]
    targets: Tensor
    target_counts: list[int]


STRENGTH = (0.1, 1.0)
"""Of augmentation, drawn for each clip."""
TELEPHONE = 0.5
"""Of the clips: that they go through 8 kHz mu-law."""
MASKED = 80 / 128
"""Of the bins and frames that `mask_spectrum` hides at full strength."""


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
    """Pad clips of (mel [n_mels, T], phone ids) into a batch."""
    mel, frames = pad_mels([mel for mel, _ in clips])
    targets = [target for _, target in clips]
    return Batch(mel, frames, torch.tensor([p for t in targets for p in t]), [len(t) for t in targets])


def _fits(frames: int, target: list[int]) -> bool:
    repeats = sum(a == b for a, b in zip(target, target[1:], strict=False))
    return len(target) + repeats <= 2 * encoder_rows(frames)


def read_clips(path: Path) -> list[tuple[input_speech.Samples, str]]:
    """Samples and words of a shard of input_speech.py or user_speech.py; other languages are left out."""
    if path.suffix == ".npz":
        return [(utterance.samples, utterance.text) for utterance in input_speech.read_shard(path)]
    shard = torch.load(path, weights_only=True)
    return [(c["pcm"].numpy().astype(np.float32) / 32767, c["text"]) for c in shard if c["kind"] != "foreign"]


def heard_anew(samples: input_speech.Samples, rng: np.random.Generator) -> Tensor:
    """Mel [n_mels, T] of a clip in another room, on another line, from another mouth."""
    strength = float(rng.uniform(*STRENGTH))
    if samples.any():
        samples = input_speech.augment(samples, rng, strength)
    if rng.random() < TELEPHONE:
        samples = input_speech.telephoned(samples)
    mel = warp_bins(log_mel(torch.from_numpy(samples), AUDIO.n_mels), rng, 1.0)
    return mask_spectrum(mel, rng, strength * MASKED)


def training_batches(folders: Sequence[Path], seed: int, seen: int, batch_frames: int) -> Iterator[Batch]:
    """Endless augmented batches of about `batch_frames` mel frames, clips of like length together."""
    rng = np.random.default_rng([seed, seen])
    while True:
        shards = sorted(path for folder in folders for path in folder.glob("train-????.*") if path.suffix != ".part")
        order = rng.permutation(len(shards))
        for first in range(0, len(order), 4):
            pool = [clip for i in order[first : first + 4] for clip in read_clips(shards[i])]
            rng.shuffle(pool)  # type: ignore[arg-type]
            for start in range(0, len(pool), 400):
                clips = [(heard_anew(s, rng), phones.phone_ids(text)) for s, text in pool[start : start + 400]]
                clips = sorted((c for c in clips if _fits(c[0].shape[1], c[1])), key=lambda clip: clip[0].shape[1])
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

    def __init__(self, folders: Sequence[Path], seed: int, seen: int, batch_frames: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: multiprocessing.Queue[Any] = context.Queue(maxsize=32)
        self._process = context.Process(
            target=_feed, args=(self._queue, folders, seed, seen, batch_frames), daemon=True
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
    """Best path of logits [2 P, 40]: repeats merged, blanks dropped."""
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
                    log_mel(torch.from_numpy(heard), AUDIO.n_mels),
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
            heard = greedy_phones(clip_logits[: 2 * encoder_rows(count)])
            wrong[group] = wrong.get(group, 0) + edit_distance(target, heard)
            total[group] = total.get(group, 0) + len(target)
    return {group: wrong[group] / total[group] for group in sorted(total)}


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of an encoder.pt, or of a safetensors file, in float32."""
    tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    return {name: x.float() for name, x in tensors.items()}


def load(path: Path) -> PhoneRecogniser:
    """The recogniser of an encoder.pt, for inference."""
    model = PhoneRecogniser()
    model.load_state_dict(read_weights(path))
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
    """Warm-up over 100 steps, then cosine over the share `done` of the minutes, down to 2 % of the peak."""
    return min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def rated(model: PhoneRecogniser, rate: float) -> list[dict[str, Any]]:
    """Groups of parameters: the lower half of the layers at a fifth of the rate, the upper half, the head at five."""
    blocks = model.encoder.blocks
    half = len(blocks) // 2
    lower = [p for block in blocks[:half] for p in block.parameters()]
    upper = [p for block in (*blocks[half:], model.encoder.after_norm) for p in block.parameters()]
    head = [*model.inp.parameters(), *model.out.parameters()]
    return [
        {"params": params, "lr": rate * factor, "peak": rate * factor}
        for params, factor in ((lower, 0.2), (upper, 1.0), (head, 5.0))
    ]


class Training:
    """Model, optimiser, running average and counters; saved and loaded as one file.

    Without such a file it begins with the weights of `start`: an encoder with a head, or without one.
    """

    def __init__(self, out: Path, seed: int, rate: float, start: Path | None) -> None:
        torch.manual_seed(seed)
        self._path = out / "train.pt"
        self._export = out / "encoder.pt"
        self.model = PhoneRecogniser()
        if start is not None:
            self.model.load_state_dict(read_weights(start), strict=False)
        for part in (self.model.encoder.conv1, self.model.encoder.conv2, self.model.encoder.positional_embedding):
            part.requires_grad_(False)
        self.average = PhoneRecogniser().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(rated(self.model, rate), betas=(0.9, 0.98), weight_decay=0.01)
        self.step, self.seen, self.seconds, self.rng = 0, 0, 0.0, random.Random(seed)
        self.average.load_state_dict(self.model.state_dict())
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

    def update(self, batch: Batch, factor: float, head_only: bool) -> float:
        """One step at `factor` times the rate, or of the head alone at HEAD_RATE; the loss in nats a phone."""
        # Some batches start later in the position table, or rows beyond the longest clip would go stale.
        first = self.rng.randrange(1000) if self.rng.random() < 0.15 else 0
        with autocast():
            logits = self.model.training_logits(batch.mel, batch.frames, first)
        loss = F.ctc_loss(
            logits.float().log_softmax(-1).transpose(0, 1),
            batch.targets,
            torch.tensor([2 * encoder_rows(count) for count in batch.frames]),
            torch.tensor(batch.target_counts),
            blank=phones.BLANK,
            reduction="sum",
            zero_infinity=True,
        ) / max(len(batch.targets), 1)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        if head_only:
            for group, rate in zip(self.optimiser.param_groups, (0.0, 0.0, HEAD_RATE), strict=True):
                group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.seen += len(batch.frames)
        decay = min(0.995, (self.step + 20) / (self.step + 120))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), [p.detach() for p in self.model.parameters()], 1 - decay
            )
        return float(loss.detach())


def train(args: argparse.Namespace) -> None:
    """Train until `args.minutes` are spent in all (earlier runs counted)."""
    torch.set_num_threads(args.threads)
    state = Training(args.out, args.seed, args.rate, args.start)
    check_training_forward(state.model)
    if args.compile:
        state.model.through = torch.compile(_through, dynamic=True)
    feeder = BatchFeeder([args.data, *args.turns], args.seed, state.seen, args.batch_frames)
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
            head_only = state.seconds < args.head_minutes * 60
            losses.append(state.update(feeder.next(), rate_factor(state.step, done), head_only))
            state.seconds = before + time.time() - started
            if state.step % 200 == 0:
                report(
                    f"minute {state.seconds / 60:5.1f} step {state.step} utterances {state.seen} "
                    f"({(state.seen - seen) / (time.time() - started):.0f}/s) loss {np.mean(losses[-200:]):.3f}"
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
    parser.add_argument("--data", type=Path, default=OUT / "data", help="shards of input_speech.py")
    parser.add_argument("--turns", type=Path, nargs="*", default=[OUT / "turns"], help="shards of user_speech.py")
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train, or go on training")
    command.add_argument("--minutes", type=float, default=45, help="training time in all")
    command.add_argument("--restart-minute", type=float, default=0, help="the cosine of the learning rate starts here")
    command.add_argument("--rate", type=float, default=1e-4, help="of the upper half of the layers")
    command.add_argument("--start", type=Path, help="weights to begin with: an encoder.pt, or a safetensors file")
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--compile", action="store_true", help="faster on a CPU with a C++ compiler")
    command.add_argument("--head-minutes", type=float, default=0, help="of these, so many for a new head alone")
    command.add_argument("--batch-frames", type=int, default=3000)
    command.add_argument("--evaluate-minutes", type=float, default=4)
    command.set_defaults(run=train)
    command = commands.add_parser("evaluate", help="phone error rates of encoder.pt")
    command.set_defaults(run=evaluate)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
