# /// script
# dependencies = ["numpy", "onnxruntime", "silero-vad", "soundfile"]
# ///
"""Measures the echo gate in simulated rooms: self-interruptions, missed barge-ins, added delay.

    python scripts/measure_echo.py [--rooms 4]

In each mix, recorded speech is played at -23 dBFS for about 20 s. The microphone receives it after 60 to 400 ms at the
given echo level, through a saturating loudspeaker and a room (decaying noise, 0.2 to 0.5 s to -60 dB), with room noise
at -60 dBFS. In half of the mixes another voice speaks over it four times at -26 dBFS. Everything is seeded.

Prints a table with one row per echo level: false speech starts per minute, the share of utterances for which no speech
start was detected, and the median delay of the detected starts relative to the same utterance without an echo.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from realtime.turns.echo import EchoGate
from realtime.turns.endpointing import Endpointer, EndpointingConfig
from realtime.turns.events import SpeechStarted
from realtime.turns.vad import SileroVad

RATE = 16_000
SPEECH = Path(__file__).parents[1] / "tests" / "data" / "speech"
LEVELS_DB = (None, -30, -24, -18, -12, -6, 0)
REPLY_DB, CALLER_DB, ROOM_DB = -23.0, -26.0, -60.0

Sound = NDArray[np.float32]


def at_level(sound: NDArray[np.floating], level_db: float) -> Sound:
    return (sound * 10 ** (level_db / 20) / np.sqrt(np.mean(np.square(sound)))).astype(np.float32)


def voice(pattern: str) -> list[Sound]:
    return [soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob(pattern))]


def reply_speech(rng: np.random.Generator) -> Sound:
    """About 20 s of two voices, with short gaps."""
    parts: list[Sound] = []
    clips = voice("*_slt.wav") + voice("*_awb.wav")
    for index in rng.permutation(len(clips)).tolist() * 2:
        parts += [at_level(clips[index], REPLY_DB), np.zeros(int(rng.uniform(0.05, 0.3) * RATE), np.float32)]
    return np.concatenate(parts)[: 20 * RATE]


def through_the_room(played: Sound, echo_db: float, rng: np.random.Generator) -> Sound:
    """The echo in the microphone."""
    decay = rng.uniform(0.2, 0.5)
    response = rng.normal(size=int(decay * RATE)) * 10 ** (-3 * np.arange(int(decay * RATE)) / (decay * RATE))
    response[0] = 3 * np.abs(response).max()  # the direct path
    saturated = np.tanh(3 * played) / 3
    size = len(played) + len(response)
    wet = np.fft.irfft(np.fft.rfft(saturated, size) * np.fft.rfft(response, size), size)[: len(played)]
    delay = int(rng.uniform(0.06, 0.4) * RATE)
    echo = np.concatenate((np.zeros(delay), wet))[: len(played)]
    return at_level(echo, REPLY_DB + echo_db)


def caller_speech(length: int, rng: np.random.Generator) -> tuple[Sound, list[tuple[int, int]]]:
    """Four utterances of another voice, and their (first, last) samples."""
    heard, spans = np.zeros(length, np.float32), []
    clips = voice("*_rms.wav") + voice("short/*_rms.wav")
    for start in np.linspace(3.0, 17.0, 4) + rng.uniform(-0.5, 0.5, 4):
        clip = at_level(clips[int(rng.integers(len(clips)))], CALLER_DB)
        first = int(start * RATE)
        heard[first : first + len(clip)] += clip
        spans.append((first, first + len(clip)))
    return heard, spans


@dataclass
class Tally:
    """The counts of one echo level."""

    minutes: float = 0.0
    self_starts: int = 0
    spoken: int = 0
    missed: int = 0
    delays_ms: list[float] = field(default_factory=list)


def starts(model: SileroVad, heard: Sound, played: Sound, gated: bool) -> list[int]:
    """The samples at which speech started."""
    endpointer = Endpointer(model.open(), EndpointingConfig(silence_ms=300), EchoGate() if gated else None)
    events = endpointer.push(heard, played)
    return [event.at for event in events if isinstance(event, SpeechStarted)]


def measure(model: SileroVad, echo_db: float | None, rooms: int, gated: bool) -> Tally:
    tally = Tally()
    for seed in range(rooms):
        rng = np.random.default_rng(seed)
        played = reply_speech(rng)
        echo = through_the_room(played, echo_db, rng) if echo_db is not None else np.zeros_like(played)
        room = at_level(rng.normal(size=len(played)), ROOM_DB)
        tally.self_starts += len(starts(model, echo + room, played, gated))
        tally.minutes += len(played) / RATE / 60
        caller, spans = caller_speech(len(played), rng)
        alone = starts(model, caller + room, np.zeros_like(played), False)
        found = starts(model, caller + echo + room, played, gated)
        for first, last in spans:
            spoken = [at for at in alone if first <= at <= last + RATE // 4]
            heard = [at for at in found if first <= at <= last + RATE // 4]
            if spoken:
                tally.spoken += 1
                tally.missed += not heard
                tally.delays_ms += [(heard[0] - spoken[0]) * 1000 / RATE] if heard else []
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, default=4, help="mixes of 20 s for each echo level (default 4)")
    arguments = parser.parse_args()
    model = SileroVad()
    print("| echo | gate | self-interruptions a minute | missed barge-ins | median added delay |")
    print("|---|---|---|---|---|")
    began = time.process_time()
    for level in LEVELS_DB:
        for gated in (False, True):
            tally = measure(model, level, arguments.rooms, gated)
            delay = f"{np.median(tally.delays_ms):.0f} ms" if tally.delays_ms else "-"
            echo = "none" if level is None else f"{level} dB"
            print(
                f"| {echo} | {'on' if gated else 'off'} | {tally.self_starts / tally.minutes:.1f} "
                f"| {tally.missed} of {tally.spoken} | {delay} |",
                flush=True,
            )
    print(f"\n{arguments.rooms} rooms; {time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
