"""Train the head that tells whether a turn is complete, for the encoder of any checkpoint.

    python scripts/nano/data/turn_ends.py --minutes 12                                  # the speech, once
    python scripts/nano/train/train_turn_completion.py --checkpoint realtime/checkpoints/nano
    python scripts/nano/evaluate/turn_completion.py --data work/turn_ends               # what semantic_vad makes of it

Examples are composed of `turn_ends`' utterances: complete turns (whole, with a pause or a filler in them, short
answers) and incomplete ones (cut at a word, ended by a filler, or words that cannot be all, spoken with a falling
intonation), each with the silence behind it that serving asks at, in noise, rooms and telephone lines. So that the
sound of a splice is no cue, cuts are faded at random and whole turns cut short at random.
The encoder is not trained. The logits are scaled on held-out speech so that the probabilities are calibrated, and then
lowered by a small margin.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.audio.g711 import mulaw_to_pcm16, pcm16_to_mulaw
from realtime.model.encoder import AudioEncoder, encoder_rows, pad_mels
from realtime.model.features import log_mel
from realtime.model.turn_completion import HEAD_FILE, PROSODY, WINDOW_SAMPLES, TurnCompletionHead, prosody_rows
from realtime.model.weights import load_config, load_modules
from scripts.nano.data import input_speech, turn_ends, turn_texts
from scripts.nano.data.input_speech import SAMPLE_RATE, Samples
from scripts.nano.data.turn_ends import SpokenTurn

_BATCH = 64
_ENCODED_AT_ONCE = 16
_PART = 2000
_HELD_OUT = 1200  # examples
_ROW_NOISE, _ROW_DROPOUT, _SMOOTHING = 0.3, 0.2, 0.03
_SHORT_ROWS, _SHORT_COMPLETE, _SHORT_INCOMPLETE = 38, 2.0, 0.6
_MARGIN = 0.7  # off the calibrated logits: a split turn costs more than a late answer


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A turn until now, float32 [n] at 16 kHz, n <= WINDOW_SAMPLES. ``kind`` says how it was composed."""

    samples: Samples
    complete: bool
    kind: str


