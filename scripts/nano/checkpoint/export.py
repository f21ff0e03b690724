"""Assemble the checkpoint folder of nano from what the training scripts left: config, weights, tokenizer, profile.

    python scripts/nano/checkpoint/export.py --mind work/nano/mind/join.pt --encoder work/nano/ears/encoder.pt \
        --tokenizer work/nano/mind/ckpt --out realtime/checkpoints/nano

The folder has the official layout (half precision, two shards and their index). The voice (token2wav/, voices/) is
written by voice_export.py into the same folder.

Dependencies: torch, safetensors.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano import domain
from scripts.nano.train.sizes import model_config
from scripts.nano.train.train_encoder import read_weights

SHARD_BYTES = 16_000_000
TOKENIZER_FILES = ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json")
PROFILE: dict[str, Any] = {
    "name": "nano",
    "instructions": domain.INSTRUCTIONS,
    "opening": "hello",
    "sampling": {
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "max_tokens": 3072,
        "call_confidence": 0.3,
    },
    "voice": "default",
    "flow_steps": 6,
    "max_context_tokens": 4096,
}


def checkpoint_tensors(mind: dict[str, Tensor], ears: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dicts of train_lm.py and train_encoder.py -> tensors with the official names."""
    tensors = {f"model.{k.removeprefix('lm.')}": x for k, x in mind.items() if k.startswith("lm.")}
    tensors |= {k: x for k, x in mind.items() if k.startswith("adapter.")}
    tensors |= {k: x for k, x in ears.items() if k.startswith("encoder.")}
    return {name: x.half().contiguous() for name, x in tensors.items()}


def write_weights(tensors: dict[str, Tensor], out: Path) -> None:
    """Write shards of at most SHARD_BYTES, and the index."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, x in tensors.items():
        if size + x.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = x
        size += x.nbytes
    for old in out.glob("model*.safetensors"):
        old.unlink()
    where: dict[str, str] = {}
    for k, shard in enumerate(shards, 1):
        file = f"model-{k:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, out / file, metadata={"format": "pt"})
        (out / file).chmod(0o644)
        where |= dict.fromkeys(shard, file)
    total = sum(x.nbytes for x in tensors.values())
    write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})


def write_json(path: Path, content: object) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mind", type=Path, required=True, help="checkpoint of train_lm.py")
    parser.add_argument("--encoder", type=Path, required=True, help="checkpoint of train_encoder.py")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder written by build_tokenizer.py")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for file in TOKENIZER_FILES:
        shutil.copy(args.tokenizer / file, args.out / file)
    mind = torch.load(args.mind, weights_only=True)["mind"]
    ears = read_weights(args.encoder)
    tensors = checkpoint_tensors(mind, ears)
    write_weights(tensors, args.out)
    config = model_config(len(tensors["model.embed_tokens.weight"]))
    write_json(args.out / "config.json", config.to_dict())
    write_json(args.out / "profile.json", PROFILE)
    parameters = sum(x.numel() for x in tensors.values())
    print(f"{args.out}: {len(tensors)} tensors, {parameters} parameters")


if __name__ == "__main__":
    main()
