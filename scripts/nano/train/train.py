"""Train nano from nothing to a checkpoint, stage by stage.

    python scripts/nano/train/train.py --stage all                  # goes on where it was stopped, at any moment
    python scripts/nano/train/train.py --stage join --device cuda   # one stage, and whatever it still needs
    python scripts/nano/train/train.py --smoke                      # all stages with next to no data, in minutes

Amounts stand in train.toml. Each stage is one or more of this folder's scripts in a process of its own; those go on by
themselves, and a stage that ended with the same amounts is left out. Stages run in the order of `STAGES`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SIZES = ROOT / "realtime/checkpoints/nano/token2wav/flow.yaml"
Command = list[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """Folders and amounts. `amounts` is a section of train.toml."""

    amounts: Mapping[str, Any]
    device: str

    @property
    def work(self) -> Path:
        """Where everything in between lies."""
        return ROOT / self.amounts["work"]

    @property
    def checkpoint(self) -> Path:
        """The folder that is made."""
        return ROOT / self.amounts["checkpoint"]

    @property
    def mind(self) -> Path:
        """Texts, codes and the language model's checkpoints."""
        return self.work / "mind"

    @property
    def ears(self) -> Path:
        """Clips and the encoder."""
        return self.work / "ears"

    @property
    def voice(self) -> Path:
        """Speech with audio, flow and HiFT."""
        return self.work / "voice"

    def script(self, name: str, *options: object) -> Command:
        """Command line of one of nano's scripts: "data/voice_data", or a name of this folder."""
        path = HERE.parent / name if "/" in name else HERE / name
        return [sys.executable, f"{path}.py", *map(str, options)]

    def lm(self, stage: str, start: str | None, *options: object, name: str | None = None) -> Command:
        """Command line of train_lm.py; `name` of the checkpoint that it leaves, if not the stage."""
        begin = ["--start", self.mind / f"{start}.pt"] if start else []
        minutes = self.amounts[f"{name or stage}_minutes"]
        common = ["--work", self.mind, "--device", self.device, "--minutes", minutes, "--name", name or stage]
        return self.script("train_lm", stage, *common, *begin, *options, *self.compiled)

    @property
    def compiled(self) -> list[str]:
        """The option that compiles, where it is asked for."""
        return ["--compile"] if self.amounts["compile"] else []


def _texts(plan: Plan) -> list[Command]:
    a = plan.amounts
    limit = ["--replies", str(a["replies"])]
    reading = ["--words", a["reading_words"], "--sentences", a["reading_sentences"]]
    return [
        [sys.executable, "-m", "scripts.nano.domain", "--write", str(plan.mind), *limit],
        plan.script("data/reading_texts", plan.mind / "reading.txt", *reading),
    ]


def _tokenizer(plan: Plan) -> list[Command]:
    amounts = ["--merges", plan.amounts["merges"], "--scenes", plan.amounts["tokenizer_scenes"]]
    return [plan.script("checkpoint/build_tokenizer", "--out", plan.mind / "ckpt", *amounts)]


def _codes(plan: Plan) -> list[Command]:
    return [
        plan.script("data/voice_data", "codes", plan.mind / texts, plan.mind / codes)
        for texts, codes in (("replies.txt", "codes.jsonl"), ("reading.txt", "codes-reading.jsonl"))
    ]


def _speech(plan: Plan) -> list[Command]:
    a = plan.amounts
    amounts = ["--minutes", a["voice_minutes"], "--shard", a["voice_shard"]]
    return [plan.script("data/voice_data", "shards", plan.voice / "data", *amounts)]


def _flow(plan: Plan) -> list[Command]:
    folders = ["--data", plan.voice / "data", "--runs", plan.voice]
    return [plan.script("train_flow", *folders, "--steps", plan.amounts["flow_steps"])]


def _hift(plan: Plan) -> list[Command]:
    folders = ["--data", plan.voice / "data", "--runs", plan.voice]
    return [plan.script("train_hift", *folders, "--steps", plan.amounts["hift_steps"])]


def _polish(plan: Plan) -> list[Command]:
    folders = ["--data", plan.voice / "data", "--runs", plan.voice]
    return [plan.script("polish_hift", *folders, "--steps", plan.amounts["polish_steps"])]


def _utterances(plan: Plan) -> list[Command]:
    a = plan.amounts
    shard = ["--out", plan.ears / "data", "--shard", a["utterance_shard"]]
    return [
        plan.script("data/input_speech", "generate", *shard, "--split", split, "--utterances", a["utterances"])
        for split in ("seen", "held-out")
    ]


def _encoder(plan: Plan) -> list[Command]:
    a, start = plan.amounts, plan.ears / "whisper.pt"
    folders = ["--out", plan.ears, "--turns", plan.ears / "turns", "--data", plan.ears / "data"]
    minutes = ["--minutes", a["encoder_minutes"], "--head-minutes", a["head_minutes"]]
    return [
        plan.script("whisper_encoder", "--out", start),
        plan.script("train_encoder", *folders, "train", "--start", start, *minutes, *plan.compiled),
    ]


def _clips(plan: Plan) -> list[Command]:
    a = plan.amounts
    amounts = ["--utterances", a["clips"], "--shard", a["clip_shard"]]
    few = ["--count", a["evaluation"]] if a["evaluation"] else []
    return [
        plan.script("data/user_speech", "--out", plan.ears, "speak", *amounts),
        plan.script("data/user_speech", "--out", plan.ears, "sets", *few),
    ]


