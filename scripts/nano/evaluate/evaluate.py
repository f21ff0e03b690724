"""Measure nano as it is served against the gates that it is to pass.

    python scripts/nano/data/user_speech.py sets                     # makes the spoken questions (once)
    python scripts/nano/evaluate/evaluate.py --clips work/nano/ears2data/sets --spoken 200 --json gates.json
    python scripts/nano/evaluate/evaluate.py --only typed functions      # some groups; "real": real_speech.py

Every question goes through the product's own classes (samples -> encoder -> decoder -> ids), in sessions that offer
tools or none; a call is right when name and arguments are. Clips were made with seeds, voices, phrasings and sentences
of their own. Intervals are 95 % (Wilson).

Dependencies: torch, numpy, pocketsphinx and this repository's packages.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano import domain
from scripts.nano.evaluate.answering import Answered, Answerer, Reply, Samples

CHECKPOINT = Path(__file__).resolve().parents[3] / "realtime/checkpoints/nano"
SIZE_MB = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A recorded question."""

    asked: domain.Asked
    samples: Samples
    kind: str


@dataclass(frozen=True, slots=True)
class Gate:
    """What a rate has to reach, or with `most` may not pass."""

    row: str
    value: float
    most: bool = False


GATES = (
    Gate("espeak: intent", 0.95),
    Gate("phrasings: intent", 0.90),
    Gate("natural: intent", 0.85),
    Gate("mulaw: intent", 0.85),
    Gate("noisy: intent", 0.85),
    Gate("numbers-100: slots exact", 0.92),
    Gate("numbers-9999: slots exact", 0.80),
    Gate("rejects: false tool calls", 0.03, most=True),
)
SETS = ("espeak", "phrasings", "natural", "mulaw", "noisy")
NUMBER_SETS = ("numbers-100", "numbers-9999")
GROUPS = ("typed", *SETS, *NUMBER_SETS, "rejects", "turns", "functions", "prompt")


def load_clips(path: Path, limit: int) -> list[Clip]:
    """Read an evaluation set of user_speech.py."""
    clips = []
    for item in torch.load(path, weights_only=True)[:limit]:
        asked = domain.Asked(item["intent"] or "unknown", item["text"], tuple(map(tuple, item["slots"])))
        clips.append(Clip(asked, item["pcm"].numpy().astype(np.float32) / 32768, item["kind"]))
    return clips


def interval(hits: int, n: int) -> str:
    """Rate with its 95 % Wilson interval."""
    if n == 0:
        return "-"
    z, p = 1.96, hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return f"{p:.3f} [{max(centre - half, 0):.3f}, {min(centre + half, 1):.3f}] n={n}"


class Table:
    """Counts of hits by row."""

    def __init__(self) -> None:
        self.hits: dict[str, list[bool]] = {}

    def add(self, row: str, hit: bool) -> None:
        """Count one trial."""
        self.hits.setdefault(row, []).append(hit)

    def rows(self) -> dict[str, str]:
        """Return the rate of every row."""
        return {row: interval(sum(h), len(h)) for row, h in self.hits.items()}

    def judged(self, gate: Gate) -> str:
        """Say whether a gate is passed by the rate itself."""
        hits = self.hits.get(gate.row)
        if not hits:
            return "not measured"
        rate = sum(hits) / len(hits)
        passed = rate <= gate.value if gate.most else rate >= gate.value
        return f"{'passed' if passed else 'missed'}: {rate:.3f}, asked {'<=' if gate.most else '>='} {gate.value}"


