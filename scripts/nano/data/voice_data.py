"""Speech for nano's output voices: festival's HTS voice of cmu_us_slt, with its own labels as speech codes, and the
same with another larynx and a longer vocal tract.

    python scripts/nano/data/voice_data.py codes texts.txt codes.jsonl         # no audio: what the language model
    learns
    python scripts/nano/data/voice_data.py shards FOLDER --minutes 60          # audio too: what flow and HiFT
    learn

`texts.txt` holds one utterance a line: spoken words and , . ? only. A line of `codes.jsonl` is
{"text", "words": [[word, first token, end token], ...], "codes": [...]} at 25 codes a second (see
speech_codes.py). Both commands go on where they stopped. Needs the Debian packages festival and
festvox-us-slt-hts.

Dependencies: numpy, scipy, pyworld (F0); for shards also torch and this repository's packages.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "scipy>=1.12", "pyworld>=0.3.4", "torch>=2.6"]
# ///

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data.speech_codes import (
    TOKEN_SECONDS,
    TOKENS_PER_SECOND,
    Segment,
    encode,
    token_starts,
)
from scripts.nano.data.world import world
from streaming_vocoder.mel import prompt_mel

FESTIVAL_RATE = 32_000
SAMPLE_RATE = 24_000
LEAD_SECONDS = TOKEN_SECONDS
"""Silence before the first sound: one token, so that a reply is heard at once."""
TAIL_TOKENS = 3
GAIN = 1.25
"""One gain for all utterances (peaks near 0.6): a level that differs by utterance is nothing codes could
tell."""
DITHER = 1.5e-4
"""Standard deviation of the noise under all speech (-76 dB): digital silence is ln 1e-5 in a mel, far from
speech."""
F0_FLOOR, F0_CEIL = 90.0, 350.0
PITCH_SMOOTHING_SECONDS = 0.05
WORLD_SECONDS = 0.005
BATCH = 100
SCHEME = Path(__file__).with_name("festival_codes.scm")


@dataclass(frozen=True, slots=True)
class Timbre:
    """How a voice differs from the synthesizer's own: factors on F0 and on the frequencies of the formants."""

    pitch: float = 1.0
    formants: float = 1.0


VOICES = {"default": Timbre(), "deep": Timbre(pitch=0.6, formants=0.86)}
"""Nano's voices. Codes say the pitch within the range of a voice, so all voices speak the same codes."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One synthesized utterance, cropped to whole tokens.

    `audio` float64 [960 * tokens] at 24 kHz; `f0` Hz [2 * tokens], one per mel frame, 0 = unvoiced; `words`
    are (word, first token, end token)."""

    text: str
    words: list[tuple[str, int, int]]
    codes: list[int]
    f0: NDArray[np.float64]
    audio: NDArray[np.float64]

    def in_voice(self, timbre: Timbre) -> Speech:
        """The same utterance in another voice, through WORLD's analysis and synthesis."""
        if timbre == Timbre():
            return self
        vocoder, period = world(), 1000 * WORLD_SECONDS
        f0, times = vocoder.dio(self.audio, SAMPLE_RATE, f0_floor=F0_FLOOR, f0_ceil=F0_CEIL, frame_period=period)
        f0 = vocoder.stonemask(self.audio, f0, times, SAMPLE_RATE)
        envelope = vocoder.cheaptrick(self.audio, f0, times, SAMPLE_RATE)
        aperiodicity = vocoder.d4c(self.audio, f0, times, SAMPLE_RATE)
        bins = envelope.shape[1]
        source = np.minimum(np.arange(bins) / timbre.formants, bins - 1.0).round().astype(int)
        moved = (np.ascontiguousarray(spectrum[:, source]) for spectrum in (envelope, aperiodicity))
        made: NDArray[np.float64] = vocoder.synthesize(f0 * timbre.pitch, *moved, SAMPLE_RATE, period)
        audio = np.zeros(len(self.audio))
        audio[: len(made)] = made[: len(audio)]
        return replace(self, f0=self.f0 * timbre.pitch, audio=audio)


