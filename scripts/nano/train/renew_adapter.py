"""Fit a trained language model to a new encoder: its adapter learns to give on the new rows what the old one gives.

A better encoder then needs no new language model: minutes later it understands as before, or better, and
`train_lm.py join` goes on from there.

    python scripts/nano/train/renew_adapter.py --mind work/nano/mind/join.pt --old work/nano/ears/features \\
        --new work/nano/ears/new/features --out work/nano/mind/renewed.pt

Both folders hold the same shards, encoded by user_speech.py with the old and with the new encoder.

Dependencies: torch, numpy.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.encoder import Adapter
from scripts.nano.data.conversations import Clip, load_clips
from scripts.nano.train.lm import AUDIO_CONFIG, padded_rows

Pair = tuple[Clip, Clip]
HELD_OUT = 200
RATE = 2e-3


def pairs(old: Sequence[Path], new: Sequence[Path]) -> list[Pair]:
    """Clips as both encoders heard them.

    Raises ValueError where the folders do not hold the same clips.
    """
    both = list(zip(load_clips(old), load_clips(new), strict=True))
    for a, b in both:
        if (a.asked, a.voice, a.heard.count) != (b.asked, b.voice, b.heard.count):
            raise ValueError(
                f"the clip {a.asked.text!r} ({a.voice}) meets {b.asked.text!r} ({b.voice}): "
                "--old and --new must name folders made of the same shards, in the same order"
            )
    return both


def difference(old: Adapter, new: Adapter, part: Sequence[Pair]) -> Tensor:
    """Mean square difference of what the adapters give, as a share of the variance."""
    counts = [clip.heard.count for clip, _ in part]
    with torch.no_grad():
        wanted = old(padded_rows([a.heard for a, _ in part]))
    given = new(padded_rows([b.heard for _, b in part]))
    target = torch.cat([rows[:n] for rows, n in zip(wanted, counts, strict=True)])
    return (
        torch.cat([rows[:n] for rows, n in zip(given, counts, strict=True)]) - target
    ).square().mean() / target.var()


def main() -> None:
    """Train the adapter and write the whole mind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mind", type=Path, required=True, help="checkpoint of train_lm.py, for the old encoder")
    parser.add_argument("--old", type=Path, nargs="+", required=True, help="folders of rows of the old encoder")
    parser.add_argument("--new", type=Path, nargs="+", required=True, help="folders of rows of the new encoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = random.Random(args.seed)
    state = torch.load(args.mind, weights_only=True, map_location="cpu")
    weights = {k.removeprefix("adapter."): x for k, x in state["mind"].items() if k.startswith("adapter.")}
    old, new = Adapter(AUDIO_CONFIG), Adapter(AUDIO_CONFIG)
    old.load_state_dict(weights)
    new.load_state_dict(weights)
    both = pairs(args.old, args.new)
    rng.shuffle(both)
    held, both = both[:HELD_OUT], both[HELD_OUT:]
    optimizer = torch.optim.AdamW(new.parameters(), lr=RATE, betas=(0.9, 0.97), weight_decay=0.0)
    began, step = time.time(), 0
    while (done := (time.time() - began) / (args.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20, max(0.02, (1 - done) / 0.7))
        if step % 500 == 0:
            print(
                f"step {step}: {float(difference(old, new, held).detach()):.4f} of the variance left (held-out clips)",
                flush=True,
            )
        loss = difference(old, new, rng.sample(both, 24))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
    print(f"step {step}: {float(difference(old, new, held).detach()):.4f} of the variance left (held-out clips)")
    state["mind"] |= {f"adapter.{k}": x for k, x in new.state_dict().items()}
    torch.save(state, args.out)


if __name__ == "__main__":
    main()