class Evaluation:
    """Asks questions and counts. Each group is seeded on its own."""

    def __init__(self, answerer: Answerer, clips: Path, limit: int, seed: int, show: int) -> None:
        self.answerer = answerer
        self.folder = clips
        self.limit = limit
        self.seed = seed
        self.show = show
        self.table = Table()
        self.replies: list[Reply] = []

    def run(self, group: str) -> None:
        """Measure one group."""
        rng = random.Random(f"{self.seed} {group}")
        began = time.time()
        if group in SETS:
            self._questions(group, rng)
        elif group in NUMBER_SETS:
            self._numbers(group, rng)
        else:
            measures: dict[str, Callable[[random.Random], None]] = {
                "typed": self._typed,
                "rejects": self._rejects,
                "turns": self._turns,
                "functions": self._functions,
                "prompt": self._prompt,
                "real": self._real,
            }
            measures[group](rng)
        rows = {row: rate for row, rate in self.table.rows().items() if row.startswith(group)}
        print(f"{group} ({time.time() - began:.0f} s): {json.dumps(rows, indent=1)}", flush=True)

    def _ask(
        self, rng: random.Random, asked: domain.Asked, samples: Samples | None, odds: domain.Odds, speech: bool
    ) -> tuple[Answered, domain.Scene]:
        scene = domain.draw_scene(rng, 1, lambda name: asked, odds, asked.intent, prompted=False)
        (answered,) = self.answerer.converse(scene, [samples], speech)
        self._keep(answered, speech)
        return answered, scene

    def _keep(self, answered: Answered, speech: bool) -> None:
        if speech:
            self.replies += [r for r in (answered.first, answered.second) if r is not None]
        if not answered.right and self.show > 0:
            self.show -= 1
            calls = [f"{c.name} {c.arguments}" for c in answered.first.calls]
            said = answered.second.text if answered.second else answered.first.text
            asked, wanted = answered.exchange.user_text or "(noise)", answered.exchange.call or ""
            print(f"  {asked} -> {calls} {said!r} | {wanted} {answered.exchange.reply_text}")

    def _count(self, group: str, answered: Answered) -> None:
        exchange = answered.exchange
        self.table.add(f"{group}: intent", answered.understood)
        if exchange.call is not None:
            self.table.add(f"{group}: tool call exact", answered.called)
            if answered.second is not None:
                self.table.add(f"{group}: result told right", domain.right_reply(exchange, answered.second.text))
        else:
            self.table.add(f"{group}: no false call", not answered.first.calls)
            self.table.add(f"{group}: whole reply without tool", answered.right)

    def _questions(self, group: str, rng: random.Random) -> None:
        for clip in load_clips(self.folder / f"{group}.pt", self.limit):
            self._count(group, self._ask(rng, clip.asked, clip.samples, domain.Odds(), speech=True)[0])

    def _numbers(self, group: str, rng: random.Random) -> None:
        odds = domain.Odds(tools=1.0, wanted=1.0, failing=0.0)
        for clip in load_clips(self.folder / f"{group}.pt", self.limit):
            answered, _ = self._ask(rng, clip.asked, clip.samples, odds, speech=True)
            if answered.exchange.call is not None:
                self.table.add(f"{group}: slots exact", answered.called)
                self.table.add(f"{group}: all right, result told", answered.right)

    def _typed(self, rng: random.Random) -> None:
        for split in ("train", "unseen"):
            for _ in range(self.limit):
                asked = domain.ask(domain.random_intent(rng).name, rng, split)
                answered, _ = self._ask(rng, asked, None, domain.Odds(), speech=False)
                self._count(f"typed, {split} phrasings", answered)

    def _rejects(self, rng: random.Random) -> None:
        odds = domain.Odds(tools=1.0)
        for clip in load_clips(self.folder / "rejects.pt", max(self.limit, 500)):
            answered, _ = self._ask(rng, clip.asked, clip.samples, odds, speech=True)
            for row in ("rejects", f"rejects, {clip.kind}"):
                self._count_reject(row, answered)

    def _count_reject(self, row: str, answered: Answered) -> None:
        self.table.add(f"{row}: false tool calls", bool(answered.first.calls))
        silent = not answered.first.text and not answered.first.calls
        self.table.add(f"{row}: honest answer or none", answered.right or silent)

    def _turns(self, rng: random.Random) -> None:
        """Conversations: follow-ups, spoken where there are clips, and the last of ten typed turns."""
        clips: dict[str, list[Clip]] = defaultdict(list)
        for group in ("espeak", "phrasings"):
            if (self.folder / f"{group}.pt").exists():
                for clip in load_clips(self.folder / f"{group}.pt", 10_000):
                    clips[clip.asked.intent].append(clip)
        for spoken in (False, True):
            for _ in range(self.limit):
                scene, heard = _follow_up_scene(rng, clips if spoken else {})
                last = self.answerer.converse(scene, heard, speech=spoken)[-1]
                self._keep(last, spoken)
                way = "spoken" if spoken else "typed"
                self.table.add(f"turns: follow-up right, {way}", last.called if last.exchange.call else last.right)
        for _ in range(self.limit):
            scene = domain.draw_scene(rng, 10, prompted=False)
            last = self.answerer.converse(scene, [None] * 10, speech=False)[-1]
            self.table.add("turns: tenth answer right, typed", last.called if last.exchange.call else last.right)

    def _functions(self, rng: random.Random) -> None:
        """Functions of the users' own: called when asked for, with the right argument."""
        odds = domain.Odds(tools=1.0, wanted=1.0, failing=0.0)
        for kind in ("plain", "number", "name", "word"):
            for split in ("train", "unseen"):
                for _ in range(self.limit // 4):
                    answered, _ = self._ask(rng, domain.ask(f"custom_{kind}", rng, split), None, odds, speech=False)
                    self.table.add(f"functions, {kind}: called right, typed", answered.called)
                    self.table.add("functions: called right, typed", answered.called)
        declined = domain.Odds(tools=1.0, wanted=0.0)
        for _ in range(self.limit):
            intent = rng.choice([i for i in domain.INTENTS if not i.after])
            answered, _ = self._ask(rng, domain.ask(intent.name, rng), None, declined, speech=False)
            self.table.add("functions: nothing else called, typed", not answered.first.calls)

    def _prompt(self, rng: random.Random) -> None:
        """What the instructions ask for: a name, a manner."""
        for row, odds, intent in (
            ("prompt: manner kept", domain.Odds(manner=1.0, tools=0.3), None),
            ("prompt: name told", domain.Odds(name=1.0), "who_are_you"),
        ):
            for _ in range(self.limit):
                asked = domain.ask(intent or domain.random_intent(rng).name, rng)
                answered, scene = self._ask(rng, asked, None, odds, speech=False)
                if answered.exchange.call is None or answered.second is not None:
                    self.table.add(row, answered.right)

    def _real(self, rng: random.Random) -> None:
        """A real person's recordings, of real_speech.py: a sanity check without a gate."""
        for clip in load_clips(self.folder / "real.pt", 10_000):
            outside = clip.kind == "outside"
            odds = domain.Odds(tools=1.0, wanted=0.5 if outside else 1.0, failing=0.0)
            answered, _ = self._ask(rng, clip.asked, clip.samples, odds, speech=True)
            if outside:
                self._count_reject("real, outside", answered)
            else:
                self.table.add(f"real, {clip.kind}: intent", answered.understood)
                self.table.add(f"real, {clip.kind}: all right", answered.called)


def _follow_up_scene(rng: random.Random, clips: dict[str, list[Clip]]) -> tuple[domain.Scene, list[Samples | None]]:
    """Draw two or three turns of which the last follows up the one before."""
    odds = domain.Odds(tools=1.0, wanted=1.0, follow_up=1.0, stray=0.0, failing=0.0)
    while True:
        heard: list[Samples | None] = []

        def asking(name: str) -> domain.Asked:
            clip = rng.choice(clips[name]) if clips.get(name) else None
            heard.append(clip.samples if clip else None)  # noqa: B023
            return clip.asked if clip else domain.ask(name, rng)

        scene = domain.draw_scene(rng, rng.choice((2, 2, 3)), asking, odds, prompted=False)
        if domain.BY_NAME[scene.exchanges[-1].intent].after:
            return scene, heard


def speech(checkpoint: Path, replies: Sequence[Reply], steps: int, open_limit: int) -> dict[str, str]:
    """Speak replies with the streaming vocoder and let pocketsphinx write down what it hears; beside it the voice that
    nano imitates, on the same sentences."""
    from scripts.nano.data.voice_data import speak
    from scripts.nano.evaluate.asr_wer import SAMPLE_RATE, Judge, Score, streamed

    make: Callable[[torch.Tensor], NDArray[np.float32]] = streamed(checkpoint, steps)
    judges = {"domain": Judge(domain.reply_texts()), "open": Judge()}
    scores = {(name, who): Score() for name in judges for who in ("nano", "source voice")}
    spent = seconds = 0.0
    for k, reply in enumerate(replies):
        began = time.perf_counter()
        wave = make(torch.tensor(reply.codes))
        spent += time.perf_counter() - began + reply.prefill_seconds + reply.decode_seconds
        seconds += len(wave) / SAMPLE_RATE
        original = next((s.audio.astype(np.float32) for s in speak([reply.text])), None)
        for name, judge in judges.items():
            if original is not None and (name == "domain" or k < open_limit):
                scores[name, "nano"].add(reply.text, judge.hear(wave, SAMPLE_RATE))
                scores[name, "source voice"].add(reply.text, judge.hear(original, SAMPLE_RATE))
    rows = {f"reply speech, {name} model, {who}": str(score) for (name, who), score in scores.items()}
    rows["real-time factor (decoder and vocoder, one thread)"] = f"{spent / max(seconds, 1e-9):.2f}"
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument(
        "--clips", type=Path, default=Path("work/nano/ears2data/sets"), help="folder of spoken questions"
    )
    parser.add_argument("--only", nargs="*", choices=(*GROUPS, "real"), default=GROUPS, help="groups to measure")
    parser.add_argument("--limit", type=int, default=240, help="questions of a group")
    parser.add_argument("--spoken", type=int, default=0, help="replies to speak and judge")
    parser.add_argument("--open", type=int, default=60, help="of these, by the open language model too")
    parser.add_argument("--temperature", type=float, help="instead of the profile's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=20, help="wrong answers to print")
    parser.add_argument("--json", type=Path, help="write the results here too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    answerer = Answerer(args.checkpoint, args.temperature, args.seed)
    evaluation = Evaluation(answerer, args.clips, args.limit, args.seed, args.show)
    for group in args.only:
        evaluation.run(group)
    replies = evaluation.replies
    results: dict[str, Any] = {"gates": {g.row: evaluation.table.judged(g) for g in GATES}, **evaluation.table.rows()}
    results["checkpoint, MB"] = round(sum(f.stat().st_size for f in args.checkpoint.rglob("*")) / SIZE_MB, 1)
    if replies:
        results["reply ended"] = interval(sum(r.ended for r in replies), len(replies))
        results["ids per second"] = round(sum(len(r.ids) for r in replies) / sum(r.decode_seconds for r in replies))
    if args.spoken:
        spoken = [r for r in replies if len(r.codes) >= 8 and domain.plain(r.text)][: args.spoken]
        results["speech"] = speech(args.checkpoint, spoken, answerer.profile.flow_steps, args.open)
    print(json.dumps(results, indent=2))
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
