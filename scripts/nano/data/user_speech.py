"""What users say to nano, as clips: the domain, digits, names and open sentences, spoken, and as rows of the encoder.

    python scripts/nano/data/user_speech.py speak --utterances 16000   # OUT/turns; from the first missing shard on
    python scripts/nano/data/user_speech.py --out OUT2 speak --utterances 1600 --interjections   # to be written down
    python scripts/nano/data/user_speech.py sets                       # OUT/sets, the evaluation; likewise
    python scripts/nano/data/user_speech.py features --encoder encoder.pt    # OUT/features; again after training

A shard is a list of dicts: text, intent, slots, phrasing, voice, kind, and `pcm` int16 at 16 kHz. In OUT/turns it is
as the synthesizer gave it, with `number`: `features` and train_encoder.py augment it. In OUT/features there is no
`pcm`, but frames (T) and enc float16 [P, d], the encoder's rows of the clip alone, so that
`adapter(enc[None])[0, :n]`, n = feature_count_of_frames(T), is what serving computes.
Clips of the kinds noise, silence and foreign have the text "". Those of `WRITTEN_DOWN` are only to be written down.
Letters: T mel frames (100 Hz), P rows (25 Hz).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.encoder import encoder_rows, pad_mels
from realtime.model.features import log_mel
from realtime.turns.backchannels import DEFAULT_BACKCHANNELS
from scripts.nano import domain
from scripts.nano.data import foreign, input_speech, kokoro, phones
from scripts.nano.data.out_of_domain import outside_sentences
from scripts.nano.domain.numbers import DIGIT
from scripts.nano.domain.vocabulary import CITIES, NAMES
from scripts.nano.train.precision import autocast
from scripts.nano.train.train_encoder import PhoneRecogniser, load, save_whole

OUT = Path("work/nano/ears2data")
LONGEST_WORDS = 16
TELEPHONE = 0.3
"""Of the training clips: that they go through a telephone."""
Rng = np.random.Generator
Clip = dict[str, Any]
INTERJECTIONS = (
    *(phrase for phrase in DEFAULT_BACKCHANNELS if phrase.isascii()),
    *"no|stop|wait|hold on|hang on|one moment|wait a moment|excuse me|sorry|hello|hi|please|thanks|maybe".split("|"),
    *"actually|but|no no|not that|listen|enough|quiet|what|why|when|never mind|cancel|next|louder|help".split("|"),
)
"""What is said over a reply, in order to go on listening or to stop it: serving has the model write it down."""

SAYINGS = (
    ("noise", 0.035), ("silence", 0.015), ("foreign", 0.03), ("words", 0.04), ("subject", 0.05), ("open", 0.19),
    ("digit", 0.07), ("digits", 0.09), ("number", 0.03), ("name", 0.06), ("word", 0.02), ("interjection", 0.02),
    ("sum", 0.03), ("domain", 0.32),
)  # fmt: skip
"""Kinds of training clips with their shares."""
WRITTEN_DOWN = ("open", "digit", "number", "name", "word", "interjection")
"""Kinds that ask for nothing: they teach to write down what is said."""
GAP_SECONDS = (0.03, 0.35)
"""Of quiet between digits that were spoken one by one."""

_WELL_KNOWN = frozenset(
    "greeting how_are_you who_are_you what_can_you_do weekday date tomorrow count count_to next_number "
    "previous_number day_after day_before month_after opposite capital colour sound amount joke story coin die thanks "
    "goodbye robot age favourite_colour live love".split()
)
"""Intents of which `--rare` makes fewer clips: an earlier set has them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an evaluation set holds."""

    name: str
    phrasing: str = "train"
    voices: str = "train"
    """'train', 'espeak' or 'natural': of the last two those held out."""
    line: str = ""
    """'mulaw', 'noise' or nothing."""
    count: int = 240
    numbers: tuple[int, int] | None = None


SETS = (
    Wanted("espeak", voices="espeak"),
    Wanted("phrasings", phrasing="unseen"),
    Wanted("natural", voices="natural"),
    Wanted("mulaw", line="mulaw"),
    Wanted("noisy", line="noise"),
    Wanted("numbers-100", numbers=(0, 100)),
    Wanted("numbers-9999", numbers=(101, 9999)),
    Wanted("rejects", count=500),
)


# -- what is said ------------------------------------------------------------------------------------------


def _standing(rng: random.Random, rare: bool) -> str:
    """Draw an intent; follow-ups and functions of users' own come as often as their weights say."""
    while True:
        intent = rng.choices(domain.INTENTS, [i.weight * (0.7 if i.after else 1.0) for i in domain.INTENTS])[0]
        if not (rare and intent.name in _WELL_KNOWN and rng.random() < 0.65):
            return intent.name


