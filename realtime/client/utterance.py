"""A recording to send: its samples at the wire's rate, and the end of the speech in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from realtime.audio.streams import Resampler, Samples, float_to_pcm16
from realtime.client.connection import WIRE_RATE
from realtime.errors import AudioFormatError

_WINDOW_MS = 10
_REPEAT_GAP_MS = 100
_VOICED_BELOW_PEAK_DB = 35.0
"""Windows more than this below the loudest one count as silence: quiet consonants are 20 to 30 dB below vowels, the
noise floor of an ordinary recording 40 dB or more."""


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Float32 [n] mono at `WIRE_RATE`; the speech ends at sample ``voiced`` (exclusive)."""

    name: str
    samples: Samples = field(repr=False)
    voiced: int

    @property
    def voiced_s(self) -> float:
        return self.voiced / WIRE_RATE

    def frame(self, index: int, length: int) -> bytes:
        """The PCM16 frame of ``length`` samples that begins at ``index * length``; silence beyond the end."""
        part = self.samples[index * length : (index + 1) * length]
        return float_to_pcm16(np.pad(part, (0, length - len(part))))


def lengthened(utterance: Utterance, seconds: float) -> Utterance:
    """The speech repeated up to ``seconds``; the last repetition may be incomplete."""
    gap: Samples = np.zeros(WIRE_RATE * _REPEAT_GAP_MS // 1000, np.float32)
    once = np.concatenate((utterance.samples[: utterance.voiced], gap))
    length = int(seconds * WIRE_RATE)
    samples = np.tile(once, -(-length // len(once)))[:length]
    return Utterance(f"{utterance.name} for {seconds:g} s", samples, end_of_speech(samples))


def load_utterance(path: Path) -> Utterance:
    """Read any file that libsndfile reads and mix it to mono. Raises `AudioFormatError` if unreadable or silent."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioFormatError(f"{path}: {error}; use a WAV, FLAC or OGG file") from error
    mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    resampler = Resampler(rate, WIRE_RATE)
    wire = np.concatenate((resampler.push(mono), resampler.flush()), dtype=np.float32)
    voiced = end_of_speech(wire)
    if voiced == 0:
        raise AudioFormatError(f"{path} is silent: use a recording of speech")
    return Utterance(path.name, wire, voiced)


def end_of_speech(samples: Samples, rate: int = WIRE_RATE) -> int:
    """The sample after the last voiced window of 10 ms, by its energy relative to the loudest one; 0 for silence."""
    window = rate * _WINDOW_MS // 1000
    whole = len(samples) // window
    power = np.square(samples[: whole * window].reshape(whole, window), dtype=np.float64).mean(axis=1)
    if not whole or power.max() == 0:
        return 0
    (voiced,) = np.nonzero(power > power.max() * 10 ** (-_VOICED_BELOW_PEAK_DB / 10))
    return int(voiced[-1] + 1) * window
