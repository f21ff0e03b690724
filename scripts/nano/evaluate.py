"""Measure nano as it is served: speech of voices it never heard in, spoken replies out.

    python scripts/nano/train_encoder.py features --split eval        # makes the utterances (once)
    python scripts/nano/evaluate.py --clips work/nano/ears/eval --spoken 60

Every utterance goes through the product's own classes (samples -> encoder -> decoder -> ids); the replies of the
first `--spoken` utterances also through the streaming vocoder and pocketsphinx.  Groups: flite rms and ten espeak
variants, none of them heard in training; known phrasings and such as were held out.  Intervals are 95 % (Wilson).

Dependencies: torch, numpy, pocketsphinx and this repository's packages.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from realtime.messages import Audio, Message, Text
from realtime.model.decoder import CacheFull
from realtime.model.prompt import render
from realtime.model.sampling import Sampler
from realtime.model.speech_model import SpeechModel
from realtime.profile import Profile, load_profile
from scripts.nano import domain

CHECKPOINT = Path(__file__).resolve().parents[2] / "realtime/checkpoints/nano"
SPEECH_RATE = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """A question as a waveform (16 kHz) with what is right to answer."""

    turn: domain.Turn
    samples: NDArray[np.float32]
    voice: str
    phrasing: str

    @property
    def group(self) -> str:
        """Name of the group that it counts for."""
        if not self.turn.user_text:
            return "noise"
        return "flite rms" if self.voice == "flite:rms" else "espeak unseen"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answered, and the seconds that took."""

    text: str
    codes: tuple[int, ...]
    ended: bool
    prefill_seconds: float
    decode_seconds: float
    ids: int


def load_utterances(folder: Path, limit: int, seed: int) -> list[Utterance]:
    """Read the shards of `train_encoder.py features --split eval`; the moment of each question is drawn here."""
    rng = random.Random(seed)
    found = []
    for path in sorted(folder.glob("*.pt")):
        for item in torch.load(path, weights_only=False):
            intent = item["intent"] or "unknown"
            turn = domain.turn_of(intent, item["text"], dict(item["slots"]), domain.sample_context(rng), rng)
            samples = item["pcm"].numpy().astype(np.float32) / 32768
            found.append(Utterance(turn, samples, item.get("voice", ""), item.get("phrasing", "train")))
    rng.shuffle(found)
    return found[:limit]


class Answerer:
    """The product's model with its profile."""

    def __init__(self, folder: Path, temperature: float | None, seed: int) -> None:
        self.model = SpeechModel.load(folder)
        self.profile: Profile = load_profile(folder)
        self.temperature = self.profile.sampling.temperature if temperature is None else temperature
        self.seed = seed

    def answer(self, turn: domain.Turn, samples: NDArray[np.float32] | None, speech: bool = True) -> Reply:
        """Answer one question, spoken (`samples`) or typed."""
        model, began = self.model, time.perf_counter()
        asked = Text(turn.user_text) if samples is None else Audio("clip", samples)
        system = domain.system_prompt(turn.context)
        prompt = render(
            [Message("system", system), Message("human", (asked,))], model.tokenizer, model.tokens, speech=speech
        )
        features = {} if samples is None else {"clip": model.encode_audio(samples)}
        cache = model.decoder.new_cache()
        logits = model.decoder.prefill(model.embed(prompt, features), cache)[0]
        prefilled = time.perf_counter()
        sampling = self.profile.sampling
        sampler = Sampler(
            model.config.text.vocab_size,
            temperature=self.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            repetition_penalty=sampling.repetition_penalty,
            seed=self.seed,
        )
        sampler.observe(prompt.ids)
        ids: list[int] = []
        ended = False
        try:
            while len(ids) < sampling.max_tokens and not ended:
                ids.append(sampler.next(logits))
                ended = ids[-1] in (model.tokens.eot, model.tokens.tts_end)
                if not ended:
                    logits = model.decoder.step(torch.tensor(ids[-1:]), [cache])[0]
        except CacheFull:
            pass
        tokens = model.tokens
        text = model.tokenizer.decode([i for i in ids if i < tokens.audio_start and i not in tokens.stop_ids])
        codes = tuple(tokens.speech_code(i) for i in ids if tokens.audio_0 <= i < tokens.speech_padding)
        done = time.perf_counter()
        return Reply(text, codes, ended, prefilled - began, done - prefilled, len(ids))


def interval(hits: int, n: int) -> str:
    """Rate with its 95 % Wilson interval."""
    if n == 0:
        return "-"
    z, p = 1.96, hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return f"{p:.3f} [{max(centre - half, 0):.3f}, {min(centre + half, 1):.3f}] n={n}"


