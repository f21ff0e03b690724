"""Pack what the language model's training needs for a borrowed machine without network, and unpack what it brings back.

    python scripts/nano/train/gpu_window.py pack --work work/nano/mind --start work/nano/mind/join.pt \
        --features work/nano/ears/features --out gpu
    bash scripts/nano/train/gpu_window.sh gpu out 8         # there: folder, results, minutes
    python scripts/nano/train/gpu_window.py unpack out --mind work/nano/mind/join.pt

`pack` keeps to `--most` MB: weights in half precision, speech codes, and as many clips as fit, their rows in 8 bits.
`split` and `unpack` turn weights into files of at most 15 MB and back; the optimizer's state is not carried.

Dependencies: torch, numpy.
"""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

MB = 1_000_000
PART_BYTES = 15 * MB


def pack(args: argparse.Namespace) -> None:
    """Write OUT/{ckpt, codes*.jsonl, start.pt, features/*.pt}."""
    args.out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(args.work / "ckpt", args.out / "ckpt", dirs_exist_ok=True)
    for path in sorted(args.work.glob("codes*.jsonl")):
        shutil.copy(path, args.out)
    torch.save(halved(torch.load(args.start, weights_only=True)), args.out / "start.pt")
    folder = args.out / "features"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    room = args.most * MB - sum(f.stat().st_size for f in args.out.rglob("*") if f.is_file())
    shards = [path for source in args.features for path in sorted(source.glob("*.pt"))]
    random.Random(args.seed).shuffle(shards)
    clips = 0
    for number, path in enumerate(shards):
        items = [small(item) for item in torch.load(path, weights_only=False)]
        packed = folder / f"train-{number:04d}.pt"
        torch.save(items, packed)
        room -= packed.stat().st_size
        if room < 0:
            packed.unlink()
            break
        clips += len(items)
    size = sum(f.stat().st_size for f in args.out.rglob("*") if f.is_file()) / MB
    print(f"{args.out}: {clips} clips of {number + 1} of {len(shards)} shards, {size:.1f} MB")


def halved(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of train_lm.py without its optimizer, in half precision."""
    return {"mind": {name: x.half() for name, x in state["mind"].items()}, "step": 0, "spent": 0.0}


def small(item: dict[str, Any]) -> dict[str, Any]:
    """A clip with its rows in 8 bits: `enc` int8, `scale` of each row."""
    rows = np.asarray(item["enc"], dtype=np.float32)
    scale = np.maximum(np.abs(rows).max(1, keepdims=True), 1e-6) / 127
    return item | {
        "enc": torch.from_numpy(np.round(rows / scale).astype(np.int8)),
        "scale": torch.from_numpy(scale.astype(np.float16)),
    }


def split(args: argparse.Namespace) -> None:
    """Write the weights of a checkpoint as OUT/mind-K.pt of at most PART_BYTES each."""
    args.out.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, x in halved(torch.load(args.mind, weights_only=True, map_location="cpu"))["mind"].items():
        if size + x.nbytes > PART_BYTES and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][name] = x.clone()
        size += x.nbytes
    for number, part in enumerate(parts):
        torch.save(part, args.out / f"mind-{number}.pt")


def unpack(args: argparse.Namespace) -> None:
    """Put the files of `split` together to a checkpoint that train_lm.py starts from and export.py reads."""
    mind: dict[str, torch.Tensor] = {}
    paths = sorted(args.folder.glob("mind-*.pt"))
    if not paths:
        raise SystemExit(f"{args.folder} holds no mind-*.pt: the window brought nothing back")
    for path in paths:
        mind |= {name: x.float() for name, x in torch.load(path, weights_only=True).items()}
    torch.save({"mind": mind, "step": 0, "spent": 0.0}, args.mind)
    print(f"{args.mind}: {len(mind)} tensors")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("pack")
    command.add_argument("--work", type=Path, required=True)
    command.add_argument("--start", type=Path, required=True, help="checkpoint to go on from")
    command.add_argument("--features", type=Path, nargs="+", required=True)
    command.add_argument("--most", type=float, default=58.0, help="MB in all")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=pack)
    command = commands.add_parser("split")
    command.add_argument("mind", type=Path)
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=split)
    command = commands.add_parser("unpack")
    command.add_argument("folder", type=Path)
    command.add_argument("--mind", type=Path, required=True)
    command.set_defaults(run=unpack)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
