"""Make a trained decoder wider without forgetting: the wide one computes the same until it learns.

    python scripts/nano/train/grow.py --checkpoint realtime/checkpoints/nano --out work/nano/mind/grown.pt

Everything new either reads and is not read (its outputs are weighted by zero) or is read and holds zero, so that no
logit changes, and gradients reach it from the first step on. Sizes are those of sizes.py. The adapter, for an encoder
of another width, starts at random: `renew_adapter.py` teaches it.

Dependencies: torch, transformers, safetensors, and this repository's packages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.config import ModelConfig
from scripts.nano.data.sequences import Vocabulary
from scripts.nano.train.lm import Mind
from scripts.nano.train.sizes import of_checkpoint

SPREAD = 0.02
"""Standard deviation of the weights by which new parts read what is there."""
WRITERS = ("o_proj.weight", "down_proj.weight", "embed_tokens.weight")
"""Matrices that write into the residual stream: where they are new they hold zero."""


def checkpoint_mind(folder: Path) -> tuple[dict[str, Tensor], ModelConfig]:
    """State dict, as `Mind` has it but for `pseudo`, and sizes of an exported checkpoint."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors |= {name: x.float() for name, x in load_file(path).items()}
    state = {f"lm.{k.removeprefix('model.')}": x for k, x in tensors.items() if k.startswith("model.")}
    return state | {k: x for k, x in tensors.items() if k.startswith("adapter.")}, of_checkpoint(folder)


@torch.no_grad()
def grown(old: Mapping[str, Tensor], mind: Mind) -> dict[str, Tensor]:
    """The decoder `old` at the sizes of `mind`; a fresh adapter and pseudo table, which `mind` has."""
    state = {name: x.clone() for name, x in mind.state_dict().items()}
    width = old["lm.norm.weight"].numel()
    ratio = (width / mind.lm.norm.weight.numel()) ** 0.5  # RMSNorm divides by the root of a mean over more numbers
    for name, x in old.items():
        if not name.startswith("lm."):
            continue
        new = state[name]
        if "norm" in name:
            new.fill_(float(x.mean()) * ratio)
            new[: len(x)] = x * ratio
        elif x.ndim == 1:
            new.zero_()
            new[: len(x)] = x
        else:
            new.zero_() if name.endswith(WRITERS) else new.normal_(0.0, SPREAD)
            new[: x.shape[0], : x.shape[1]] = x
            if name.endswith(WRITERS[:2]):
                new[x.shape[0] :].zero_()
                new[:, x.shape[1] :].zero_()
    return state


def main() -> None:
    """Write the wide decoder, and how far its answers are from the narrow one's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    vocabulary = Vocabulary(args.checkpoint)
    old, sizes = checkpoint_mind(args.checkpoint)
    narrow, wide = Mind(vocabulary, sizes), Mind(vocabulary)
    narrow.load_state_dict(old, strict=False)
    wide.load_state_dict(grown(old, wide))
    ids = torch.randint(0, vocabulary.text_size, (2, 60))
    with torch.inference_mode():
        logits = [m.lm(ids).last_hidden_state @ m.lm.embed_tokens.weight.T for m in (narrow, wide)]
    sizes_of = [sum(p.numel() for p in m.lm.parameters()) for m in (narrow, wide)]
    apart, most = float((logits[0] - logits[1]).abs().max()), float(logits[0].abs().max())
    print(f"decoder: {sizes_of[0]} -> {sizes_of[1]} parameters; logits up to {most:.2g} differ by {apart:.2g} at most")
    torch.save({"mind": wide.state_dict(), "step": 0, "spent": 0.0}, args.out)


if __name__ == "__main__":
    main()
