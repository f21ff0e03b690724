"""Fit a trained language model to a new encoder: its adapter learns to give on the new rows what the old one gives.

A better encoder then needs no new language model: minutes later it understands as before, or better, and
`train_lm.py join` goes on from there.

    python scripts/nano/train/renew_adapter.py --mind work/nano/mind/grown.pt --old realtime/checkpoints/nano \\
        --turns work/nano/ears/turns --features work/nano/ears/features --encoder work/nano/ears/encoder.pt \\
        --out work/nano/mind/renewed.pt

--old is the checkpoint whose ears and adapter set the example; where `grow.py` made the decoder wider, what they never
gave is to be zero. Both hear the clips in --turns: the new encoder as --features say. The table of pseudo audio, which
no checkpoint holds, is fitted to the same example by least squares.

Dependencies: torch, numpy.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.encoder import Adapter, encode_batch, pad_mels
from realtime.model.features import log_mel
from realtime.model.speech_model import SpeechModel
from scripts.nano.data import phones
from scripts.nano.data.user_speech import augmented
from scripts.nano.train.sizes import AUDIO
from scripts.nano.train.train_encoder import PhoneRecogniser, load

HELD_OUT = 200
RATE = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Rows [P, d] of the new encoder, and what the old ears gave of the same clip [n, D]."""

    rows: Tensor
    wanted: Tensor


@torch.inference_mode()
def old_features(model: SpeechModel, clips: Sequence[dict[str, Any]]) -> list[Tensor]:
    """What a served checkpoint makes of clips, each as if alone."""
    n_mels = model.config.audio.n_mels
    mel, frames = pad_mels([log_mel(torch.from_numpy(augmented(clip)), n_mels) for clip in clips])
    batch = encode_batch(model.encoder, model.adapter, mel, frames)
    return [x[:n].half() for x, n in zip(batch.features, batch.feature_counts, strict=True)]


def examples(model: SpeechModel, turns: Path, features: Path, most: int) -> list[Example]:
    """Hear up to `most` clips with the old ears. Raises ValueError where the folders do not hold the same clips."""
    found: list[Example] = []
    for path in sorted(features.glob("train-????.pt")):
        heard = {clip["number"]: clip for clip in torch.load(path, weights_only=True)}
        clips = torch.load(turns / path.name, weights_only=True)
        clips.sort(key=lambda clip: len(clip["pcm"]))
        for start in range(0, len(clips), 16):
            part = clips[start : start + 16]
            for clip, wanted in zip(part, old_features(model, part), strict=True):
                rows = heard[clip["number"]]["enc"]
                if abs(len(rows) - 2 * len(wanted)) > 2:
                    raise ValueError(f"{path}: clip {clip['number']} is not the one in {turns}: make the features anew")
                found.append(Example(rows, wanted))
        if len(found) >= most:
            break
    return found


def difference(new: Adapter, part: Sequence[Example]) -> Tensor:
    """Mean square difference of what the adapter gives from what is wanted, as a share of that one's variance."""
    given = new(nn.utils.rnn.pad_sequence([e.rows.float() for e in part], batch_first=True))
    target = torch.cat([e.wanted.float() for e in part])
    ours = torch.cat([x[: len(e.wanted)] for x, e in zip(given, part, strict=True)])
    missing = ours.shape[1] - target.shape[1]
    loss = (ours - F.pad(target, (0, missing))).square().sum(1).mean()
    return loss / (target.var() * target.shape[1])


@torch.inference_mode()
def pseudo_table(ears: PhoneRecogniser, part: Sequence[Example], width: int) -> Tensor:
    """The table [2, 40, D] whose expectation under the recogniser's posteriors comes closest to what is wanted."""
    posteriors, wanted = [], []
    for e in part:
        logits = ears.heard(e.rows.float()[None])[0]
        pairs = logits.softmax(-1).view(-1, 2, phones.CLASSES).mean(1)  # 25 Hz
        pairs = F.pad(pairs, (0, 0, 0, 2 * len(e.wanted) - len(pairs)))[: 2 * len(e.wanted)]
        posteriors.append(pairs.reshape(len(e.wanted), -1))
        wanted.append(e.wanted.float())
    x, y = torch.cat(posteriors), torch.cat(wanted)
    gram = x.T @ x + 1e-3 * len(x) * torch.eye(x.shape[1]) / x.shape[1]
    table = torch.linalg.solve(gram, x.T @ y)
    print(f"pseudo audio: {float((x @ table - y).square().mean() / y.var()):.3f} of the variance left")
    return F.pad(table, (0, width - table.shape[1])).view(2, phones.CLASSES, width)


def main() -> None:
    """Train the adapter and write the whole mind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mind", type=Path, required=True, help="checkpoint of train_lm.py or grow.py")
    parser.add_argument("--old", type=Path, required=True, help="checkpoint folder with the old ears")
    parser.add_argument("--turns", type=Path, required=True, help="clips of user_speech.py")
    parser.add_argument("--features", type=Path, required=True, help="their rows of the new encoder")
    parser.add_argument("--encoder", type=Path, required=True, help="encoder.pt that made them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=6000, help="clips")
    parser.add_argument("--minutes", type=float, default=3.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    state = torch.load(args.mind, weights_only=True, map_location="cpu")
    new = Adapter(AUDIO)
    both = examples(SpeechModel.load(args.old), args.turns, args.features, args.most)
    rng.shuffle(both)
    held, both = both[:HELD_OUT], both[HELD_OUT:]
    optimizer = torch.optim.AdamW(new.parameters(), lr=RATE, betas=(0.9, 0.97), weight_decay=0.0)
    began, step = time.time(), 0
    while (done := (time.time() - began) / (args.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20, max(0.02, (1 - done) / 0.7))
        if step % 500 == 0:
            print(
                f"step {step}: {float(difference(new, held).detach()):.4f} of the variance left (held-out)", flush=True
            )
        loss = difference(new, rng.sample(both, 24))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step += 1
    print(f"step {step}: {float(difference(new, held).detach()):.4f} of the variance left (held-out clips)")
    state["mind"] |= {f"adapter.{k}": x for k, x in new.state_dict().items()}
    state["mind"]["pseudo"] = pseudo_table(load(args.encoder), both[:2000], state["mind"]["pseudo"].shape[2])
    torch.save(state, args.out)


if __name__ == "__main__":
    main()
