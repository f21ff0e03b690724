"""Train nano's language model, and the adapter that lets it hear.

Stages, each resumable (its own checkpoint, written every few minutes) and limited by wall-clock minutes:

    pseudo   text turns and pseudo audio -> spoken and written replies; no recording is needed
    adapter  the adapter learns to turn encoder rows into the vectors of the pseudo audio
    join     adapter and language model together on encoder rows (the encoder is fixed)

    python scripts/nano/train/train_lm.py pseudo --work work/nano/mind --minutes 45
    python scripts/nano/train/train_lm.py adapter --work work/nano/mind --features work/nano/ears/features --minutes 3
    python scripts/nano/train/train_lm.py join --work work/nano/mind --features work/nano/ears/features --minutes 30

Dependencies: torch, transformers, numpy, tokenizers.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.ports.tool_calls import parse_tool_calls
from scripts.nano import domain
from scripts.nano.data import phones
from scripts.nano.data.conversations import Clip, Conversations, Mix, load_clips
from scripts.nano.data.pseudo_audio import pseudo_audio
from scripts.nano.data.reply_speech import Voice
from scripts.nano.data.sequences import Sequence_, Vocabulary, Weights, Writer
from scripts.nano.train.lm import (
    Batch,
    Mind,
    Scores,
    collate,
    cross_entropies,
    generate,
    losses,
    padded_rows,
)
from scripts.nano.train.optimizers import Optimizers
from scripts.nano.train.train_encoder import PhoneRecogniser, load


def batches(source: Conversations, budget: int, longest: int) -> Iterator[Batch]:
    """Group conversations of like length into batches of at most `budget` ids, forever."""
    waiting: deque[list[Sequence_]] = deque()
    while True:
        pool: list[Sequence_] = []
        ids = 0
        while ids < budget * 12:
            sequence = source.draw()
            if len(sequence.ids) <= longest:
                pool.append(sequence)
                ids += len(sequence.ids)
        pool.sort(key=lambda s: len(s.ids))
        group: list[Sequence_] = []
        for sequence in pool:
            if group and len(sequence.ids) * (len(group) + 1) > budget:
                waiting.append(group)
                group = []
            group.append(sequence)
        waiting.append(group)
        shuffled = list(waiting)
        waiting.clear()
        source.rng.shuffle(shuffled)
        for group in shuffled:
            yield collate(group)


class Feed(IterableDataset[Batch]):
    """Batches made by the training process, or ahead by workers of its own, each with conversations of its own."""

    def __init__(self, source: Conversations, seed: int, budget: int, longest: int) -> None:
        self.source, self.seed, self.budget, self.longest = source, seed, budget, longest

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        self.source.rng.seed(f"{self.seed} {worker.id if worker else 0}")
        return batches(self.source, self.budget, self.longest)

    def start(self, workers: int) -> Iterator[Batch]:
        """Begin to draw."""
        ahead = {"prefetch_factor": 8, "multiprocessing_context": "fork"} if workers else {}
        return iter(DataLoader(self, batch_size=None, num_workers=workers, **ahead))


# --- training ---------------------------------------------------------------------------------------------


def optimizers(mind: Mind, lr: float, adapter_lr: float) -> Optimizers:
    """Muon for the matrices of the decoder's layers, AdamW for vectors, tables and the adapter."""
    layers = [p for n, p in mind.lm.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in mind.lm.named_parameters() if p.ndim < 2 or "embed" in n]
    return Optimizers(layers, lr, (([*rest, mind.pseudo], lr), (mind.adapter.parameters(), adapter_lr)))


