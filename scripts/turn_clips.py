"""Makes the speech clips of `realtime bench turns` with free synthesizers.

    python scripts/turn_clips.py            # writes realtime/bench/turns/clips/*.flac and clips.json

Needs the synthesizers of scripts/nano/data/input_speech.py (flite, ttspico) and pocketsphinx. A sentence with a pause
is synthesized as a whole, so that its first half does not sound like an end; pocketsphinx finds the word to cut at.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import soundfile
from pocketsphinx import Decoder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from realtime.client.utterance import end_of_speech
from scripts.nano.data.input_speech import SAMPLE_RATE, Samples, synthesize

OUT = Path(__file__).resolve().parents[1] / "realtime" / "bench" / "turns" / "clips"
SLT, AWB, RMS, US, GB = "flite:slt", "flite:awb", "flite:rms", "pico:en-US", "pico:en-GB"
_NEAR = SAMPLE_RATE // 12  # the cut is at the quietest sample this close to the word boundary
_WINDOW = SAMPLE_RATE // 100

# kind -> (text, voice); "|" marks a possible pause
TEXTS = {
    "sentence": (
        ("i would like to book a table | for four people tomorrow", SLT),
        ("can you tell me | what time the train leaves", AWB),
        ("please set an alarm for | half past six", US),
        ("what is the weather like in | paris today", GB),
        ("remind me to call | my mother in the evening", RMS),
        ("how much is forty two | plus seventeen", SLT),
        ("turn on the lights in | the kitchen and the hall", US),
        ("do you know who | wrote this song", RMS),
        ("i am looking for a book about | the history of london and its bridges over the river", GB),
        ("what is the | tallest mountain in africa", AWB),
        ("tell me a story", SLT),
        ("what time is it", US),
        ("where is the station", GB),
        ("how are you today", AWB),
        ("thank you very much", RMS),
    ),
    "filler": (("um", SLT), ("um", AWB), ("uh", US), ("er", GB), ("um", RMS)),
    "short": (
        ("yes", SLT), ("no", AWB), ("stop", RMS), ("okay", US), ("hello", GB), ("no", US), ("yes", GB), ("stop", SLT),
        ("maybe", AWB), ("thanks", RMS),
    ),
    "barge": (
        ("stop", AWB), ("stop", US), ("wait a moment", SLT), ("no that is not what i meant", AWB), ("hold on", US),
        ("actually what about tomorrow", GB), ("excuse me", RMS), ("no", GB),
    ),
    "backchannel": (("yeah", SLT), ("uh huh", US), ("right", GB), ("i see", RMS)),
    "reply": (
        (
            "the museum opens at nine in the morning and closes at six. on sundays it opens an hour later, and the "
            "last guided tour begins at four in the afternoon.",
            GB,
        ),
        (
            "there are two trains this evening. the first one leaves at seven fifteen from platform three, the other "
            "one an hour later. both of them stop in the city.",
            SLT,
        ),
    ),
}  # fmt: skip


def trim(samples: Samples) -> Samples:
    """The samples without leading and trailing silence."""
    samples = samples[: end_of_speech(samples, SAMPLE_RATE)]
    return samples[len(samples) - end_of_speech(samples[::-1], SAMPLE_RATE) :]


def cut_before(samples: Samples, before: str, after: str) -> int:
    """The sample between the words ``before`` and ``after``."""
    decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
    decoder.set_align_text(f"{before} {after}")
    decoder.start_utt()
    decoder.process_raw((samples * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    words = [segment for segment in decoder.seg() if not segment.word.startswith(("<", "[", "("))]
    boundary = words[len(before.split())].start_frame * SAMPLE_RATE // 100
    power = [
        (float(np.mean(np.square(samples[start : start + _WINDOW]))), start)
        for start in range(boundary - _NEAR, boundary + _NEAR, _WINDOW // 2)
    ]
    return min(power)[1] + _WINDOW // 2


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*.flac"):
        old.unlink()
    listed = []
    for kind, texts in TEXTS.items():
        for index, (text, voice) in enumerate(texts):
            spoken = " ".join(text.replace("|", " ").split())
            samples = trim(synthesize(spoken, voice, np.random.default_rng(index)))
            samples *= 0.5 / max(float(np.abs(samples).max()), 1e-6)
            name = f"{kind}_{index:02}_{re.sub('[^a-z]+', '_', ' '.join(spoken.split()[:4]))}_{voice.split(':')[1]}"
            name = name.replace("+", "_").replace("-", "_").lower()
            soundfile.write(OUT / f"{name}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
            cut = cut_before(samples, *map(str.strip, text.split("|"))) if "|" in text else None
            listed.append({"name": name, "kind": kind, "text": spoken, "voice": voice, "cut": cut})
            print(
                f"{name}: {len(samples) / SAMPLE_RATE:.2f} s", "" if cut is None else f"cut at {cut / SAMPLE_RATE:.2f}"
            )
    lines = ",\n ".join(json.dumps(clip) for clip in listed)
    (OUT / "clips.json").write_text(f"[{lines}]\n")
    print(f"{sum(path.stat().st_size for path in OUT.glob('*.flac')) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
