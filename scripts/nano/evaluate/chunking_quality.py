"""What streaming costs in quality on nano: chunk ladders, cache rules, fades, solver steps and precision, as a table.

    python scripts/nano/evaluate/chunking_quality.py --limit 40            # all tables
    python scripts/nano/evaluate/chunking_quality.py --only ladder steps
    python scripts/nano/evaluate/chunking_quality.py --long codes.jsonl    # long replies: the kept past matters

Every row speaks the same held-out replies and is compared with one chunk that holds a whole reply. `mel` is the mean
distance of their log-mels in dB where the reply is heard, `seam mel` the same in the 160 ms after each seam; `jump`
is the largest step between two samples within 2 ms of a seam, full scale 1; `WER` is pocketsphinx' word error rate
(`judge.py`). Rows of other steps are compared with one chunk of 20 steps. The first row shows what other breath noise
alone does to the mel.

Long replies are sentences of a file by `voice_data.py codes`, joined. They are compared with the offline synthesis, in
which every frame sees every other; `end mel` is the distance in the last 10 s.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data.voice_data import SAMPLE_RATE, load_shards
from scripts.nano.domain import reply_texts
from scripts.nano.evaluate.asr_wer import Judge, Score
from scripts.nano.train.voice_training import DATA, FLOW_YAML
from streaming_vocoder import Vocoder, VocoderOptions, Voice
from streaming_vocoder.config import FRAMES_PER_TOKEN, HOP_SAMPLES, SAMPLES_PER_TOKEN, TOKEN_RATE
from streaming_vocoder.flow import Flow
from streaming_vocoder.hift import Hift
from streaming_vocoder.hift_stream import SEAM_FRAMES, SEAM_SAMPLES
from streaming_vocoder.mel import prompt_mel
from streaming_vocoder.weights import load_token2wav

DECIBEL = 8.685889638
"""Of a natural logarithm of an amplitude."""
AUDIBLE_BELOW_PEAK = 5.0
"""Frames whose mean ln mel is at most so far below the loudest are heard."""
BEST_STEPS = 20
JUMP_SAMPLES = SAMPLE_RATE * 2 // 1000
END_FRAMES = 10 * SAMPLE_RATE // HOP_SAMPLES
LONG_TOKENS = 40 * TOKEN_RATE

Wave = NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """One way to speak. ``ladder``: tokens of the chunks, the last one repeated; empty: one chunk."""

    table: str
    name: str
    ladder: tuple[int, ...] = ()
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)


LADDERS = ((25,), (15, 25), (10, 25), (5, 10, 25), (5, 25), (8, 12, 25), (5,), (5, 10, 25, 50), (50,))
SERVED = (5, 10, 25)


def variants(steps: int) -> Iterator[Variant]:
    """All rows, in the order of the tables."""
    yield Variant("ladder", "one chunk, other noise", seed=1)
    for ladder in LADDERS:
        yield Variant("ladder", " → ".join(map(str, ladder)), ladder)
    yield from rules("rules")
    for count in (10, 8, 6, 4, 3):
        yield Variant("steps", f"{count} steps", SERVED, options={"steps": count})
    yield Variant("dtype", f"bfloat16, {steps} steps", SERVED, options={"dtype": torch.bfloat16})


def rules(table: str) -> Iterator[Variant]:
    """What is kept of the past, and how chunks are joined."""
    for fade in ("upstream", "amplitude"):
        for trim in ("upstream", "prompt"):
            options = {"trim": trim, "fade": fade}
            yield Variant(table, f"trim {trim}, fade {fade}", SERVED, options=options)


@dataclass
class Row:
    """Sums over replies."""

    mel: list[float] = field(default_factory=list)
    end_mel: list[float] = field(default_factory=list)
    seam_mel: list[float] = field(default_factory=list)
    jump: float = 0.0
    score: Score = field(default_factory=Score)

    def __str__(self) -> str:
        seam = f"{np.mean(self.seam_mel):.2f}" if self.seam_mel else ""
        jump = f"{self.jump:.3f}" if self.jump else ""
        return f"{np.mean(self.mel):.2f} | {seam} | {jump} | {self.score.errors / max(1, self.score.words):.3f}"


def speak(vocoder: Vocoder, voice: Voice, codes: list[int], variant: Variant) -> tuple[Wave, list[int]]:
    """-> samples, and where the chunks join."""
    stream, made, sizes = vocoder.open(voice, variant.seed), [], list(variant.ladder) or [len(codes)]
    while not stream.finished:
        chunk = stream.wanted(sizes[0])
        sizes = sizes[1:] or sizes
        part, codes = codes[:chunk], codes[chunk:]
        made += vocoder.step([(stream, part, not codes)])
    return np.concatenate(made), np.cumsum([len(part) for part in made])[:-1].tolist()


def compare(row: Row, whole: Wave, wave: Wave, seams: Sequence[int]) -> None:
    """Adds one reply."""
    one, other = (prompt_mel(torch.from_numpy(sound)) for sound in (whole, wave))
    level = one.mean(dim=1)
    heard = level > level.max() - AUDIBLE_BELOW_PEAK
    distance = DECIBEL * (one - other).abs().mean(dim=1)
    row.mel.append(float(distance[heard].mean()))
    row.end_mel.append(float(distance[-END_FRAMES:][heard[-END_FRAMES:]].mean()))
    at_seam = torch.zeros_like(heard)
    for seam in seams:
        at_seam[seam // HOP_SAMPLES : seam // HOP_SAMPLES + SEAM_FRAMES] = True
        for edge in (seam, seam + SEAM_SAMPLES):
            near = wave[max(0, edge - JUMP_SAMPLES) : edge + JUMP_SAMPLES]
            row.jump = max(row.jump, float(np.abs(np.diff(near)).max(initial=0.0)))
    if bool((at_seam & heard).any()):
        row.seam_mel.append(float(distance[at_seam & heard].mean()))


def one_shot(flow: Flow, hift: Hift, voice: Voice, codes: list[int], steps: int, seed: int) -> Wave:
    """Offline synthesis: no chunks, no trimming."""
    generator = torch.Generator().manual_seed(seed)
    frames = len(voice.mel) + FRAMES_PER_TOKEN * len(codes)
    noise = torch.randn(1, flow.config.output_size, frames, generator=generator)
    tokens = torch.tensor([codes])
    mel = flow.generate(tokens, voice.tokens[None], voice.mel[None], voice.speaker[None], steps=steps, noise=noise)
    breath = torch.randn(1, SAMPLES_PER_TOKEN * len(codes), 1, generator=generator)
    with torch.inference_mode():
        wave, _ = hift(mel.transpose(1, 2), noise=breath)
    samples: Wave = wave[0].numpy()
    return samples


def long_replies(path: Path, count: int) -> list[dict[str, Any]]:
    """Sentences of a file by `voice_data.py codes`, joined to replies of about 40 s."""
    sentences = [json.loads(line) for line in path.open()]
    random.Random(0).shuffle(sentences)
    replies = []
    for _ in range(count):
        texts, codes = [], []
        while len(codes) < LONG_TOKENS:
            sentence = sentences.pop()
            texts.append(sentence["text"])
            codes += sentence["codes"]
        replies.append({"text": " ".join(texts), "codes": codes})
    return replies


def judge_long_replies(path: Path, count: int, folder: Path, voice: Voice, steps: int) -> None:
    """Prints the table of `rules` on long replies."""
    replies = long_replies(path, count)
    listener = Judge(json.loads(line)["text"] for line in path.open())
    _, flow, hift = load_token2wav(folder)
    wholes = [one_shot(flow, hift, voice, reply["codes"], steps, seed=0) for reply in replies]
    print(f"{len(wholes)} replies of {[round(len(whole) / SAMPLE_RATE) for whole in wholes]} s", flush=True)
    print("\n| long | end mel dB | mel dB | seam mel dB | jump | WER |\n|---|---|---|---|---|---|", flush=True)

    def show(name: str, made: Iterator[tuple[Wave, list[int]]]) -> None:
        row = Row()
        for reply, whole, (wave, seams) in zip(replies, wholes, made, strict=True):
            compare(row, whole, wave, seams)
            row.score.add(reply["text"], listener.hear(wave, SAMPLE_RATE))
        print(f"| {name} | {np.mean(row.end_mel):.2f} | {row} |", flush=True)

    for variant in rules("long"):
        vocoder = Vocoder.load(folder, options=VocoderOptions(steps=steps, **variant.options))
        show(variant.name, (speak(vocoder, voice, list(reply["codes"]), variant) for reply in replies))
    show("offline", ((whole, []) for whole in wholes))
    others = (one_shot(flow, hift, voice, reply["codes"], steps, seed=1) for reply in replies)
    show("offline, other noise", ((other, []) for other in others))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=40, help="held-out replies")
    parser.add_argument("--steps", type=int, default=6, help="of all rows that do not say otherwise")
    parser.add_argument("--only", nargs="+", choices=("ladder", "rules", "steps", "dtype"))
    parser.add_argument("--checkpoint", type=Path, default=FLOW_YAML.parents[1])
    parser.add_argument("--long", type=Path, metavar="CODES.jsonl", help="judge the rules on --limit long replies")
    parser.add_argument("--data", type=Path, default=DATA / "held-out.pt")
    arguments = parser.parse_args()
    voice = Voice.load(arguments.checkpoint / "voices/default.safetensors")
    folder = arguments.checkpoint / "token2wav"
    if arguments.long is not None:
        judge_long_replies(arguments.long, arguments.limit, folder, voice, arguments.steps)
        return
    replies = reply_texts()
    known = set(replies)
    items = [item for item in load_shards([arguments.data]) if item["text"] in known][: arguments.limit]
    listener = Judge(replies)
    base = Vocoder.load(folder, steps=arguments.steps)
    alone = Variant("", "one chunk")
    wholes = [speak(base, voice, item["codes"].tolist(), alone)[0] for item in items]
    score = Score()
    for item, whole in zip(items, wholes, strict=True):
        score.add(item["text"], listener.hear(whole, SAMPLE_RATE))
    steepest = max(float(np.abs(np.diff(whole)).max()) for whole in wholes)
    seconds = sum(map(len, wholes)) / SAMPLE_RATE
    print(
        f"{len(items)} replies, {seconds:.0f} s; one chunk: {score}, largest step anywhere {steepest:.3f}", flush=True
    )
    table = ""
    for variant in variants(arguments.steps):
        if arguments.only and variant.table not in arguments.only:
            continue
        if variant.table != table:
            table = variant.table
            print(f"\n| {table} | mel dB | seam mel dB | jump | WER |\n|---|---|---|---|---|", flush=True)
        print(f"| {variant.name} | {_row(variant, folder, base, voice, listener, items, wholes)} |", flush=True)


def _row(
    variant: Variant,
    folder: Path,
    base: Vocoder,
    voice: Voice,
    listener: Judge,
    items: Sequence[dict[str, Any]],
    wholes: Sequence[Wave],
) -> Row:
    vocoder = base
    if variant.options:
        vocoder = Vocoder.load(folder, options=replace(base.options, **variant.options))
    if variant.table == "steps":  # against one chunk of many: more steps are nearer to the solution
        best = Vocoder.load(folder, steps=BEST_STEPS)
        wholes = [speak(best, voice, item["codes"].tolist(), replace(variant, ladder=()))[0] for item in items]
    row = Row()
    for item, whole in zip(items, wholes, strict=True):
        wave, seams = speak(vocoder, voice, item["codes"].tolist(), variant)
        compare(row, whole, wave, seams)
        row.score.add(item["text"], listener.hear(wave, SAMPLE_RATE))
    return row


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
