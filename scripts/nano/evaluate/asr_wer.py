"""How well nano's voice is understood: the word error rate of pocketsphinx on it.

    python scripts/nano/evaluate/asr_wer.py original                    # the synthesizer that nano imitates: the floor
    python scripts/nano/evaluate/asr_wer.py resynthesis --steps 4 6 10  # its codes -> flow -> HiFT, in one piece
    python scripts/nano/evaluate/asr_wer.py streaming --steps 6         # the same in chunks, as served
    python scripts/nano/evaluate/asr_wer.py files FOLDER                # FOLDER/NAME.wav against FOLDER/NAME.txt

Two language models: `domain`, a bigram of all replies, and `open`, the one that comes with pocketsphinx
(slow: on the first --open utterances only). The texts are the held-out replies; random words would tell more
about the listener than about the voice. Every audio is brought to 16 kHz and peak 0.5, with 0.3 s of silence
around it and faint noise under it.

Dependencies: numpy, scipy, pocketsphinx, torch and this repository's packages.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pocketsphinx import Decoder, get_model_path
from scipy.io import wavfile
from scipy.signal import resample_poly

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data.voice_data import SAMPLE_RATE, load_shards
from scripts.nano.domain import reply_texts
from scripts.nano.train.voice_training import DATA, FLOW_YAML
from streaming_vocoder import Vocoder, Voice
from streaming_vocoder.config import SAMPLES_PER_TOKEN
from streaming_vocoder.weights import load_token2wav

JUDGE_RATE = 16_000
PEAK = 0.5
PADDING_SECONDS = 0.3
NOISE = 3e-4
DISCOUNT = 0.5
CHUNK_LADDER = (5, 10, 25)
"""Tokens of the first chunk, the second, all others."""

Wave = NDArray[np.float32]


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation, as pocketsphinx writes them ("a m" is one word to it)."""
    return re.findall(r"[a-z][a-z']*", re.sub(r"\b([ap]) m\b", r"\1m", text.lower()))


