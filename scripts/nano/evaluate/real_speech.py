"""Recordings of a real person, to see how far nano's ears carry: a sanity check, never trained on.

Debian's `asterisk-core-sounds-en-wav` holds 560 prompts of a telephone exchange, spoken by Allison Smith (8 kHz,
CC-BY-SA 3.0), `asterisk-core-sounds-en` the words of each. Of her voice three kinds of clips are made:

    closed    what the phone desk asks for: digits (her single ones, put together), weekdays, thanks, goodbyes
    outside   sentences that are not of the domain: to be answered with "sorry" or nothing, and never with a tool
    and, printed, the phone error rate of the encoder on her sentences

    apt-get install asterisk-core-sounds-en asterisk-core-sounds-en-wav
    python scripts/nano/evaluate/real_speech.py --encoder work/nano/ears/encoder.pt --out work/nano/ears2/sets/real.pt
    python scripts/nano/evaluate/evaluate.py --clips work/nano/ears2/sets --only real

Dependencies: numpy, torch, soundfile.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.model.features import log_mel
from scripts.nano import domain
from scripts.nano.data import phones
from scripts.nano.data.input_speech import SAMPLE_RATE, Samples, resample, trim
from scripts.nano.domain.numbers import DIGIT, spoken_digits
from scripts.nano.domain.parsing import parse
from scripts.nano.domain.vocabulary import WEEKDAYS
from scripts.nano.train.sizes import AUDIO
from scripts.nano.train.train_encoder import error_rates, load, save_whole

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
WORDS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
DAYS = {f"digits/day-{k % 7}": day.lower() for k, day in enumerate(WEEKDAYS, 1)}
LONGEST_SECONDS = 8.0


def transcripts(path: Path) -> dict[str, str]:
    """Read what each recording says: `name: words` in a line."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    pairs = (line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(";"))
    return {name: said.strip() for name, said in pairs}


def recording(sounds: Path, name: str) -> Samples | None:
    """Read a recording as mono samples at 16 kHz, without the silence around it; None where there is none."""
    path = sounds / f"{name}.wav"
    if not path.exists():
        return None
    samples, rate = soundfile.read(path, dtype="float32")
    return trim(resample(samples, SAMPLE_RATE / rate))


def joined(parts: list[Samples], rng: random.Random) -> Samples:
    """Put recordings one behind the other, with pauses of 60 to 180 ms."""
    out = []
    for part in parts:
        out += [part, np.zeros(int(rng.uniform(0.06, 0.18) * SAMPLE_RATE), dtype=np.float32)]
    return np.concatenate(out[:-1])


def clip(text: str, samples: Samples, kind: str, asked: domain.Asked | None) -> dict[str, Any]:
    """Make an item of an evaluation set, at the level and with the quiet around it that the other sets have."""
    quiet = np.zeros(SAMPLE_RATE // 5, dtype=np.float32)
    samples = np.concatenate([quiet, samples * (0.55 / max(float(np.abs(samples).max()), 1e-4)), quiet])
    pcm = torch.from_numpy((samples * 32767).astype(np.int16))
    known = {"intent": asked.intent, "slots": asked.slots} if asked else {"intent": "unknown", "slots": ()}
    return {"text": text, "phrasing": "unseen", "voice": "Allison Smith", "kind": kind, "pcm": pcm} | known


def closed(sounds: Path, said: dict[str, str], strings: int, rng: random.Random) -> list[dict[str, Any]]:
    """Answers of the phone desk's closed lists: weekdays, thanks, goodbyes and the like, and strings of digits."""
    clips = []
    for name, text in (said | DAYS).items():
        asked = parse(text)
        samples = recording(sounds, name)
        if asked is not None and asked.intent not in ("unknown", "desk_digits") and samples is not None:
            clips.append(clip(asked.text, samples, "closed", asked))
    singles = {d: sound for d in DIGIT if (sound := recording(sounds, f"digits/{d}")) is not None}
    for _ in range(strings):
        digits = "".join(rng.choice("0123456789") for _ in range(rng.choice((3, 4, 4, 4, 5, 6))))
        words = spoken_digits(digits)
        asked = domain.Asked("desk_digits", words, (("digits", words),))
        clips.append(clip(words, joined([singles[d] for d in digits], rng), "digits", asked))
    return clips


def outside(sounds: Path, said: dict[str, str]) -> list[dict[str, Any]]:
    """Sentences of three words and more that the domain does not know."""
    clips = []
    for name, text in said.items():
        samples = recording(sounds, name)
        plain = re.fullmatch(r"[A-Za-z' ,.?!-]+", text) and not re.search(r"[A-Z]{2}", text)
        if samples is None or not plain or len(text.split()) < 3 or len(samples) > LONGEST_SECONDS * SAMPLE_RATE:
            continue
        if parse(text) is None:
            clips.append(clip(text, samples, "outside", None))
    return clips


def main() -> None:
    """Write the clips and print the phone error rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, default=SOUNDS, help="folder of recordings")
    parser.add_argument("--words", type=Path, default=WORDS, help="what they say")
    parser.add_argument("--out", type=Path, default=Path("work/nano/ears/sets/real.pt"))
    parser.add_argument("--encoder", type=Path, help="encoder.pt of train_encoder.py, for the phone error rate")
    parser.add_argument("--strings", type=int, default=100, help="strings of digits")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for path in (args.sounds, args.words):
        if not path.exists():
            parser.error(f"{path} is not there; install asterisk-core-sounds-en and asterisk-core-sounds-en-wav")
    said = transcripts(args.words)
    sentences = outside(args.sounds, said)
    clips = closed(args.sounds, said, args.strings, random.Random(args.seed)) + sentences
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(clips, args.out)
    kinds = {kind: sum(c["kind"] == kind for c in clips) for kind in ("closed", "digits", "outside")}
    print(f"{args.out}: {kinds}")
    if args.encoder:
        heard = [
            ("real", log_mel(c["pcm"].float() / 32768, AUDIO.n_mels), phones.phone_ids(c["text"])) for c in sentences
        ]
        print(f"phone error rate: {error_rates(load(args.encoder), heard)['real']:.3f} ({len(heard)} sentences)")


if __name__ == "__main__":
    main()