class Table:
    """Counts of hits by group."""

    def __init__(self) -> None:
        self.hits: dict[str, list[bool]] = {}

    def add(self, group: str, hit: bool) -> None:
        """Count one trial."""
        self.hits.setdefault(group, []).append(hit)

    def rows(self) -> dict[str, str]:
        """Return the rate of every group."""
        return {group: interval(sum(h), len(h)) for group, h in sorted(self.hits.items())}


def understanding(answerer: Answerer, utterances: Sequence[Utterance], show: int) -> tuple[Table, Table, list[Reply]]:
    """Answer all utterances. Returns intents right, replies wholly right, the replies."""
    intents, exact, replies = Table(), Table(), []
    for k, utterance in enumerate(utterances):
        turn = utterance.turn
        reply = answerer.answer(turn, utterance.samples)
        replies.append(reply)
        right, whole = domain.right_intent(turn, reply.text), domain.right_reply(turn, reply.text)
        groups = [utterance.group]
        if turn.user_text:
            groups += ["all speech", f"{utterance.group}, {utterance.phrasing} phrasing", f"intent {turn.intent}"]
        for group in groups:
            intents.add(group, right)
            exact.add(group, whole)
        if not whole and show > 0:
            show -= 1
            print(f"  {utterance.voice}: {turn.user_text or '(noise)'} -> {reply.text}")
        if (k + 1) % 50 == 0:
            print(f"{k + 1}/{len(utterances)} {intents.rows().get('all speech')}", flush=True)
    return intents, exact, replies


def typed(answerer: Answerer, count: int, seed: int) -> Table:
    """Ask by text, in known and in held-out phrasings."""
    table, rng = Table(), random.Random(seed)
    for split in ("train", "unseen"):
        for _ in range(count):
            turn = domain.sample(rng, split)
            if len(turn.reply_text) > 300:
                continue
            reply = answerer.answer(turn, None, speech=False)
            table.add(f"typed, {split} phrasing: intent", domain.right_intent(turn, reply.text))
            table.add(f"typed, {split} phrasing: whole reply", domain.right_reply(turn, reply.text))
    return table


def speech(checkpoint: Path, replies: Sequence[Reply], profile: Profile, open_limit: int) -> dict[str, str]:
    """Speak the replies with the streaming vocoder and let pocketsphinx write down what it hears."""
    from scripts.nano.judge import SAMPLE_RATE, Judge, Score, streamed

    make: Callable[[torch.Tensor], NDArray[np.float32]] = streamed(checkpoint, profile.flow_steps)
    judges = {"domain": Judge(domain.reply_texts()), "open": Judge()}
    scores = {name: Score() for name in judges}
    spent = seconds = 0.0
    for k, reply in enumerate(replies):
        if len(reply.codes) < 4 or not domain.plain(reply.text):
            continue
        began = time.perf_counter()
        wave = make(torch.tensor(reply.codes))
        spent += time.perf_counter() - began + reply.prefill_seconds + reply.decode_seconds
        seconds += len(wave) / SAMPLE_RATE
        for name, judge in judges.items():
            if name == "domain" or k < open_limit:
                scores[name].add(reply.text, judge.hear(wave, SAMPLE_RATE))
    rows = {f"reply speech, {name} model": str(score) for name, score in scores.items()}
    rows["real-time factor (decoder and vocoder, one thread)"] = f"{spent / max(seconds, 1e-9):.2f}"
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--clips", type=Path, required=True, help="folder of utterances with waveforms")
    parser.add_argument("--limit", type=int, default=400, help="utterances")
    parser.add_argument("--spoken", type=int, default=60, help="replies to speak and judge")
    parser.add_argument("--open", type=int, default=30, help="of these, by the open language model too")
    parser.add_argument("--typed", type=int, default=100, help="typed questions per split")
    parser.add_argument("--temperature", type=float, help="instead of the profile's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=20, help="wrong replies to print")
    parser.add_argument("--json", type=Path, help="write the results here too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    answerer = Answerer(args.checkpoint, args.temperature, args.seed)
    utterances = load_utterances(args.clips, args.limit, args.seed)
    intents, exact, replies = understanding(answerer, utterances, args.show)
    results: dict[str, Any] = {
        "intent": intents.rows(),
        "whole reply": exact.rows(),
        "reply ended": interval(sum(r.ended for r in replies), len(replies)),
        "decoder ids per second": f"{sum(r.ids for r in replies) / sum(r.decode_seconds for r in replies):.0f}",
    }
    if args.typed:
        results["typed"] = typed(answerer, args.typed, args.seed).rows()
    if args.spoken:
        spoken = [r for r, u in zip(replies, utterances, strict=True) if u.turn.user_text][: args.spoken]
        results["speech"] = speech(args.checkpoint, spoken, answerer.profile, args.open)
    print(json.dumps(results, indent=2))
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