def edit_distance(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Substitutions, insertions and deletions between two word lists."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def write_bigram(sentences: Iterable[Sequence[str]], path: Path) -> None:
    """A bigram language model in ARPA format, absolute discounting with back-off to unigrams."""
    bigrams: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        marked = ["<s>", *sentence, "</s>"]
        bigrams.update(zip(marked[:-1], marked[1:], strict=True))
    history: Counter[str] = Counter()
    followers: Counter[str] = Counter()
    unigrams: Counter[str] = Counter()
    for (first, second), count in bigrams.items():
        history[first] += count
        followers[first] += 1
        unigrams[second] += count
    total = sum(unigrams.values())

    def log(value: float) -> str:
        return f"{math.log10(value):.4f}" if value > 0 else "-99.0"

    lines = ["\\data\\", f"ngram 1={len(unigrams) + 1}", f"ngram 2={len(bigrams)}", "", "\\1-grams:"]
    for word in sorted({"<s>", *unigrams}):
        mass = DISCOUNT * followers[word] / history[word] if history[word] else 1.0
        lines.append(f"{log(unigrams[word] / total)} {word} {log(mass)}")
    lines += ["", "\\2-grams:"]
    for (first, second), count in sorted(bigrams.items()):
        backed = DISCOUNT * followers[first] / history[first] * unigrams[second] / total
        lines.append(f"{log((count - DISCOUNT) / history[first] + backed)} {first} {second}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))


class Judge:
    """Listens with one language model. `domain` is a list of sentences, or None for pocketsphinx' own
    model."""

    def __init__(self, domain: Iterable[str] | None = None) -> None:
        options: dict[str, Any] = {"loglevel": "FATAL"}
        if domain is None:
            self.decoder = Decoder(**options)
            return
        known = {
            line.split()[0] for line in Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8").splitlines()
        }
        sentences = [words for words in map(words_of, domain) if known.issuperset(words)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "domain.arpa"
            write_bigram(sentences, path)
            self.decoder = Decoder(lm=str(path), **options)

    def hear(self, audio: Wave, rate: int) -> list[str]:
        """Mono audio of any level -> words."""
        self.decoder.start_utt()
        self.decoder.process_raw(prepare(audio, rate).tobytes(), full_utt=True)
        self.decoder.end_utt()
        found = self.decoder.hyp()
        return [] if found is None else words_of(re.sub(r"\(\d+\)", "", found.hypstr))


def prepare(audio: Wave, rate: int) -> NDArray[np.int16]:
    """What every judged audio goes through, the same noise each time."""
    factor = math.gcd(rate, JUDGE_RATE)
    wave = audio if rate == JUDGE_RATE else resample_poly(audio, JUDGE_RATE // factor, rate // factor)
    wave = wave * (PEAK / max(float(np.abs(wave).max()), 1e-6))
    wave = np.pad(wave, round(PADDING_SECONDS * JUDGE_RATE))
    wave = wave + NOISE * np.random.default_rng(0).standard_normal(len(wave))
    pcm: NDArray[np.int16] = np.round(wave * 32767).astype(np.int16)
    return pcm


@dataclass
class Score:
    """Word errors summed over utterances."""

    errors: int = 0
    words: int = 0
    exact: int = 0
    utterances: int = 0

    def add(self, reference: str, heard: list[str]) -> int:
        wanted = words_of(reference)
        errors = edit_distance(wanted, heard)
        self.errors, self.words = self.errors + errors, self.words + len(wanted)
        self.exact, self.utterances = self.exact + (errors == 0), self.utterances + 1
        return errors

    def __str__(self) -> str:
        rate = self.errors / max(self.words, 1)
        return f"WER {rate:.3f} ({self.exact}/{self.utterances} exact)"


@dataclass(frozen=True)
class Trial:
    """Texts, and what makes the audio of text i (at `rate`)."""

    name: str
    texts: Sequence[str]
    audio: Callable[[int], Wave]
    rate: int = SAMPLE_RATE


def judge(trial: Trial, judges: dict[str, Judge], open_limit: int, show: bool) -> None:
    """Prints the scores of a trial."""
    scores = {model: Score() for model in judges}
    began = time.time()
    for i, text in enumerate(trial.texts):
        wave = trial.audio(i)
        for model, listener in judges.items():
            if model == "open" and i >= open_limit:
                continue
            heard = listener.hear(wave, trial.rate)
            if scores[model].add(text, heard) and show:
                print(f"  {model}: {text} -> {' '.join(heard)}")
    line = "; ".join(f"{model} {score}" for model, score in scores.items())
    print(f"{trial.name}: {line}; {time.time() - began:.0f} s", flush=True)


def token2wav(checkpoint: Path, steps: int, name: str = "default") -> Callable[[torch.Tensor], Wave]:
    """Codes [T] -> audio in one piece, by the flow, HiFT and a voice of `checkpoint`."""
    _, flow, hift = load_token2wav(checkpoint / "token2wav")
    voice = Voice.load(checkpoint / f"voices/{name}.safetensors")

    @torch.inference_mode()
    def make(codes: torch.Tensor) -> Wave:
        mel = flow.generate(codes.long()[None], voice.tokens[None], voice.mel[None], voice.speaker[None], steps=steps)
        noise = torch.randn(1, SAMPLES_PER_TOKEN * len(codes), 1, generator=torch.Generator().manual_seed(0))
        wave, _ = hift(mel.transpose(1, 2), noise=noise)
        samples: Wave = wave[0].numpy()
        return samples

    return make


def streamed(checkpoint: Path, steps: int, name: str = "default") -> Callable[[torch.Tensor], Wave]:
    """Codes [T] -> audio, chunk by chunk with growing chunks, as served."""
    vocoder = Vocoder.load(checkpoint / "token2wav", steps=steps)
    voice = Voice.load(checkpoint / f"voices/{name}.safetensors")

    def make(codes: torch.Tensor) -> Wave:
        stream, rest, made = vocoder.open(voice), codes.tolist(), []
        for size in (CHUNK_LADDER[0] + vocoder.lookahead, *CHUNK_LADDER[1:], *[CHUNK_LADDER[-1]] * len(rest)):
            chunk, rest = rest[:size], rest[size:]
            (samples,) = vocoder.step([(stream, chunk, not rest)])
            made.append(samples)
            if not rest:
                break
        return np.concatenate(made)

    return make


def trials(arguments: argparse.Namespace) -> Iterable[Trial]:
    """What the command line asks for."""
    if arguments.what == "files":
        paths = sorted(arguments.folder.glob("*.wav"))
        texts = [path.with_suffix(".txt").read_text().strip() for path in paths]
        rate = int(wavfile.read(paths[0])[0])
        yield Trial("files", texts, lambda i: wavfile.read(paths[i])[1] / np.float32(32768), rate)
        return
    replies = set(reply_texts())
    items = [item for item in load_shards([DATA / "held-out.pt"]) if item["text"] in replies][: arguments.limit]
    texts = [item["text"] for item in items]
    if arguments.what == "original":
        yield Trial("original", texts, lambda i: items[i]["pcm"].numpy() / np.float32(32767))
        return
    for steps in arguments.steps:
        kind = token2wav if arguments.what == "resynthesis" else streamed
        make = kind(arguments.checkpoint, steps, arguments.voice)
        yield Trial(f"{arguments.what}, {steps} steps", texts, lambda i: make(items[i]["codes"]))  # noqa: B023


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("original", "resynthesis", "streaming", "files"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, nargs="+", default=[6])
    parser.add_argument("--limit", type=int, default=120, help="judge this many of the held-out replies")
    parser.add_argument("--open", type=int, default=0, help="... and this many with the open model too")
    parser.add_argument("--checkpoint", type=Path, default=FLOW_YAML.parents[1])
    parser.add_argument("--voice", default="default", help="a voice of the checkpoint")
    parser.add_argument("--show", action="store_true", help="print what was misheard")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    judges = {"domain": Judge(reply_texts())}
    if arguments.open:
        judges["open"] = Judge()
    for trial in trials(arguments):
        judge(trial, judges, arguments.open, arguments.show)


if __name__ == "__main__":
    main()