def _features(plan: Plan) -> list[Command]:
    return [plan.script("data/user_speech", "--out", plan.ears, "features", "--encoder", plan.ears / "encoder.pt")]


def _lengths(plan: Plan) -> list[object]:
    return ["--budget", plan.amounts["budget"], "--longest", plan.amounts["longest"]]


def _pseudo(plan: Plan) -> list[Command]:
    return [plan.lm("pseudo", None, "--lr", plan.amounts["pseudo_rate"], *_lengths(plan))]


def _exercise(plan: Plan, name: str, start: str, *shares: object) -> list[Command]:
    """Almost one thing only, in small batches, at a rate that hardly falls."""
    a = plan.amounts
    steps = ["--lr", a["exercise_rate"], "--fall", 0.02, "--budget", min(1024, a["budget"]), "--longest", a["longest"]]
    return [plan.lm("pseudo", start, *shares, *steps, "--written", 0.6, name=name)]


def _lookup(plan: Plan) -> list[Command]:
    return _exercise(plan, "lookup", "pseudo", "--lists", 0.75, "--counts", 0.1)


def _counts(plan: Plan) -> list[Command]:
    return _exercise(plan, "counts", "lookup", "--lists", 0.2, "--counts", 0.42, "--copy", 0.13)


def _adapter(plan: Plan) -> list[Command]:
    given = ["--features", plan.ears / "features", "--encoder", plan.ears / "encoder.pt"]
    return [plan.lm("adapter", "counts", *given)]


def _join(plan: Plan) -> list[Command]:
    shares = ["--copy", 0.06, "--lists", 0.02, "--counts", 0.03, "--drills", 0.14, "--outside", 0.08, "--written", 0.5]
    shares += ["--transcribe", 0.2, "--read", 0.22, "--greet", 0.02]
    rate = ["--lr", plan.amounts["join_rate"], "--fall", 0.85]
    return [plan.lm("join", "adapter", "--features", plan.ears / "features", *rate, *shares, *_lengths(plan))]


def _export(plan: Plan) -> list[Command]:
    sizes = plan.checkpoint / "token2wav/flow.yaml"
    if sizes != SIZES:
        sizes.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SIZES, sizes)
    weights = ["--mind", plan.mind / "join.pt", "--encoder", plan.ears / "encoder.pt"]
    return [
        plan.script("checkpoint/export", *weights, "--tokenizer", plan.mind / "ckpt", "--out", plan.checkpoint),
        plan.script("checkpoint/voice_export", "--folder", plan.checkpoint, "--runs", plan.voice),
    ]


STAGES: dict[str, Callable[[Plan], list[Command]]] = {
    "texts": _texts,
    "tokenizer": _tokenizer,
    "codes": _codes,
    "speech": _speech,
    "flow": _flow,
    "hift": _hift,
    "polish": _polish,
    "utterances": _utterances,
    "clips": _clips,
    "encoder": _encoder,
    "features": _features,
    "pseudo": _pseudo,
    "lookup": _lookup,
    "counts": _counts,
    "adapter": _adapter,
    "join": _join,
    "export": _export,
}
NEEDS: dict[str, tuple[str, ...]] = {
    "tokenizer": (),
    "codes": ("texts",),
    "speech": (),
    "flow": ("speech",),
    "hift": ("speech",),
    "polish": ("hift",),
    "encoder": ("utterances", "clips"),
    "features": ("clips", "encoder"),
    "pseudo": ("tokenizer", "codes"),
    "lookup": ("pseudo",),
    "counts": ("lookup",),
    "adapter": ("counts", "features"),
    "join": ("adapter",),
    "export": ("join", "flow", "polish"),
}


def needed(stage: str) -> list[str]:
    """The stages that lead to `stage`, itself last, in the order of `STAGES`; 'all' is every one."""
    if stage == "all":
        return list(STAGES)
    found = {stage}
    waiting = [stage]
    while waiting:
        for before in NEEDS.get(waiting.pop(), ()):
            if before not in found:
                found.add(before)
                waiting.append(before)
    return [name for name in STAGES if name in found]


def run(plan: Plan, stage: str) -> None:
    """Run a stage unless it ended before with the same commands. Raises CalledProcessError when a script fails."""
    commands = STAGES[stage](plan)
    mark = hashlib.sha256(json.dumps([c[1:] for c in commands]).encode()).hexdigest()
    done = plan.work / "done" / stage
    if done.exists() and done.read_text() == mark:
        print(f"{stage}: done before", flush=True)
        return
    began = time.time()
    for command in commands:
        print(f"{stage}: {' '.join(command[1:])}", flush=True)
        subprocess.run(command, check=True, cwd=ROOT)
    done.parent.mkdir(parents=True, exist_ok=True)
    part = done.with_suffix(".part")
    part.write_text(mark)
    part.rename(done)
    print(f"{stage}: {time.time() - began:.0f} s", flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--config", type=Path, default=HERE / "train.toml")
    parser.add_argument("--smoke", action="store_true", help="with the amounts of [smoke]")
    parser.add_argument("--device", default="cpu", help="of the language model: cpu or cuda")
    args = parser.parse_args()
    amounts = tomllib.loads(args.config.read_text("utf-8"))["smoke" if args.smoke else "full"]
    plan = Plan(amounts, args.device)
    for stage in needed(args.stage):
        run(plan, stage)


if __name__ == "__main__":
    main()