def train_adapter(mind: Mind, clips: list[Clip], ears: PhoneRecogniser, minutes: float, seed: int) -> None:
    """Teach the adapter to give the pseudo vectors that the recogniser's posteriors call for."""
    optimizer = torch.optim.AdamW(mind.adapter.parameters(), lr=2e-3, betas=(0.9, 0.97), weight_decay=0.0)
    rng = random.Random(seed)
    clock = Clock(minutes, 0.0, 0.6, warmup=20)
    step, mean = 0, 0.0
    while clock.spent < clock.limit:
        heard = [c.heard for c in rng.sample(clips, 24)]
        rows = padded_rows(heard).to(mind.pseudo.device)
        with torch.no_grad():
            posteriors = ears.heard(rows).softmax(-1).view(len(rows), -1, 2, phones.CLASSES).mean(2)
            blank = F.one_hot(torch.tensor(phones.BLANK, device=rows.device), phones.CLASSES).float()
            wanted = []
            for k, h in enumerate(heard):
                real = posteriors[k, : min(len(h.rows), 2 * h.count)]
                wanted.append(mind.expected_vectors(torch.cat([real, blank.expand(2 * h.count - len(real), -1)])))
            target = torch.cat(wanted)
        given = mind.adapter(rows)
        loss = F.mse_loss(torch.cat([given[k, : h.count] for k, h in enumerate(heard)]), target) / target.var()
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * clock.factor(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        mean += (float(loss) - mean) / min(step + 1, 100)
        step += 1
        if step % 200 == 0:
            print(f"adapter step {step} part of the variance left {mean:.4f}", flush=True)
    print(f"adapter done: {step} steps, part of the variance left {mean:.4f}")


class Clock:
    """Learning-rate shape over wall-clock time: short warm-up by steps, flat, then a linear fall."""

    def __init__(self, minutes: float, spent: float, fall: float, warmup: int = 60) -> None:
        self.limit, self.began, self.fall, self.warmup = minutes * 60, time.time() - spent, fall, warmup

    @property
    def spent(self) -> float:
        """Seconds of this stage so far, earlier runs included."""
        return time.time() - self.began

    def factor(self, step: int) -> float:
        """Return the factor on the learning rate."""
        left = 1 - self.spent / self.limit
        return min(1.0, (step + 1) / self.warmup, max(0.02, left / self.fall))


def save(path: Path, mind: Mind, optimizer: Optimizers | None, step: int, spent: float) -> None:
    """Write a checkpoint in one move."""
    state: dict[str, Any] = {"mind": mind.state_dict(), "step": step, "spent": spent}
    if optimizer is not None:
        state["optimizer"] = optimizer.state_dict()
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


class Meter:
    """Running means of the cross-entropy by kind of id."""

    def __init__(self, writer: Writer) -> None:
        self.v, self.w = writer.v, writer.w
        self.sums: dict[str, list[float]] = {}

    def add(self, loss: Tensor, target: Tensor, weights: Tensor) -> None:
        """Count one batch."""
        v = self.v
        spoken, called = weights != self.w.text, weights == self.w.call
        kinds = {
            "code": target >= v.code0,
            "pad": target == v.tts_pad,
            "word": (target < v.text_size) & spoken & ~called,
            "text": ~spoken,
            "call": called,
        }
        for name, mask in kinds.items():
            total = self.sums.setdefault(name, [0.0, 0.0])
            total[0] += float(loss[mask].sum())
            total[1] += int(mask.sum())

    def line(self) -> str:
        """Return the means and start anew."""
        text = " ".join(f"{k} {s / max(n, 1):.3f}" for k, (s, n) in self.sums.items())
        self.sums = {}
        return text


def train_steps(mind: Mind, source: Conversations, args: argparse.Namespace, name: str, lr: float) -> None:
    """Train decoder (and adapter) until the minutes are spent; go on from the stage's checkpoint when there is one."""
    path = args.work / f"{name}.pt"
    optimizer = optimizers(mind, lr, args.adapter_lr or lr)
    step, spent = 0, 0.0
    if path.exists() and not args.restart:
        state = torch.load(path, weights_only=True, map_location=mind.pseudo.device)
        mind.load_state_dict(state["mind"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        print(f"going on from step {step}, {spent / 60:.1f} min")
    torch.manual_seed(args.seed * 1000 + step)
    clock = Clock(args.minutes, spent, args.fall)
    meter = Meter(source.writer)
    ids, logged, saved = 0, time.time(), time.time()
    scores: Scores = torch.compile(cross_entropies, dynamic=True) if args.compile else cross_entropies
    feed = Feed(source, args.seed * 1000 + step, args.budget, args.longest)
    for batch in feed.start(args.feeders):
        if clock.spent >= clock.limit:
            break
        on_device = batch.to(mind.pseudo.device)
        loss, target, weights = losses(mind, on_device, args.code_noise, everything=step % 6 == 0, scores=scores)
        total = (loss * weights).sum() / weights.sum()
        total.backward()
        norm = float(nn.utils.clip_grad_norm_(mind.parameters(), 1.0))
        optimizer.step(clock.factor(step))
        meter.add(loss.detach(), target, weights)
        ids += batch.ids.numel()
        step += 1
        if step % args.log == 0:
            print(
                f"{name} {clock.spent / 60:5.1f} min step {step} {meter.line()} norm {norm:.2f} "
                f"{ids / (time.time() - logged):.0f} ids/s",
                flush=True,
            )
            ids, logged = 0, time.time()
        if time.time() - saved > args.save_every:
            save(path, mind, optimizer, step, clock.spent)
            saved = time.time()
    save(path, mind, optimizer, step, clock.spent)
    print(f"{name} done: {step} steps, {clock.spent / 60:.1f} min")


# --- looking at the result --------------------------------------------------------------------------------


def probe(mind: Mind, source: Conversations, count: int, split: str, how: str, show: int) -> str:
    """Ask `count` single questions by text, pseudo audio or clips, with tools and without. Returns a line of rates."""
    rng, v, writer = random.Random(99), source.writer.v, source.writer
    clips = [c for c in source.spoken_clips if c.phrasing == split]
    scenes: list[domain.Scene] = []
    prompts: list[Sequence_] = []
    while len(prompts) < count:
        clip = rng.choice(clips) if how == "clip" else None
        asked = clip.asked if clip else domain.ask(domain.random_intent(rng).name, rng, split)
        scene = domain.draw_scene(rng, 1, lambda name, asked=asked: asked, first=asked.intent, prompted=False)
        sequence = Sequence_()
        if scene.system is not None:
            writer.system(sequence, scene.system)
        if scene.tools:
            writer.tools(sequence, [tool.schema() for tool in scene.tools])
        if how == "text":
            writer.human_text(sequence, asked.text)
        else:
            writer.human_audio(sequence, clip.heard if clip else pseudo_audio(asked.text, rng, 0.1))
        writer.open_reply(sequence, speech=False)
        scenes.append(scene)
        prompts.append(sequence)
    hits: dict[str, list[bool]] = {"intent": [], "reply": [], "call": [], "no false call": []}
    for at in range(0, count, 32):
        for scene, ids in zip(scenes[at : at + 32], generate(mind, prompts[at : at + 32], 90, v.eot), strict=True):
            (exchange,) = scene.exchanges
            reply = parse_tool_calls(v.decode_reply(ids))
            called = domain.right_call(exchange, reply.calls)
            right = called if exchange.call else called and domain.right_reply(exchange, reply.content)
            hits["intent"].append(domain.right_intent(exchange, reply.content, reply.calls))
            hits["call" if exchange.call else "reply"].append(right)
            if exchange.call is None:
                hits["no false call"].append(not reply.calls)
            if show > 0:
                show -= 1
                wanted = exchange.call or exchange.reply_text
                print(f"   {exchange.user_text} -> {v.decode_reply(ids)!r} {'' if right else f'WRONG: {wanted}'}")
    rates = " ".join(f"{name} {sum(h) / max(len(h), 1):.3f} (n {len(h)})" for name, h in hits.items())
    return f"{how} {split}: {rates}"


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("pseudo", "adapter", "join", "probe"))
    parser.add_argument("--work", type=Path, required=True, help="folder of tokenizer (ckpt/), codes and checkpoints")
    parser.add_argument(
        "--codes", type=Path, nargs="*", help="jsonl files of voice_data.py (default WORK/codes*.jsonl)"
    )
    parser.add_argument("--features", type=Path, nargs="*", default=[], help="folders of encoder rows")
    parser.add_argument("--encoder", type=Path, help="encoder.pt of train_encoder.py, for the adapter stage")
    parser.add_argument("--real", type=float, default=0.8, help="share of clips among what is heard")
    parser.add_argument("--written", type=float, default=0.3, help="share of replies that are text only")
    parser.add_argument("--transcribe", type=float, default=0.2, help="share of transcriptions")
    parser.add_argument("--read", type=float, default=0.1, help="share of texts to read aloud")
    parser.add_argument("--copy", type=float, default=0.12, help="share of exercises in copying")
    parser.add_argument("--lists", type=float, default=0.0, help="share of lists of random words to repeat")
    parser.add_argument("--counts", type=float, default=0.0, help="share of counts to any bound")
    parser.add_argument(
        "--drills", type=float, default=0.0, help="share of drills: several written questions of a kind"
    )
    parser.add_argument("--outside", type=float, default=0.06, help="share of sentences outside the domain (fortunes)")
    parser.add_argument("--greet", type=float, default=0.01, help="share of conversations that nano opens")
    parser.add_argument("--noise", type=float, default=0.05, help="share of what is heard that holds no words")
    parser.add_argument("--code-weight", type=float, default=0.4, help="loss weight of a speech code (a word: 3)")
    parser.add_argument("--start", type=Path, help="checkpoint to begin a new stage from")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--adapter-lr", type=float, default=None)
    parser.add_argument("--fall", type=float, default=0.4, help="share of the time in which the rate falls")
    parser.add_argument("--budget", type=int, default=3072, help="ids in a batch")
    parser.add_argument("--longest", type=int, default=3000, help="ids in a conversation")
    parser.add_argument("--code-noise", type=float, default=0.06)
    parser.add_argument("--log", type=int, default=25)
    parser.add_argument("--save-every", type=float, default=240.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="name of the stage's checkpoint (default: the stage)")
    parser.add_argument("--count", type=int, default=64, help="turns to probe")
    parser.add_argument("--show", type=int, default=12, help="probed turns to print")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="a fifth faster on a CPU with a C++ compiler")
    parser.add_argument("--feeders", type=int, default=0, help="processes that draw conversations; a GPU needs a dozen")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--restart", action="store_true", help="do not go on from the stage's checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    vocabulary = Vocabulary(args.work / "ckpt")
    mind = Mind(vocabulary).to(args.device)
    if args.start:
        mind.load_state_dict(torch.load(args.start, weights_only=True, map_location=args.device)["mind"])
    files = args.codes if args.codes is not None else sorted(args.work.glob("codes*.jsonl"))
    voice = Voice(files)
    print(f"{sum(p.numel() for p in mind.lm.parameters())} parameters, {len(voice.spoken)} spoken texts")
    clips = load_clips(args.features)
    print(f"{len(clips)} clips")
    name = args.name or args.stage
    if args.stage == "adapter":
        train_adapter(mind, clips, load(args.encoder).to(args.device), args.minutes, args.seed)
        save(args.work / f"{name}.pt", mind, None, 0, 0.0)
    mix = Mix(
        real=args.real if clips else 0.0,
        written=args.written,
        transcribe=args.transcribe,
        read=args.read,
        copy=args.copy,
        lists=args.lists,
        counts=args.counts,
        drills=args.drills,
        outside=args.outside,
        greet=args.greet,
        noise=args.noise,
        errors=0.35 if clips else 0.2,
    )
    source = Conversations(Writer(vocabulary, Weights(code=args.code_weight)), voice, args.seed, clips, mix)
    if args.compile:
        for layer in mind.lm.layers:
            layer.compile(dynamic=True)
    if args.stage in ("pseudo", "join"):
        train_steps(mind, source, args, name, args.lr)
    if args.stage == "probe":
        mind.eval()
        torch.set_grad_enabled(False)
        for how, split in itertools.product(("text", "pseudo", "clip"), ("train", "unseen")):
            if how != "clip" or any(clip.phrasing == split for clip in source.spoken_clips):
                print(probe(mind, source, args.count, split, how, args.show), flush=True)


if __name__ == "__main__":
    main()