def turn(rng: random.Random, phrasing: str, rare: bool) -> Clip:
    """Draw something of the domain that can be said in one breath."""
    while True:
        asked = domain.ask(_standing(rng, rare), rng, phrasing)
        if phones.words(asked.text) and len(phones.words(asked.text)) <= LONGEST_WORDS:
            return {"text": asked.text, "intent": asked.intent, "slots": asked.slots, "phrasing": phrasing}


_NUMBERED = (
    "plus",
    "minus",
    "times",
    "set_timer",
    "volume_set",
    "light_level",
    "convert",
    "remind_in",
    "custom_number",
)


def numbered_turn(rng: random.Random, low: int, high: int) -> Clip:
    """Draw a question whose greatest number is from `low` to `high`."""
    names = _NUMBERED if high <= 100 else ("plus", "minus", "times", "divide")
    while True:
        asked = domain.ask(rng.choice(names), rng)
        spoken = [v for k, v in asked.slots if k in ("a", "b", "n")]
        if low <= max(domain.VALUE[words] for words in spoken) <= high:
            return {"text": asked.text, "intent": asked.intent, "slots": asked.slots, "phrasing": "train"}


def _nothing_said(kind: str) -> Clip:
    return {"text": "", "intent": "", "slots": (), "phrasing": "train", "voice": "", "kind": kind}


def speak_foreign(rng: Rng, split: str) -> tuple[Clip, input_speech.Samples]:
    """Say a sentence of another language."""
    language = str(rng.choice(foreign.languages(split)))
    sentence = str(rng.choice(foreign.SENTENCES[language]))
    variant = str(rng.choice(("", "+f2", "+f4", "+m2", "+m5", "+m7", "+klatt")))
    clip = _nothing_said("foreign") | {"voice": f"espeak:{language}{variant}"}
    return clip, input_speech.speak_plainly(sentence, f"{language}{variant}", rng)


def rejected(rng: Rng, index: int, split: str) -> tuple[Clip, input_speech.Samples]:
    """Make a clip that is to be answered with "sorry" or nothing: noise, babble, another language, another subject."""
    if index % 4 == 0:
        return _nothing_said("noise"), input_speech.non_speech(rng)
    if index % 4 == 1:
        return speak_foreign(rng, split)
    voice = _voice("train" if index % 8 < 4 else "espeak", index, rng)
    if index % 4 == 2:
        text, kind = input_speech.word_string(rng, domain.word_list()), "words"
    else:
        text, kind = domain.ask("unknown", _python(rng), "train" if split == "train" else "unseen").text, "subject"
    clip = {"text": text, "intent": "unknown", "slots": (), "phrasing": "unseen", "voice": voice, "kind": kind}
    return clip, input_speech.synthesize(text, voice, rng)


def _python(rng: Rng) -> random.Random:
    return random.Random(int(rng.integers(1 << 62)))


def _voice(voices: str, index: int, rng: Rng) -> str:
    if voices == "kokoro":
        return f"kokoro:{rng.integers(kokoro.SPEAKERS)}"
    if voices == "natural":
        return input_speech.HELD_OUT[0]
    if voices == "espeak":
        return str(rng.choice(input_speech.HELD_OUT[1:]))
    return input_speech.sample_voice(rng)


def interjection(index: int, seed: int) -> Clip:
    """Make one clip of a word over a reply."""
    rng = np.random.default_rng([seed, index, 16])
    text, voice = str(rng.choice(INTERJECTIONS)), _voice("train", index, rng)
    clip = {"text": text, "intent": "unknown", "slots": (), "phrasing": "train", "kind": "interjection", "voice": voice}
    return clip | {"pcm": _pcm(input_speech.synthesize(text, voice, rng)), "number": index}


def silence(rng: Rng) -> input_speech.Samples:
    """Make a stretch in which nobody speaks: a quiet room, or a line that is all but dead."""
    size = int(rng.uniform(0.3, 4.0) * input_speech.SAMPLE_RATE)
    level = 0.0 if rng.random() < 0.2 else float(10 ** rng.uniform(-5, -2.2))
    return input_speech.coloured_noise(size, rng, float(rng.uniform(0, 2))) * np.float32(level)


def _name(rng: Rng) -> str:
    """Draw a name of a person or place as one gives it, alone or in a few words."""
    first, second = (str(rng.choice(NAMES)) for _ in range(2))
    place, word = str(rng.choice(CITIES)), str(rng.choice(input_speech.common_words()[200:]))
    forms = (
        f"{first} {second}", f"my name is {first}", f"my name is {first} {word}", f"this is {first} {second} speaking",
        place, f"from {place}", f"i live in {place}", f"i am {first} from {place}", f"{first} {word}",
        f"it is {first}", f"{first} and {second}", f"for {first} {word} please", f"{word} {place}",
    )  # fmt: skip
    return str(rng.choice(forms))


