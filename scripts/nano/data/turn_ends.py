"""Spoken turns with the place of each word, for training the model of the end of a turn.

    python scripts/nano/data/turn_ends.py --minutes 12          # OUT/train-SEED.npz and, if absent, OUT/held-out.npz
    python scripts/nano/data/turn_ends.py --minutes 3 --seed 1  # one more file

Whole sentences are spoken, so the intonation before a later cut is a continuing one; pocketsphinx finds the words.
The held-out file has the voices `input_speech.HELD_OUT` and the texts `turn_texts.HELD_OUT`, each with its place to
pause. A file holds, for U utterances: pcm int16 [sum of samples] at 16 kHz, ends int64 [U]; text, voice, kind [U]
strings; cuts int64 [sum of cuts], samples from an utterance's start, cut_ends int64 [U].
Needs what `input_speech` needs.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from pocketsphinx import Decoder

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from scripts.nano.data import input_speech, turn_texts
from scripts.nano.data.input_speech import SAMPLE_RATE, Prosody, Rng, Samples

OUT = Path("work/turn_ends")
Kind = Literal["turn", "short", "filler", "open"]
_KINDS: tuple[Kind, ...] = ("turn", "short", "filler", "open")
_SHARES = (0.70, 0.10, 0.05, 0.15)
_NEAR = SAMPLE_RATE // 20  # a cut goes to the quietest place this close to the word boundary
_WINDOW = SAMPLE_RATE // 100
_LONGEST_S = 9.0
_ESPEAK_SHARE = 0.25
_NATURAL = {
    "flite:slt": 0.2, "flite:awb": 0.2, "flite:kal16": 0.08, "festival:kal": 0.08, "festival:ked": 0.08,
    "festival:slt": 0.04, "pico:en-US": 0.14, "pico:en-GB": 0.14, "rhvoice:bdl": 0.02, "rhvoice:clb": 0.02,
}  # fmt: skip
"""Voices by their weight; RHVoice's take 0.3 s for an utterance, so they are few."""


@dataclass(frozen=True, slots=True, eq=False)
class SpokenTurn:
    """One utterance, float32 [n] at 16 kHz, peak 0.5. ``cuts``: samples at which the speaker may pause.

    ``kind``: a whole turn, a short answer, a filler ("um"), or words that are not all, spoken as if they were.
    """

    samples: Samples
    text: str
    voice: str
    kind: Kind
    cuts: tuple[int, ...] = ()


def say(text: str, voice: str, rng: Rng) -> Samples:
    """A text in a voice, with a continuing intonation at its commas where the synthesizer has one."""
    engine, name = voice.split(":", 1)
    prosody = Prosody.draw(rng, 0.0)
    if "," not in text or engine == "rhvoice":
        return input_speech.synthesize(text, voice, rng)
    if engine == "flite":
        samples, rate = input_speech._say_flite(text, name, prosody)
    elif engine == "festival":
        samples, rate = input_speech._festival(name).say(text, prosody), SAMPLE_RATE
    elif engine == "pico":
        samples, rate = input_speech._say_pico(text, name, prosody), SAMPLE_RATE
    else:
        return input_speech.speak_plainly(text, name, rng)
    samples = input_speech.trim(input_speech.resample(samples, SAMPLE_RATE / rate))
    return np.asarray(samples * (0.5 / max(float(np.abs(samples).max()), 1e-4)), dtype=np.float32)


@cache
def _decoder() -> Decoder:
    return Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")


