"""Write the weighted mean of two exported nanos: decoder and adapter of one line of training often gain by it.

    python scripts/nano/train/average.py FOLDER OTHER --share 0.8 --out MEAN

Everything but the tensors of model-*.safetensors is FOLDER's. Dependencies: torch, safetensors.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def average(folder: Path, other: Path, share: float, out: Path) -> None:
    """Write `folder` with (1 - share) of its own weights and `share` of those of `other` to `out`."""
    shutil.copytree(folder, out)
    for path in sorted(folder.glob("model-*.safetensors")):
        own, theirs = load_file(path), load_file(other / path.name)
        if own.keys() != theirs.keys():
            raise SystemExit(f"{path.name} of {folder} and of {other} hold different tensors")
        mean = {k: torch.lerp(x.float(), theirs[k].float(), share).to(x.dtype) for k, x in own.items()}
        save_file(mean, out / path.name, metadata={"format": "pt"})


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the other folder's weights")
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    arguments = parser.parse_args()
    average(arguments.folder, arguments.other, arguments.share, arguments.out)


if __name__ == "__main__":
    main()