def _written_down(kind: str, rng: Rng) -> str:
    """Draw a text that is only to be written down."""
    if kind == "open":
        return str(rng.choice(outside_sentences() or (input_speech.word_string(rng),)))
    if kind == "digit":
        return str(rng.choice((*DIGIT.values(), *DIGIT.values(), "oh")))
    if kind == "number":
        value = domain.spoken_number(int(10 ** rng.uniform(1, rng.choice([2, 2, 3, 4]))))
        units = ("", "", "", "percent", "dollars", "degrees", "minutes", "o'clock")
        return f"{value} {rng.choice(units)}".strip()
    if kind == "word":
        return str(rng.choice(input_speech.common_words()))
    return str(rng.choice(INTERJECTIONS)) if kind == "interjection" else _name(rng)


def _digits(rng: Rng, voice: str) -> tuple[str, input_speech.Samples]:
    """Say two to eight digits: in one breath, or one by one with quiet between them."""
    digits = ["oh" if d == 0 and rng.random() < 0.3 else DIGIT[str(d)] for d in rng.integers(0, 10, rng.integers(2, 9))]
    text = " ".join(digits)
    if rng.random() < 0.4:
        return text, input_speech.synthesize(text, voice, rng)
    parts: list[input_speech.Samples] = []
    for digit in digits:
        quiet = np.zeros(int(rng.uniform(*GAP_SECONDS) * input_speech.SAMPLE_RATE), np.float32)
        parts += [input_speech.synthesize(digit, voice, rng), quiet]
    return text, np.concatenate(parts[:-1])


def training_clip(index: int, seed: int, rare: bool, voices: str = "train") -> Clip:
    """Make one clip of the training set, as the synthesizer gives it, of a kind of `SAYINGS`."""
    rng = np.random.default_rng([seed, index, 17 if voices == "train" else 37])
    kinds, shares = zip(*SAYINGS, strict=True)
    kind = str(rng.choice(kinds, p=shares))
    if kind in ("noise", "silence"):
        clip, samples = _nothing_said(kind), (input_speech.non_speech if kind == "noise" else silence)(rng)
    elif kind == "foreign":
        clip, samples = speak_foreign(rng, "train")
    else:
        clip = {
            "intent": "unknown",
            "slots": (),
            "phrasing": "train",
            "kind": kind,
            "voice": _voice(voices, index, rng),
        }
        if kind == "digits":
            clip["text"], samples = _digits(rng, clip["voice"])
            clip |= {"intent": "desk_digits", "slots": (("digits", clip["text"]),)}
            return clip | {"pcm": _pcm(samples), "number": index}
        if kind == "words":
            clip["text"] = input_speech.word_string(rng, domain.word_list())
        elif kind == "subject":
            clip["text"] = str(rng.choice(domain.OUTSIDE.train))
        elif kind == "sum":
            clip |= numbered_turn(_python(rng), 101, 9999) | {"kind": "domain"}
        elif kind == "domain":
            clip |= turn(_python(rng), "train", rare)
        else:
            clip["text"] = _written_down(kind, rng)
        samples = input_speech.synthesize(clip["text"], clip["voice"], rng)
    return clip | {"pcm": _pcm(samples), "number": index}


def augmented(clip: Clip, hearing: int = 0) -> input_speech.Samples:
    """Put a training clip into a room, on a line, another for each `hearing`: [N] float32 at 16 kHz."""
    rng = np.random.default_rng([int(clip["number"]), hearing, 41])
    samples = clip["pcm"].numpy().astype(np.float32) / 32767
    if clip["kind"] == "silence":
        return samples
    samples = input_speech.augment(samples, rng, float(rng.uniform(0, 1.0)), (0.45, 0.7))
    return input_speech.telephoned(samples) if rng.random() < TELEPHONE else samples


def evaluation_clip(wanted: Wanted, index: int, seed: int) -> Clip:
    """Make one clip of an evaluation set."""
    rng = np.random.default_rng([seed, index, 18 + SETS.index(wanted)])
    if wanted.name == "rejects":
        clip, samples = rejected(rng, index, "eval")
    else:
        if wanted.numbers:
            clip = numbered_turn(_python(rng), *wanted.numbers)
        else:
            clip = turn(_python(rng), wanted.phrasing, rare=False)
        clip |= {"voice": _voice(wanted.voices, index, rng), "kind": "domain"}
        samples = input_speech.synthesize(clip["text"], clip["voice"], rng)
    return clip | {"pcm": _pcm(_LINES[wanted.line](samples, rng))}


def _pcm(samples: input_speech.Samples) -> Tensor:
    return torch.from_numpy((samples * 32767).astype(np.int16))


def _plain_line(samples: input_speech.Samples, rng: Rng) -> input_speech.Samples:
    return input_speech.augment(samples, rng, float(rng.uniform(0, 0.4)), (0.45, 0.7))


