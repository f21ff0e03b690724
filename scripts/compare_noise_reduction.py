"""Compares our noise reduction with WebRTC's (package `webrtc-noise-gain`): word error of nano's transcripts in noise,
delay and CPU time.

    pip install webrtc-noise-gain
    python scripts/compare_noise_reduction.py --clips 32

Held-out synthetic voices say sentences of nano's domain in steady noise (fan), hiss and the babble of other voices, at
signal-to-noise ratios of the speech's own power. Every reducer gets the same sounds, after two seconds of the noise,
and nano transcribes what comes out. A reducer is of use only where its word error is below that of no reduction.

Needs the synthesizers of scripts/nano/data/input_speech.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from webrtc_noise_gain import AudioProcessor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from realtime.audio.noise_reduction import NoiseReducer
from scripts.nano import domain
from scripts.nano.data import input_speech
from scripts.nano.data.input_speech import SAMPLE_RATE, Samples
from scripts.nano.evaluate.hearing import Scribe
from scripts.nano.train.lm import edits

NANO = Path(__file__).resolve().parents[1] / "realtime" / "checkpoints" / "nano"
LEAD = 2 * SAMPLE_RATE
"""Noise before the speech, to which a reducer adapts as it does in a call."""
BLOCK = SAMPLE_RATE // 100

SENTENCES = (
    "what time is it", "what is the weather in paris", "tell me a joke", "how are you today", "who are you",
    "what is two plus three", "what day is it today", "tell me a story", "what can you do", "thank you very much",
    "good morning", "what is the capital of france", "repeat after me the sun is warm", "count to five",
    "what is your name", "can you help me", "set a timer for ten minutes", "what is the date today",
    "how old are you", "say hello to my friend",
)  # fmt: skip


def ours(most_db: float) -> Callable[[Samples], Samples]:
    def reduce(samples: Samples) -> Samples:
        reducer = NoiseReducer(most_db)
        pieces = [reducer.push(samples[start : start + BLOCK]) for start in range(0, len(samples), BLOCK)]
        return np.concatenate([*pieces, reducer.flush()])

    return reduce


def webrtc(level: int) -> Callable[[Samples], Samples]:
    def reduce(samples: Samples) -> Samples:
        processor = AudioProcessor(0, level)
        padded = np.pad(samples, (0, -len(samples) % BLOCK))
        pcm = (np.clip(padded, -1, 1) * 32767).astype("<i2")
        blocks = (processor.Process10ms(pcm[start : start + BLOCK].tobytes()) for start in range(0, len(pcm), BLOCK))
        out = np.frombuffer(b"".join(block.audio for block in blocks), "<i2")
        return (out[: len(samples)] / 32768).astype(np.float32)

    return reduce


REDUCERS: Mapping[str, Callable[[Samples], Samples]] = {
    "none": lambda samples: samples,
    "ours, near field (12 dB)": ours(12.0),
    "ours, far field (18 dB)": ours(18.0),
    "WebRTC level 1": webrtc(1),
    "WebRTC level 2": webrtc(2),
    "WebRTC level 3": webrtc(3),
    "WebRTC level 4": webrtc(4),
}


def noise(kind: str, length: int, babble: Samples, rng: np.random.Generator) -> Samples:
    """Float32 [length] of this kind, with a power of 1."""
    if kind == "babble":
        start = int(rng.integers(len(babble) - length))
        made = babble[start : start + length]
    else:
        spectrum = np.fft.rfft(rng.standard_normal(length))
        bins = np.maximum(np.arange(len(spectrum)) * SAMPLE_RATE / length, 50.0)
        made = np.fft.irfft(spectrum / (bins if kind == "fan" else np.ones_like(bins)), length)
    return (made / np.sqrt(np.mean(made**2))).astype(np.float32)


def delay_ms(reduce: Callable[[Samples], Samples], speech: Samples) -> float:
    """By how much what comes out lies behind what goes in, by cross-correlation."""
    out = reduce(speech)
    size = 2 * len(speech)
    product = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(speech, size)), size)
    lag = int(np.argmax(product))
    return (lag if lag < len(speech) else lag - size) * 1000 / SAMPLE_RATE


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=len(SENTENCES))
    parser.add_argument("--snr", type=float, nargs="*", default=(15.0, 5.0, 0.0), metavar="DB")
    parser.add_argument("--checkpoint", type=Path, default=NANO)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    rng = np.random.default_rng(11)
    scribe = Scribe(args.checkpoint)
    said = []
    for index in range(args.clips):
        text = SENTENCES[index % len(SENTENCES)]
        voice = input_speech.HELD_OUT[0] if index % 2 else str(rng.choice(input_speech.HELD_OUT[1:]))
        said.append((text, input_speech.synthesize(text, voice, rng)))
    others = [input_speech.synthesize(SENTENCES[k % len(SENTENCES)], "flite:slt", rng) for k in range(24)]
    babble = sum(np.resize(np.roll(np.concatenate(others), k * 31_337), 60 * SAMPLE_RATE) for k in range(6))

    sounds: dict[str, list[tuple[str, Samples]]] = {"quiet": [(text, np.pad(s, (LEAD, 0))) for text, s in said]}
    for kind in ("fan", "hiss", "babble"):
        for snr in args.snr:
            made = []
            for text, speech in said:
                level = np.sqrt(np.mean(speech**2)) * 10 ** (-snr / 20)
                sound = np.pad(speech, (LEAD, SAMPLE_RATE // 4))
                made.append((text, sound + level * noise(kind, len(sound), babble, rng)))
            sounds[f"{kind} {snr:g} dB"] = made
    print("| reducer | " + " | ".join(sounds) + " | delay | CPU a second |")
    print("|" + "---|" * (len(sounds) + 3))
    for name, reduce in REDUCERS.items():
        rates, spent, seconds = [], 0.0, 0.0
        for clips in sounds.values():
            wrong = words = 0
            for text, sound in clips:
                began = time.process_time()
                clean = reduce(sound)
                spent += time.process_time() - began
                seconds += len(sound) / SAMPLE_RATE
                heard = domain.plain(scribe.write(clean[LEAD - SAMPLE_RATE // 5 :])).split()
                wrong += edits(text.split(), heard)
                words += len(text.split())
            rates.append(f"{wrong / words:.2f}")
        lag = delay_ms(reduce, said[0][1])
        print(f"| {name} | " + " | ".join(rates) + f" | {lag:.0f} ms | {spent / seconds * 1000:.1f} ms |", flush=True)


if __name__ == "__main__":
    main()