def word_starts(samples: Samples, text: str) -> list[int]:
    """The sample at which each word of a text begins; empty where the aligner does not find them all."""
    decoder, words = _decoder(), turn_texts.plain(text).split()
    try:
        decoder.set_align_text(" ".join(words))
        decoder.start_utt()
        decoder.process_raw((samples * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
    except RuntimeError:  # a word without pronunciation
        return []
    found = [part for part in decoder.seg() or () if not part.word.startswith(("<", "[", "("))]
    return [part.start_frame * SAMPLE_RATE // 100 for part in found] if len(found) == len(words) else []


def quietest_near(samples: Samples, boundary: int) -> int:
    """The quietest place around a word boundary."""
    starts = range(max(0, boundary - _NEAR), min(len(samples) - _WINDOW, boundary + _NEAR), _WINDOW // 2)
    power = [(float(np.mean(np.square(samples[start : start + _WINDOW]))), start) for start in starts]
    return min(power, default=(0.0, boundary))[1] + _WINDOW // 2


def speak(text: str, voice: str, kind: Kind, rng: Rng, *, anywhere: bool = True) -> SpokenTurn | None:
    """None for what is too long or cannot be aligned. Cuts are at the marks ``|`` of the text, or, without marks, at
    each word, if ``anywhere``."""
    samples = say(turn_texts.plain(text) if "|" in text else text, voice, rng)
    if not 0.1 * SAMPLE_RATE < len(samples) <= _LONGEST_S * SAMPLE_RATE:
        return None
    cuts: tuple[int, ...] = ()
    if kind == "turn" and ("|" in text or anywhere):
        starts = word_starts(samples, text)
        if not starts:
            return None
        parts = [len(turn_texts.plain(part).split()) for part in text.split("|")]
        wanted = np.cumsum(parts)[:-1] if "|" in text else range(1, len(starts))
        cuts = tuple(quietest_near(samples, starts[int(index)]) for index in wanted)
    return SpokenTurn(samples, turn_texts.plain(text), voice, kind, cuts)


def _voice(rng: Rng) -> str:
    if rng.random() < _ESPEAK_SHARE:
        accent, variant = rng.choice(input_speech.ACCENTS), rng.choice(input_speech.VARIANTS)
        return f"espeak:{accent}+{variant}"
    present = {name: share for name, share in _NATURAL.items() if input_speech._installed(name)}
    return str(rng.choice(list(present), p=np.array(list(present.values())) / sum(present.values())))


def train_turns(minutes: float, seed: int) -> list[SpokenTurn]:
    """As many as the minutes allow."""
    rng, texts = np.random.default_rng(seed), random.Random(seed)
    turns: list[SpokenTurn] = []
    ends = time.monotonic() + minutes * 60
    while time.monotonic() < ends:
        kind = texts.choices(_KINDS, _SHARES)[0]
        text = {
            "turn": turn_texts.turn_text, "open": turn_texts.unfinished_text,
            "short": lambda r: r.choice(turn_texts.SHORT_ANSWERS), "filler": lambda r: r.choice(turn_texts.FILLERS),
        }[kind](texts)  # fmt: skip
        turn = speak(text, _voice(rng), kind, rng)
        if turn is not None:
            turns.append(turn)
    return turns


def held_out_turns() -> list[SpokenTurn]:
    """Unseen texts in unseen voices, and in two seen ones."""
    rng = np.random.default_rng(99)
    made: list[SpokenTurn | None] = []
    for index, text in enumerate(turn_texts.HELD_OUT):
        espeak = input_speech.HELD_OUT[1 + index % (len(input_speech.HELD_OUT) - 1)]
        made += [
            speak(text, voice, "turn", rng, anywhere=False)
            for voice in ("flite:rms", espeak, "flite:awb", "pico:en-GB")
        ]
    for kind, texts in (("short", turn_texts.HELD_OUT_SHORT), ("filler", turn_texts.HELD_OUT_FILLERS)):
        made += [speak(text, voice, kind, rng) for text in texts for voice in input_speech.HELD_OUT[:5]]  # type: ignore[arg-type]
    return [turn for turn in made if turn is not None]


def save(path: Path, turns: list[SpokenTurn]) -> None:
    """Write a file; it appears under its name only when complete."""
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        pcm=np.concatenate([np.clip(turn.samples * 32767, -32768, 32767).astype(np.int16) for turn in turns]),
        ends=np.cumsum([len(turn.samples) for turn in turns]),
        cuts=np.array([cut for turn in turns for cut in turn.cuts], np.int64),
        cut_ends=np.cumsum([len(turn.cuts) for turn in turns]),
        **{name: np.array([getattr(turn, name) for turn in turns]) for name in ("text", "voice", "kind")},
    )
    part.rename(path)


def read(path: Path) -> list[SpokenTurn]:
    """What `save` wrote."""
    with np.load(path) as file:
        pcm = np.split(file["pcm"], file["ends"][:-1])
        cuts = np.split(file["cuts"], file["cut_ends"][:-1])
        return [
            SpokenTurn(samples.astype(np.float32) / 32767, str(text), str(voice), str(kind), tuple(map(int, places)))  # type: ignore[arg-type]
            for samples, text, voice, kind, places in zip(
                pcm, file["text"], file["voice"], file["kind"], cuts, strict=True
            )
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "held-out.npz").exists():
        save(args.out / "held-out.npz", held_out_turns())
    turns = train_turns(args.minutes, args.seed)
    save(args.out / f"train-{args.seed}.npz", turns)
    seconds = sum(len(turn.samples) for turn in turns) / SAMPLE_RATE
    print(f"{len(turns)} turns, {seconds / 60:.1f} min, {sum(len(turn.cuts) for turn in turns)} cuts")


if __name__ == "__main__":
    main()