class Composer:
    """Draws examples from spoken turns."""

    def __init__(self, turns: Sequence[SpokenTurn], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._of = {kind: [turn for turn in turns if turn.kind == kind] for kind in turn_ends._KINDS}
        self._complete = frozenset(turn_texts.SHORT_ANSWERS) | {turn.text for turn in self._of["turn"]}
        self._parted = [turn for turn in self._of["turn"] if turn.cuts]

    def draw(self, strength: float | None = None) -> Example:
        """``strength`` of the augmentation; None: at random."""
        makers = _MAKERS if self._of["open"] else _MAKERS_HELD_OUT
        kinds = list(makers)
        kind = str(self._rng.choice(kinds, p=[makers[name] for name in kinds]))
        parts, complete = getattr(self, f"_{kind}")()
        return Example(self._heard(np.concatenate(parts), strength), complete, kind)

    def _pick(self, turns: Sequence[SpokenTurn]) -> SpokenTurn:
        return turns[int(self._rng.integers(len(turns)))]

    # complete turns

    def _whole(self) -> tuple[list[Samples], bool]:
        return [self._shortened(self._pick(self._of["turn"]).samples)], True

    def _short(self) -> tuple[list[Samples], bool]:
        return [self._shortened(self._pick(self._of["short"]).samples)], True

    def _paused(self) -> tuple[list[Samples], bool]:
        before, after = self._halves()
        return [before, self._silence(0.3, 1.5), self._shortened(after)], True

    def _hesitated(self) -> tuple[list[Samples], bool]:
        before, after = self._halves()
        return [before, *self._filler(), self._silence(0.3, 1.2), self._shortened(after)], True

    def _two(self) -> tuple[list[Samples], bool]:
        first = self._pick([*self._of["short"], *self._of["turn"]])
        second = self._pick(self._of["turn"])
        return [first.samples, self._silence(0.2, 0.9), self._shortened(second.samples)], True

    # incomplete ones

    def _cut(self) -> tuple[list[Samples], bool]:
        return [self._halves()[0]], False

    def _cut_again(self) -> tuple[list[Samples], bool]:
        turn = self._pick([turn for turn in self._parted if len(turn.cuts) > 1])
        first, second = sorted(self._rng.choice(turn.cuts, 2, replace=False))
        return [turn.samples[:first], self._silence(0.3, 1.2), self._faded(turn.samples[first:second])], False

    def _ends_in_filler(self) -> tuple[list[Samples], bool]:
        return [self._halves()[0], *self._filler()], False

    def _filler_alone(self) -> tuple[list[Samples], bool]:
        return self._filler()[1:], False

    def _open(self) -> tuple[list[Samples], bool]:
        return [self._shortened(self._pick(self._of["open"]).samples)], False

    def _open_and_filler(self) -> tuple[list[Samples], bool]:
        return [self._pick(self._of["open"]).samples, *self._filler()], False

    def _halves(self) -> tuple[Samples, Samples]:
        """A turn parted where its words so far are not a turn by themselves."""
        while True:
            turn = self._pick(self._parted)
            index = int(self._rng.integers(len(turn.cuts)))
            words = turn.text.split()
            at_each_word = len(turn.cuts) == len(words) - 1  # else the cuts are marked by hand
            if not at_each_word or " ".join(words[: index + 1]) not in self._complete:
                cut = turn.cuts[index]
                return self._faded(turn.samples[:cut]), turn.samples[cut:]

    def _filler(self) -> list[Samples]:
        filler = self._pick(self._of["filler"]).samples
        stretch = float(self._rng.uniform(0.9, 1.6))
        return [
            self._silence(0.05, 0.5),
            np.asarray(input_speech.resample(filler, stretch) * self._rng.uniform(0.5, 1)),
        ]

    def _silence(self, least_s: float, most_s: float) -> Samples:
        return np.zeros(int(self._rng.uniform(least_s, most_s) * SAMPLE_RATE), np.float32)

    def _faded(self, samples: Samples) -> Samples:
        """Cut hard, faded out, or a few ms earlier."""
        samples = samples[: len(samples) - int(self._rng.uniform(0, 0.02) * SAMPLE_RATE)].copy()
        count = min(int(self._rng.choice([0.0, 0.01, 0.03, 0.07]) * SAMPLE_RATE), len(samples) // 2)
        if count:
            samples[-count:] *= np.linspace(1, 0, count, dtype=np.float32)
        return samples

    def _shortened(self, samples: Samples) -> Samples:
        """With the last few ms cut off at random, hard or not: a whole turn may end as abruptly as a cut one."""
        if self._rng.random() < 0.5:
            return samples
        return self._faded(samples[: len(samples) - int(self._rng.uniform(0, 0.05) * SAMPLE_RATE)])

    def _heard(self, speech: Samples, strength: float | None) -> Samples:
        """As serving hears it: the silence that it took to ask, the line, and no more than the window."""
        behind = self._rng.choice([0.0, 1.0, 2.0, 4.0], p=[0.75, 0.12, 0.08, 0.05]) or self._rng.uniform(0.15, 0.45)
        speech = speech[-WINDOW_SAMPLES:]
        level = float(self._rng.uniform(0, 1)) if strength is None else strength
        rate = math.exp(0.1 * level)  # `augment` may shorten by so much
        padded = np.concatenate((speech, np.zeros(int(behind * rate * SAMPLE_RATE), np.float32)))
        samples = input_speech.augment(padded, self._rng, level, (0.4, 0.02))
        if self._rng.random() < 0.2:
            narrow = (np.clip(input_speech.resample(samples, 0.5), -1, 1) * 32767).astype(np.int16)
            line = np.frombuffer(mulaw_to_pcm16(pcm16_to_mulaw(narrow)), np.int16).astype(np.float32) / 32768
            samples = input_speech.resample(line, 2.0)
        if self._rng.random() < 0.3:  # digital silence, as of a peer with noise suppression
            samples[-int(behind * SAMPLE_RATE * 0.8) :] = 0
        return samples[-WINDOW_SAMPLES:]


_MAKERS = {
    "whole": 0.24, "short": 0.10, "paused": 0.06, "hesitated": 0.05, "two": 0.05,
    "cut": 0.27, "cut_again": 0.04, "ends_in_filler": 0.06, "filler_alone": 0.02, "open": 0.09, "open_and_filler": 0.02,
}  # fmt: skip
_MAKERS_HELD_OUT = {"whole": 0.35, "short": 0.15, "cut": 0.3, "ends_in_filler": 0.15, "filler_alone": 0.05}


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Examples after the encoder: rows and prosody float16 [P_i, d + k] each, labels bool [N]."""

    rows: list[Tensor]
    complete: Tensor
    kinds: list[str]


@torch.inference_mode()
def encode(encoder: AudioEncoder, n_mels: int, examples: Iterable[Example]) -> Encoded:
    """Batched by sixteen; the rows of each example are those that it has alone."""
    rows: list[Tensor] = []
    drawn = list(examples)
    for start in range(0, len(drawn), _ENCODED_AT_ONCE):
        heard = [torch.from_numpy(np.ascontiguousarray(e.samples)) for e in drawn[start : start + _ENCODED_AT_ONCE]]
        mel, frames = pad_mels([log_mel(samples, n_mels) for samples in heard])
        for samples, part, count in zip(heard, encoder(mel, frames), frames, strict=True):
            own = part[: encoder_rows(count)]
            rows.append(torch.cat([own, prosody_rows(samples, len(own))], 1).half())
    return Encoded(rows, torch.tensor([e.complete for e in drawn]), [e.kind for e in drawn])


def encode_all(
    encoder: AudioEncoder, n_mels: int, composer: Composer, count: int, strength: float | None = None
) -> Encoded:
    """So many examples, drawn and encoded in parts, with a line of progress for each."""
    parts, started = [], time.monotonic()
    for start in range(0, count, _PART):
        parts.append(encode(encoder, n_mels, (composer.draw(strength) for _ in range(min(_PART, count - start)))))
        print(f"{min(start + _PART, count)} of {count} encoded in {time.monotonic() - started:.0f} s", flush=True)
    return Encoded(
        [rows for part in parts for rows in part.rows],
        torch.cat([part.complete for part in parts]),
        [kind for part in parts for kind in part.kinds],
    )


def batches(data: Encoded, rng: random.Random | None = None) -> Iterable[tuple[Tensor, list[int], Tensor]]:
    """Rows [B, P, d], counts, labels [B]: of similar lengths, in random order where there is a generator."""
    order = sorted(range(len(data.rows)), key=lambda i: (len(data.rows[i]) // 8, 0 if rng is None else rng.random()))
    groups = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    if rng is not None:
        rng.shuffle(groups)
    for group in groups:
        rows = [data.rows[i].float() for i in group]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        yield padded, [len(part) for part in rows], data.complete[group].float()


@torch.inference_mode()
def predict(head: TurnCompletionHead, data: Encoded) -> tuple[Tensor, Tensor]:
    """Logits and labels, both [N]."""
    parts = [(head(rows, counts), labels) for rows, counts, labels in batches(data)]
    return torch.cat([logits for logits, _ in parts]), torch.cat([labels for _, labels in parts])


def disturbed(rows: Tensor, counts: list[int], scale: Tensor, rng: random.Random) -> tuple[Tensor, list[int]]:
    """Noise, dropped values and a dropped beginning, against learning the synthesizers' voices by heart."""
    first = rng.randrange(max(1, min(counts) // 2)) if rng.random() < 0.5 else 0
    rows = rows[:, first:]
    noise = torch.cat([_ROW_NOISE * scale * torch.randn(rows.shape[-1] - PROSODY), 0.1 * torch.randn(PROSODY)])
    rows = rows + noise + _ROW_NOISE * scale * torch.randn_like(rows)
    return F.dropout(rows, _ROW_DROPOUT), [count - first for count in counts]


def weights_of(counts: Sequence[int], labels: Tensor) -> Tensor:
    """[B]: turns of less than a second count more when complete, and less when not: callers answer in a word more often
    than they pause behind the first word of a sentence."""
    short = torch.tensor([count < _SHORT_ROWS for count in counts])
    return torch.where(short, torch.where(labels > 0.5, _SHORT_COMPLETE, _SHORT_INCOMPLETE), 1.0)


def train(data: Encoded, held_out: Encoded, epochs: int, seed: int) -> TurnCompletionHead:
    """AdamW with a cosine; gives the weights of the epoch with the least held-out loss."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    head = TurnCompletionHead(data.rows[0].shape[1] - PROSODY)
    optimiser = torch.optim.AdamW(head.parameters(), 2e-3, weight_decay=0.05)
    steps = epochs * math.ceil(len(data.rows) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps, pct_start=0.1)
    scale = torch.cat(data.rows[:200])[:, :-PROSODY].float().std()
    best, weights = math.inf, head.state_dict()
    for epoch in range(epochs):
        losses = []
        for rows, counts, labels in batches(data, rng):
            logits = head(*disturbed(rows, counts, scale, rng))
            targets = (1 - 2 * _SMOOTHING) * labels + _SMOOTHING
            loss = F.binary_cross_entropy_with_logits(logits, targets, weight=weights_of(counts, labels))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        logits, labels = predict(head.eval(), held_out)
        found = float(F.binary_cross_entropy_with_logits(logits, labels))
        if found < best:
            best, weights = found, {name: tensor.clone() for name, tensor in head.state_dict().items()}
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}  {summary(logits, labels)}", flush=True)
        head.train()
    head.load_state_dict(weights)
    return head.eval()


def calibrate(head: TurnCompletionHead, held_out: Encoded) -> float:
    """Scale the logits to the highest held-out likelihood, and lower them by `_MARGIN`; gives the temperature."""
    logits, labels = predict(head, held_out)
    temperatures = np.geomspace(0.5, 5.0, 60)
    losses = [float(F.binary_cross_entropy_with_logits(logits / t, labels)) for t in temperatures]
    best = float(temperatures[int(np.argmin(losses))])
    with torch.no_grad():
        head.out.weight /= best
        head.out.bias.copy_(head.out.bias / best - _MARGIN)
    return best


def summary(logits: Tensor, labels: Tensor) -> str:
    """Area under the curve, and what `semantic_vad` at ``auto`` makes of it: splits in pauses of 1 s are incomplete
    turns over 0.46, and complete ones under 0.77 wait for more than 0.68 s."""
    p, complete = torch.sigmoid(logits), labels > 0.5
    order = p.argsort()
    ranks = torch.empty(len(p)).scatter_(0, order, torch.arange(1.0, len(p) + 1))
    n, m = int(complete.sum()), int((~complete).sum())
    area = (float(ranks[complete].sum()) - n * (n + 1) / 2) / (n * m)
    split, slow = float((p[~complete] > 0.46).float().mean()), float((p[complete] < 0.77).float().mean())
    loss = float(F.binary_cross_entropy_with_logits(logits, labels))
    return f"auc {area:.3f}, incomplete over 0.46: {split:.1%}, complete under 0.77: {slow:.1%}, loss {loss:.3f}"


def report(head: TurnCompletionHead, data: Encoded) -> None:
    """Mean probability and share over 0.46 of each kind of example."""
    by_length = sorted(range(len(data.rows)), key=lambda i: (len(data.rows[i]) // 8, 0))
    p = torch.sigmoid(predict(head, data)[0])
    for kind in dict.fromkeys(data.kinds):
        found = p[torch.tensor([data.kinds[i] == kind for i in by_length])]
        over = float((found > 0.46).float().mean())
        print(f"{kind:16s} {len(found):5d}  mean {float(found.mean()):.2f}  over 0.46 {over:.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=turn_ends.OUT)
    parser.add_argument("--out", type=Path, help="the head's file (default: in the checkpoint)")
    parser.add_argument("--rows", type=Path, help="keep the encoded examples in this file, or take them from there")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = load_config(args.checkpoint)
    encoder, n_mels = load_modules(args.checkpoint, config).encoder, config.audio.n_mels
    started = time.monotonic()
    if args.rows is not None and args.rows.exists():
        data, held_out = (Encoded(*parts) for parts in torch.load(args.rows, weights_only=True))
    else:
        turns = [turn for path in sorted(args.data.glob("train-*.npz")) for turn in turn_ends.read(path)]
        held_out = encode_all(encoder, n_mels, Composer(turn_ends.read(args.data / "held-out.npz"), 1), _HELD_OUT, 0.3)
        data = encode_all(encoder, n_mels, Composer(turns, args.seed), args.examples)
        if args.rows is not None:
            torch.save([[part.rows, part.complete, part.kinds] for part in (data, held_out)], args.rows)
    print(f"{len(data.rows)} examples encoded in {time.monotonic() - started:.0f} s", flush=True)
    head = train(data, held_out, args.epochs, args.seed)
    temperature = calibrate(head, held_out)
    print(f"temperature {temperature:.2f}  {summary(*predict(head, held_out))}")
    report(head, held_out)
    out = args.out or args.checkpoint / HEAD_FILE
    save_file({name: tensor.half().contiguous() for name, tensor in head.state_dict().items()}, out)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