def speak(texts: Iterable[str]) -> Iterator[Speech]:
    """Texts -> speech, in order; texts that festival refuses or that hold no sound are named on stderr and
    left out."""
    for batch in itertools.batched(texts, BATCH) if sys.version_info >= (3, 12) else _batched(texts, BATCH):
        with tempfile.TemporaryDirectory() as folder:
            yield from _speak_batch(list(batch), Path(folder))


def _batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _speak_batch(texts: list[str], folder: Path) -> Iterator[Speech]:
    quoted = " ".join('"' + text.replace("\\", " ").replace('"', " ") + '"' for text in texts)
    setup = folder / "texts.scm"
    setup.write_text(f'(set! texts \'({quoted}))\n(set! folder "{folder}")\n', encoding="ascii", errors="replace")
    done = subprocess.run(
        ["festival", "-b", str(setup), str(SCHEME)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    labels = dict(_parse(done.stdout.splitlines()))
    if not labels:
        raise RuntimeError(f"festival spoke nothing: {done.stderr.strip() or done.stdout.strip()}")
    for index, text in enumerate(texts):
        try:
            yield _crop(text, *labels[index], folder / f"{index}.wav")
        except (KeyError, ValueError) as error:
            print(f"left out: {text!r}: {error}", file=sys.stderr)


_Token = tuple[str, float, float]


def _parse(lines: Iterable[str]) -> Iterator[tuple[int, tuple[list[_Token], list[Segment]]]]:
    """Output of festival_codes.scm -> (index, (written words, phones))."""
    index, words, segments = -1, list[_Token](), list[Segment]()
    for line in lines:
        match line.split():
            case ["U", number]:
                index, words, segments = int(number), [], []
            case ["T", name, start, end]:
                words.append((name, float(start), float(end)))
            case ["S", phone, end]:
                segments.append(Segment(phone, float(end)))
            case ["E"]:
                yield index, (words, segments)


def _crop(text: str, words: list[_Token], segments: list[Segment], path: Path) -> Speech:
    """Crop to LEAD_SECONDS before the first sound and TAIL_TOKENS after the last; label; measure F0."""
    sounds = [i for i, s in enumerate(segments) if s.phone not in ("pau", "h#")]
    if not sounds or sounds[0] == 0:
        raise ValueError("no sound, or no silence before it")
    start = segments[sounds[0] - 1].end - LEAD_SECONDS
    kept = [Segment("pau", LEAD_SECONDS)]
    kept += [Segment(s.phone, s.end - start) for s in segments[sounds[0] : sounds[-1] + 1]]
    tokens = max(round(kept[-1].end * TOKENS_PER_SECOND), len(kept)) + TAIL_TOKENS
    kept.append(Segment("pau", tokens * TOKEN_SECONDS))

    _, pcm = wavfile.read(path)
    begin, length = round(start * FESTIVAL_RATE), round(tokens * TOKEN_SECONDS * FESTIVAL_RATE)
    wave = np.zeros(length)
    cut = pcm[max(begin, 0) : begin + length] / 32768 * GAIN
    wave[max(-begin, 0) : max(-begin, 0) + len(cut)] = cut

    fine_f0 = _f0(wave, 4 * tokens)
    codes = encode(kept, _token_f0(fine_f0))
    return Speech(
        text=text,
        words=_place_words(text, words, kept, start, tokens),
        codes=codes,
        f0=fine_f0[1::2],
        audio=resample_poly(wave, SAMPLE_RATE // 8000, FESTIVAL_RATE // 8000),
    )


def _place_words(
    text: str, words: list[_Token], kept: list[Segment], offset: float, tokens: int
) -> list[tuple[str, int, int]]:
    """Times of the written words -> tokens, through the phones they begin and end with."""
    edges = np.array([0.0, *(s.end for s in kept[:-1])])
    starts = np.append(token_starts(list(edges), tokens), tokens)
    written = [w for w in text.split() if any(c.isalnum() for c in w)]
    names = written if len(written) == len(words) else [w[0] for w in words]

    def token_at(seconds: float) -> int:
        return int(starts[np.argmin(np.abs(edges - (seconds - offset)))])

    return [(name, token_at(w[1]), token_at(w[2])) for name, w in zip(names, words, strict=True)]


def _f0(wave: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """32 kHz wave -> F0 in Hz every 10 ms, 0 = unvoiced."""
    vocoder = world()
    half = np.ascontiguousarray(resample_poly(wave, 1, 2))
    rate = FESTIVAL_RATE // 2
    f0, times = vocoder.dio(half, rate, f0_floor=F0_FLOOR, f0_ceil=F0_CEIL, frame_period=10.0, speed=4)
    refined: NDArray[np.float64] = vocoder.stonemask(half, f0, times, rate)
    return refined[:count]


def _token_f0(fine_f0: NDArray[np.float64]) -> NDArray[np.float64]:
    """F0 every 10 ms -> smoothed F0 of every token, 0 where nothing near is voiced.

    Smoothing (in log F0, over voiced frames) takes away what the phones do to the pitch, which the flow can
    tell from the phones, and leaves the melody."""
    reach = np.arange(-15, 16)
    kernel = np.exp(-0.5 * (reach * 0.01 / PITCH_SMOOTHING_SECONDS) ** 2)
    voiced = fine_f0 > 0
    weight = np.convolve(voiced, kernel, mode="same")
    total = np.convolve(np.where(voiced, np.log(np.maximum(fine_f0, 1.0)), 0.0), kernel, mode="same")
    weight, total = weight.reshape(-1, 4).sum(axis=1), total.reshape(-1, 4).sum(axis=1)
    return np.where(weight > 1.0, np.exp(total / np.maximum(weight, 1.0)), 0.0)


def write_codes(texts: list[str], out: Path) -> None:
    """Append the codes of all texts that `out` (jsonl) does not hold yet."""
    held = set()
    if out.exists():
        held = {json.loads(line)["text"] for line in out.read_text().splitlines()}
    todo = [t for t in dict.fromkeys(texts) if t not in held]
    began, seconds = time.time(), 0.0
    with out.open("a", encoding="utf-8") as file:
        for count, speech in enumerate(speak(todo), 1):
            record = {"text": speech.text, "words": speech.words, "codes": speech.codes}
            file.write(json.dumps(record) + "\n")
            seconds += len(speech.codes) * TOKEN_SECONDS
            if count % 200 == 0:
                rate = seconds / (time.time() - began)
                print(
                    f"{count}/{len(todo)} texts, {seconds / 60:.1f} min of speech, {rate:.0f} x real time", flush=True
                )
                file.flush()


def training_texts(count: int, seed: int = 0) -> list[str]:
    """`count` texts: half of them replies of the domain, half random words for the sounds the domain lacks.

    Held-out texts (`held_out_texts`) are never among them."""
    rng = random.Random(seed)
    held = set(held_out_texts())
    replies = [text for text in _short_replies() if text not in held]
    rng.shuffle(replies)
    replies = replies[: count // 2]
    texts = replies + [_random_sentence(rng) for _ in range(count - len(replies))]
    rng.shuffle(texts)
    return texts


def held_out_texts(count: int = 160, seed: int = 1) -> list[str]:
    """Texts to judge by: three quarters replies, one quarter random words."""
    rng = random.Random(seed)
    replies = rng.sample(_short_replies(), count * 3 // 4)
    return replies + [_random_sentence(rng) for _ in range(count - len(replies))]


@functools.cache
def _short_replies() -> list[str]:
    from scripts.nano.domain import reply_texts

    return sorted({text for text in reply_texts() if len(text) < 80})


@functools.cache
def _words() -> list[str]:
    """Plain words of cmudict (the copy in the pocketsphinx wheel)."""
    package = Path(str(importlib.util.find_spec("pocketsphinx").submodule_search_locations[0]))  # type: ignore
    lines = (package / "model/en-us/cmudict-en-us.dict").read_text().splitlines()
    return [w for w in (line.split()[0] for line in lines) if w.isalpha() and 3 <= len(w) <= 9]


def _random_sentence(rng: random.Random) -> str:
    words = [rng.choice(_words()) for _ in range(rng.randint(2, 8))]
    if len(words) > 4 and rng.random() < 0.4:
        words[rng.randint(1, len(words) - 2)] += ","
    return " ".join(words).capitalize() + rng.choice("...?")


def write_shards(folder: Path, minutes: float, per_shard: int = 200, seed: int = 0) -> None:
    """Speech with audio: `minutes` of every voice in FOLDER/train-VOICE-000.pt ..., and FOLDER/held-out.pt in the
    first; see `load_shards`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "held-out.pt").exists():
        _save(folder / "held-out.pt", held_out_texts()[:per_shard], "default", seed=99_999)
    for number, voice in enumerate(VOICES):
        texts = training_texts(per_shard * 100, seed + number)
        began, seconds = time.time(), 0.0
        for shard in range(100):
            path = folder / f"train-{voice}-{shard:03d}.pt"
            if path.exists():
                seconds += sum(len(item["codes"]) for item in load_shards([path])) * TOKEN_SECONDS
            else:
                seconds += _save(path, texts[shard * per_shard : (shard + 1) * per_shard], voice, seed=shard)
            print(f"{path.name}: {seconds / 60:.1f} min of speech after {time.time() - began:.0f} s", flush=True)
            if seconds >= minutes * 60:
                break


def _save(path: Path, texts: list[str], voice: str, seed: int) -> float:
    """Writes one shard; gives its seconds of speech."""
    rng = np.random.default_rng(seed)
    items: list[dict[str, Any]] = []
    for said in speak(texts):
        speech = said.in_voice(VOICES[voice])
        audio = speech.audio + DITHER * rng.standard_normal(len(speech.audio))
        pcm = np.round(audio.clip(-1, 1) * 32767).astype(np.int16)
        mel = prompt_mel(torch.from_numpy(pcm / np.float32(32767)))
        items.append(
            {
                "text": speech.text,
                "voice": voice,
                "words": speech.words,
                "codes": torch.tensor(speech.codes, dtype=torch.int16),
                "f0": torch.from_numpy(speech.f0).float(),
                "pcm": torch.from_numpy(pcm),
                "mel": mel.half(),
            }
        )
    torch.save(items, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    return sum(len(item["codes"]) for item in items) * TOKEN_SECONDS


def load_shards(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Utterances as dicts: text; voice; words; codes int16 [T]; f0 [2 T] in Hz; pcm int16 [960 T] at 24 kHz; mel
    half [2 T, 80] (ln)."""
    return [item for path in sorted(paths) for item in torch.load(path)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    codes = commands.add_parser("codes", help="texts.txt -> jsonl of codes")
    codes.add_argument("texts", type=Path)
    codes.add_argument("out", type=Path)
    shards = commands.add_parser("shards", help="speech with audio, for the training of flow and HiFT")
    shards.add_argument("folder", type=Path)
    shards.add_argument("--minutes", type=float, default=60.0, help="of each voice")
    shards.add_argument("--shard", type=int, default=200, help="utterances in a file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "shards":
        write_shards(arguments.folder, arguments.minutes, arguments.shard)
    if arguments.command == "codes":
        lines = arguments.texts.read_text(encoding="utf-8").splitlines()
        write_codes([line.strip() for line in lines if line.strip()], arguments.out)


if __name__ == "__main__":
    main()