def _telephone(samples: input_speech.Samples, rng: Rng) -> input_speech.Samples:
    return input_speech.telephoned(input_speech.augment(samples, rng, 0.0, (0.45, 0.7)))


def _noisy(samples: input_speech.Samples, rng: Rng) -> input_speech.Samples:
    """Put noise under speech, 15 dB below it."""
    samples = np.pad(samples, (int(rng.uniform(0.1, 0.4) * 16_000), int(rng.uniform(0.1, 0.5) * 16_000)))
    noise = input_speech.coloured_noise(len(samples), rng, float(rng.choice([0.0, 1.0, 2.0])))
    level = float(np.sqrt(np.mean(samples[np.abs(samples) > 0.01] ** 2)))
    mixed = samples + noise * (level * 10 ** (-15 / 20))
    return np.asarray(mixed * (0.6 / float(np.abs(mixed).max())), dtype=np.float32)


_LINES: dict[str, Callable[[input_speech.Samples, Rng], input_speech.Samples]] = {
    "": _plain_line,
    "mulaw": _telephone,
    "noise": _noisy,
}


# -- files -------------------------------------------------------------------------------------------------


def speak(args: argparse.Namespace) -> None:
    """Write shards of training clips until there are `args.utterances`; shards that exist are kept."""
    folder = args.out / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    started, made = time.time(), 0
    for first in range(0, args.utterances, args.shard):
        number = first // args.shard
        path = folder / f"train-{number:04d}.pt"
        if path.exists() or number % args.of != args.part:
            continue
        indices = range(first, min(first + args.shard, args.utterances))
        make = interjection if args.interjections else partial(training_clip, rare=args.rare, voices=args.voices)
        save_whole([make(i, args.seed) for i in indices], path)
        made += len(indices)
        print(f"{path.name}: {made} made, {made / (time.time() - started):.1f}/s", flush=True)


def sets(args: argparse.Namespace) -> None:
    """Write the evaluation sets that are missing."""
    folder = args.out / "sets"
    folder.mkdir(parents=True, exist_ok=True)
    for wanted in SETS:
        path = folder / f"{wanted.name}.pt"
        if not path.exists():
            count = args.count or wanted.count
            save_whole([evaluation_clip(wanted, i, args.seed + 1) for i in range(count)], path)
            print(f"{path}: {count}", flush=True)


@torch.inference_mode()
def encode_clips(model: PhoneRecogniser, clips: list[Tensor]) -> list[tuple[Tensor, int]]:
    """Float samples [N] at 16 kHz -> (rows [P, 192] of each clip as if alone, its mel frames T)."""
    mel, frames = pad_mels([log_mel(clip, model.encoder.conv1.in_channels) for clip in clips])
    with autocast():  # training does not mind the rounding
        rows = model.encoder(mel, frames).float()
    return [(rows[i, : encoder_rows(count)].clone(), count) for i, count in enumerate(frames)]


def features(args: argparse.Namespace) -> None:
    """Encode the training clips: those whose rows are missing or older than the encoder."""
    model = load(args.encoder)
    folder = args.out / "features"
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((args.out / "turns").glob("train-????.pt")):
        path = folder / source.name
        if path.exists() and path.stat().st_mtime > args.encoder.stat().st_mtime:
            continue
        clips = torch.load(source, weights_only=True)
        clips.sort(key=lambda clip: len(clip["pcm"]))
        for start in range(0, len(clips), 16):
            part = clips[start : start + 16]
            samples = [torch.from_numpy(augmented(clip)) for clip in part]
            for clip, (rows, frames) in zip(part, encode_clips(model, samples), strict=True):
                del clip["pcm"]
                clip["enc"], clip["frames"] = rows.half(), frames
        save_whole(clips, path)
        print(f"{path}: {len(clips)}", flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("speak", help="training clips")
    command.add_argument("--utterances", type=int, default=16_000)
    command.add_argument("--shard", type=int, default=400)
    command.add_argument("--part", type=int, default=0, help="make the shards of this part, counted from 0 ...")
    command.add_argument("--of", type=int, default=1, help="... of so many, for processes side by side")
    command.add_argument("--rare", action="store_true", help="fewer of the intents that an earlier set has")
    command.add_argument("--voices", choices=("train", "kokoro"), default="train", help="kokoro: natural, but slow")
    command.add_argument("--interjections", action="store_true", help="short words over a reply, to be written down")
    command.set_defaults(run=speak)
    command = commands.add_parser("sets", help="evaluation clips")
    command.add_argument("--count", type=int, help="of each set (default: as many as the gates ask for)")
    command.set_defaults(run=sets)
    command = commands.add_parser("features", help="encoder rows of the training clips")
    command.add_argument("--encoder", type=Path, required=True)
    command.set_defaults(run=features)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.run(args)


if __name__ == "__main__":
    main()
