"""Input speech for nano: utterances spoken by free synthesizers in many voices, and their augmentation.

Voices: flite slt, awb, kal16; festival kal, ked (diphone) and slt (HTS); Pico; RHVoice's bdl and clb (rhvoice.py);
espeak-ng accents x variants.
`HELD_OUT` voices (flite rms and ten espeak variants) are never drawn for training, so the error on them says something
about new speakers; espeak variants share one synthesizer and count as one.

    python scripts/nano/data/input_speech.py generate --utterances 30000     # resumes at the first missing shard
    python scripts/nano/data/input_speech.py generate --split held-out --utterances 600
    python scripts/nano/data/input_speech.py say "what time is it" --voice flite:slt --out time.wav

A shard is `NAME.npz`: pcm int16 [sum of samples] at 16 kHz, ends int64 [U], and text, voice, intent [U] strings.
Needs: libflite1, libespeak-ng1, festival with festvox-kallpc16k, festvox-kdlpc16k, festvox-us-slt-hts; from PyPI
ttspico (SVOX Pico; built with a C compiler) and pocketsphinx. Where what RHVoice's two voices need is missing, those
are left out.
"""

import argparse
import atexit
import ctypes
import functools
import importlib.util
import os
import random
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from realtime.audio.g711 import mulaw_to_pcm16, pcm16_to_mulaw
from scripts.nano import domain
from scripts.nano.data import kokoro, phones, rhvoice
from scripts.nano.data.festival import Festival

SAMPLE_RATE = 16_000
Samples = npt.NDArray[np.float32]
Rng = np.random.Generator

ACCENTS = (
    "en-us", "en", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
)  # fmt: skip
HELD_OUT_VARIANTS = ("f3", "m4", "Andy", "Annie", "klatt3", "steph2", "benjamin", "Mike", "paul", "linda")
VARIANTS = (
    "f1 f2 f4 f5 m1 m2 m3 m5 m6 m7 m8 adam Alex Alicia Andrea antonio aunty belinda boris caleb david Denis Diogo ed "
    "edward edward2 Gene Gene2 grandma grandpa gustave Henrique Hugo iven iven2 iven3 iven4 Jacky john kaukovalta "
    "klatt klatt2 klatt4 klatt5 klatt6 Lee marcelo Marco Mario max michael michel miguel Nguyen norbert pablo pedro "
    "quincy rob robert sandro shelby steph steph3 Storm travis victor Zac anika"
).split()
NATURAL = {
    "flite:slt": 0.12, "flite:awb": 0.13, "flite:kal16": 0.06, "festival:kal": 0.04, "festival:ked": 0.07,
    "festival:slt": 0.02, "pico:en-US": 0.13, "pico:en-GB": 0.13, "rhvoice:bdl": 0.07, "rhvoice:clb": 0.07,
}  # fmt: skip
VOICES_TRAIN: tuple[str, ...] = (
    *NATURAL,
    *(f"espeak:{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS),
)
HELD_OUT: tuple[str, ...] = ("flite:rms", *(f"espeak:en-us+{variant}" for variant in HELD_OUT_VARIANTS))
VOICES_HELD_OUT = HELD_OUT


def sample_voice(rng: Rng) -> str:
    """A training voice: a natural-voice synthesizer of `NATURAL` by its weight (81 %), else any espeak voice."""
    while True:
        name = str(rng.choice([*NATURAL, "espeak"], p=[*NATURAL.values(), 1 - sum(NATURAL.values())]))
        if name == "espeak":
            return str(VOICES_TRAIN[int(rng.integers(len(NATURAL), len(VOICES_TRAIN)))])
        if _installed(name):
            return name


@functools.cache
def _installed(voice: str) -> bool:
    absent = rhvoice.missing() if voice.startswith("rhvoice") else []
    if absent:
        print(f"{voice} is left out: it needs {' and '.join(absent)}", file=sys.stderr)
    return not absent


# -- synthesizers ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prosody:
    """How an utterance is said: factors on the voice's own duration, F0 and formant frequencies."""

    duration: float = 1.0
    pitch: float = 1.0
    formants: float = 1.0

    @staticmethod
    def draw(rng: Rng, formant_range: float) -> "Prosody":
        return Prosody(
            float(rng.uniform(0.85, 1.25)),
            float(np.exp(rng.uniform(-0.2, 0.2))),
            float(np.exp(rng.uniform(-formant_range, formant_range))),
        )


class _FliteWave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("samples", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_short)),
    ]


class _FliteVoice(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_void_p)]


@functools.cache
def _flite() -> ctypes.CDLL:
    library = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    for name in ("libflite_cmulex.so.1", "libflite_usenglish.so.1"):
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    library.flite_text_to_wave.restype = ctypes.POINTER(_FliteWave)
    library.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.POINTER(_FliteVoice)]
    library.feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
    library.delete_wave.argtypes = [ctypes.POINTER(_FliteWave)]
    library.flite_init()
    return library


@functools.cache
def _flite_voice(name: str) -> "ctypes._Pointer[_FliteVoice]":
    register = getattr(_flite_library(name), f"register_cmu_us_{name}")
    register.restype = ctypes.POINTER(_FliteVoice)
    register.argtypes = [ctypes.c_char_p]
    return register(None)  # type: ignore[no-any-return]


def _flite_library(name: str) -> ctypes.CDLL:
    _flite()
    return ctypes.CDLL(f"libflite_cmu_us_{name}.so.1")


def _say_flite(text: str, name: str, prosody: Prosody) -> tuple[Samples, int]:
    library, voice = _flite(), _flite_voice(name)
    features = voice.contents.features
    library.feat_set_float(features, b"duration_stretch", prosody.duration)
    library.feat_set_float(features, b"f0_shift", prosody.pitch)
    made = library.flite_text_to_wave(text.encode("ascii", "ignore"), voice)
    samples = np.ctypeslib.as_array(made.contents.data, (made.contents.samples,)) * np.float32(1 / 32768)
    rate = int(made.contents.rate)
    library.delete_wave(made)
    return samples, rate


class _Espeak:
    """libespeak-ng in synchronous mode; one a process."""

    _CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    _SYNCHRONOUS, _DONT_EXIT, _UTF8, _IPA = 2, 0x8000, 1, 2
    _RATE, _PITCH, _RANGE = 1, 3, 4

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        self.rate = int(self._library.espeak_Initialize(self._SYNCHRONOUS, 0, None, self._DONT_EXIT))
        self._parts: list[npt.NDArray[np.int16]] = []
        self._callback = self._CALLBACK(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, data: "ctypes._Pointer[ctypes.c_short]", count: int, _events: object) -> int:
        if data and count > 0:
            self._parts.append(np.ctypeslib.as_array(data, (count,)).copy())
        return 0

    def phonemes(self, text: str, voice: str) -> str:
        """The IPA of a text."""
        self._set_voice(voice)
        rest, parts = ctypes.c_char_p(text.encode()), []
        while rest.value:
            parts.append(self._library.espeak_TextToPhonemes(ctypes.byref(rest), self._UTF8, self._IPA).decode())
        return " ".join(parts)

    def _set_voice(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")

    def say(self, text: str, voice: str, words_per_minute: int, pitch: int, pitch_range: int) -> Samples:
        self._set_voice(voice)
        for parameter, value in (
            (self._RATE, words_per_minute),
            (self._PITCH, pitch),
            (self._RANGE, pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._parts.clear()
        raw = text.encode()
        self._library.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, self._UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._parts:
            raise RuntimeError(f"espeak-ng made no sound of {text!r} with {voice}")
        return np.concatenate(self._parts) * np.float32(1 / 32768)


@functools.cache
def _espeak() -> _Espeak:
    return _Espeak()


class _Festival:
    """One running `festival --pipe` with one voice; each utterance is a command answered by a line."""

    _SETUP = {
        "kal": "(voice_kal_diphone)",
        "ked": "(voice_ked_diphone)",
        "slt": "(voice_cmu_us_slt_arctic_hts)",
    }
    # F0 mean of the diphone voices, for `int_lr_params`; the HTS voice takes its F0 from the model.
    _PITCH = {"kal": 105.0, "ked": 105.0}

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = Path(tempfile.mkdtemp(prefix="festival-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self._festival = Festival()
        atexit.register(self.close)
        self._festival.run(self._SETUP[name])

    def say(self, text: str, prosody: Prosody) -> Samples:
        target = self._file / "utterance.raw"
        target.unlink(missing_ok=True)
        if self._name in self._PITCH:
            mean = self._PITCH[self._name] * prosody.pitch
            setup = (
                f"(Parameter.set 'Duration_Stretch {prosody.duration:.3f})"
                f"(set! int_lr_params '((target_f0_mean {mean:.1f}) (target_f0_std {mean / 7:.1f})"
                " (model_f0_mean 170) (model_f0_std 34)))"
            )
        else:
            setup = (
                "(set! hts_engine_params (append cmu_us_slt_arctic_hts::hts_engine_params"
                f' \'(("-r" {1 / prosody.duration:.3f}))))'
            )
        self._festival.run(
            f'{setup}(set! u (Utterance Text "{text}"))(utt.synth u)(utt.wave.resample u {SAMPLE_RATE})'
            f'(utt.save.wave u "{target}" \'raw)'
        )
        return np.fromfile(target, dtype=np.int16) * np.float32(1 / 32768)

    def close(self) -> None:
        self._festival.close()
        for left in self._file.glob("*"):
            left.unlink()
        self._file.rmdir() if self._file.exists() else None


@functools.cache
def _festival(name: str) -> _Festival:
    return _Festival(name)


@functools.cache
def _pico(language: str) -> Any:
    from ttspico import TtsEngine

    return TtsEngine(language)


def _say_pico(text: str, language: str, prosody: Prosody) -> Samples:
    speed, pitch = round(100 / prosody.duration), round(100 * prosody.pitch)
    marked = f'<speed level="{speed}"><pitch level="{np.clip(pitch, 50, 200)}">{text}</pitch></speed>'
    return np.frombuffer(_pico(language).speak(marked), dtype=np.int16) * np.float32(1 / 32768)


def resample(samples: Samples, ratio: float) -> Samples:
    """Band-limited resampling to `ratio` times as many samples, through one FFT."""
    size = next_fast_len(len(samples) + 64, real=True)
    wanted = next_fast_len(max(round(size * ratio), 16), real=True)
    spectrum = rfft(samples, size)
    kept = np.zeros(wanted // 2 + 1, dtype=spectrum.dtype)
    bins = min(len(kept), len(spectrum))
    kept[:bins] = spectrum[:bins]
    out = irfft(kept, wanted)[: round(len(samples) * wanted / size)]
    return np.asarray(out * (wanted / size), dtype=np.float32)


def trim(samples: Samples, threshold: float = 0.01) -> Samples:
    """Without the quiet samples at both ends (under `threshold` of the peak), 20 ms kept."""
    loud = np.flatnonzero(np.abs(samples) > threshold * max(float(np.abs(samples).max(initial=0.0)), 1e-6))
    if len(loud) == 0:
        return samples
    return samples[max(loud[0] - 320, 0) : loud[-1] + 320]


def synthesize(text: str, voice: str, rng: Rng) -> Samples:
    """A text in a voice with prosody drawn from `rng` -> [N] float32 at 16 kHz, peak 0.5, silence at the ends trimmed.

    Tempo, F0 and formants vary independently: the synthesizer is asked for the first two and the third comes from
    resampling. Numbers are written out first, so what is heard is what `phones.words` says.
    """
    engine, name = voice.split(":", 1)
    spoken = " ".join(phones.words(text))
    wanted = Prosody.draw(rng, 0.06 if engine == "espeak" else 0.18)
    # Resampling by 1/formants shortens and raises everything, so ask for the inverse beforehand.
    asked = Prosody(wanted.duration * wanted.formants, wanted.pitch / wanted.formants)
    if engine == "flite":
        samples, rate = _say_flite(spoken, name, asked)
    elif engine == "festival":
        samples, rate = _festival(name).say(spoken, asked), SAMPLE_RATE
    elif engine == "pico":
        samples, rate = _say_pico(spoken, name, asked), SAMPLE_RATE
    elif engine == "rhvoice":
        samples, rate = rhvoice.say(spoken, name, asked.duration, asked.pitch), rhvoice.SAMPLE_RATE
    elif engine == "kokoro":
        ipa = _espeak().phonemes(spoken, str(rng.choice(["en-us", "en-us", "en-us", "en"]))) + str(
            rng.choice(["", ".", "?"])
        )
        samples, rate = kokoro.say(ipa, name, asked.duration), kokoro.SAMPLE_RATE
    elif engine == "espeak":
        speed = int(np.clip(rng.uniform(120, 190) / wanted.formants, 90, 220))
        samples = _espeak().say(spoken, name, speed, int(rng.integers(20, 81)), int(rng.integers(30, 71)))
        rate = _espeak().rate
    else:
        raise ValueError(f"voice {voice!r}: no synthesizer {engine!r}")
    ratio = SAMPLE_RATE / rate / wanted.formants
    if abs(ratio - 1) > 1e-3:
        samples = resample(samples, ratio)
    samples = trim(samples)
    return np.asarray(samples * (0.5 / max(float(np.abs(samples).max()), 1e-4)), dtype=np.float32)


def speak_plainly(text: str, espeak_voice: str, rng: Rng) -> Samples:
    """Any text in an espeak voice of any language, as it is written -> as `synthesize` gives it."""
    said = _espeak().say(text, espeak_voice, int(rng.integers(130, 190)), int(rng.integers(20, 81)), 50)
    samples = trim(resample(said, SAMPLE_RATE / _espeak().rate))
    return np.asarray(samples * (0.5 / max(float(np.abs(samples).max()), 1e-4)), dtype=np.float32)


# -- augmentation ----------------------------------------------------------------------------------------


def coloured_noise(size: int, rng: Rng, exponent: float) -> Samples:
    """Noise of power 1, its power spectrum 1/f^exponent (0 white, 1 pink, 2 brown); repeats after 4 s."""
    length = next_fast_len(min(size, 4 * SAMPLE_RATE), real=True)
    spectrum = rfft(rng.standard_normal(length, dtype=np.float32))
    frequency = np.maximum(np.arange(len(spectrum), dtype=np.float32) * (SAMPLE_RATE / length), 20.0)
    noise = irfft(spectrum * frequency ** (-exponent / 2), length)
    noise = np.tile(noise / max(float(np.sqrt(np.mean(noise**2))), 1e-9), -(-size // length))[:size]
    return np.asarray(noise, dtype=np.float32)


def _response(bins: int, size: int, rng: Rng, strength: float) -> npt.NDArray[np.float32]:
    """Magnitude response of a channel: a tilt, bumps and dips, and in 15 % of the cases the telephone band."""
    frequency = np.arange(bins, dtype=np.float32) * (SAMPLE_RATE / size)
    octaves = np.log2(np.maximum(frequency, 60.0) / 1000.0)
    decibel = rng.uniform(-4, 4) * strength * octaves
    for _ in range(3):
        centre, width = rng.uniform(-3, 3), rng.uniform(0.3, 1.5)
        decibel = decibel + rng.uniform(-7, 7) * strength * np.exp(-(((octaves - centre) / width) ** 2))
    if rng.random() < 0.15:
        low, high = rng.uniform(200, 350), rng.uniform(3200, 3800)
        decibel = decibel - 36 * np.clip((low - frequency) / 150, 0, 1) - 50 * np.clip((frequency - high) / 400, 0, 1)
    return np.asarray(10 ** (np.clip(decibel, -60, 24) / 20), dtype=np.float32)


def _room(rng: Rng, strength: float) -> Samples:
    """Impulse response of a small room: the direct sound, then an exponential tail of 80-400 ms (T60)."""
    decay = rng.uniform(0.08, 0.15 + 0.25 * strength)
    size = int(decay * SAMPLE_RATE)
    tail = rng.standard_normal(size, dtype=np.float32) * np.exp(-6.9 * np.arange(size, dtype=np.float32) / size)
    tail[: int(rng.uniform(0.001, 0.006) * SAMPLE_RATE)] = 0
    tail *= rng.uniform(0.1, 0.35 + 0.35 * strength) / max(float(np.sqrt(np.sum(tail**2))), 1e-6)
    tail[0] = 1.0
    return tail


def augment(samples: Samples, rng: Rng, strength: float = 0.5, pad_s: tuple[float, float] = (0.25, 0.35)) -> Samples:
    """A clip as another microphone, room and moment would give it; float32 at 16 kHz, peak within [-1, 1].

    `strength` 0..1: 0 adds silence, a little noise and gain only; 0.5 changes speed by 9 %, noise down to 12 dB; 1 is
    18 % and 5 dB. `pad_s` are the largest silences put before and after the speech.
    """
    if strength > 0:
        samples = resample(samples, float(np.exp(rng.uniform(-0.18, 0.18) * strength)))
    before, after = (int(rng.uniform(0.02, most) * SAMPLE_RATE) for most in pad_s)
    samples = np.pad(samples, (before, after))
    room = _room(rng, strength) if rng.random() < 0.5 * strength else None
    if strength > 0:
        size = next_fast_len(len(samples) + (0 if room is None else len(room)), real=True)
        spectrum = rfft(samples, size)
        spectrum *= _response(len(spectrum), size, rng, strength)
        if room is not None:
            spectrum *= rfft(room, size)
        samples = np.asarray(irfft(spectrum, size)[: len(samples)], dtype=np.float32)
    level = float(np.sqrt(np.mean(samples**2)))
    snr = rng.uniform(19 - 14 * strength, 40)
    noise = coloured_noise(len(samples), rng, float(rng.choice([0.0, 0.5, 1.0, 1.5, 2.0])))
    samples = samples + noise * (level * 10 ** (-snr / 20))
    peak = np.exp(rng.uniform(np.log(0.05), np.log(0.95)))
    return np.asarray(samples * (peak / max(float(np.abs(samples).max()), 1e-6)), dtype=np.float32)


def telephoned(samples: Samples) -> Samples:
    """Speech as it comes through 8 kHz mu-law."""
    narrow = resample(samples, 0.5)
    coded = mulaw_to_pcm16(pcm16_to_mulaw((narrow * 32767).clip(-32768, 32767).astype(np.int16)))
    return resample(coded.astype(np.float32) / 32768, 2.0)


def non_speech(rng: Rng, seconds: float | None = None) -> Samples:
    """A clip with no words to answer: noise, music-like tones, clicks, hum or babble of many voices."""
    size = int((seconds or rng.uniform(0.5, 3.0)) * SAMPLE_RATE)
    moment = np.arange(size, dtype=np.float32) / SAMPLE_RATE
    kind = rng.choice(["noise", "tones", "clicks", "hum", "babble"])
    if kind == "noise":
        swell = 1 + rng.uniform(0, 0.9) * np.sin(2 * np.pi * rng.uniform(0.2, 4) * moment)
        out = coloured_noise(size, rng, float(rng.uniform(0, 2))) * swell
    elif kind == "tones":
        out = np.zeros(size, dtype=np.float32)
        for _ in range(int(rng.integers(2, 9))):
            start = int(rng.integers(0, size))
            tone = np.exp(-rng.uniform(1, 6) * moment[: size - start])
            base = 110 * 2 ** (rng.integers(0, 36) / 12)
            for harmonic in range(1, int(rng.integers(2, 6))):
                out[start:] += tone * np.sin(2 * np.pi * base * harmonic * moment[: size - start]) / harmonic
    elif kind == "clicks":
        out = np.zeros(size, dtype=np.float32)
        for start in rng.integers(0, size, int(rng.integers(1, 10))):
            length = min(int(rng.uniform(0.005, 0.06) * SAMPLE_RATE), size - start)
            out[start : start + length] += rng.standard_normal(length) * np.exp(-6 * np.arange(length) / length)
    elif kind == "hum":
        base = rng.choice([50.0, 60.0, rng.uniform(80, 300)])
        out = sum(rng.uniform(0, 1) * np.sin(2 * np.pi * base * h * moment) for h in range(1, 8)) + np.zeros(size)
    else:
        out = np.zeros(size, dtype=np.float32)
        for _ in range(int(rng.integers(4, 8))):
            words = " ".join(rng.choice(common_words(), 10))
            voice = str(rng.choice([v for v in VOICES_TRAIN if not v.startswith("festival") and _installed(v)]))
            talk = np.resize(synthesize(words, voice, rng), size + SAMPLE_RATE)
            out += np.roll(talk, int(rng.integers(0, size)))[:size] * rng.uniform(0.4, 1)
    out = out / max(float(np.abs(out).max()), 1e-6) * np.exp(rng.uniform(np.log(0.02), np.log(0.7)))
    return np.asarray(out, dtype=np.float32)


# -- texts -----------------------------------------------------------------------------------------------


@functools.cache
def common_words(count: int = 6000) -> tuple[str, ...]:
    """The most frequent words of pocketsphinx' language model that cmudict knows, most frequent first."""
    from pocketsphinx import NGramModel

    spec = importlib.util.find_spec("pocketsphinx")
    assert spec is not None and spec.origin is not None
    model = NGramModel.readfile(str(Path(spec.origin).parent / "model" / "en-us" / "en-us.lm.bin"))
    scored = [(model.prob([word]), word) for word in phones.dictionary() if word.replace("'", "").isalpha()]
    return tuple(word for _, word in sorted(scored, reverse=True)[:count])


_FRAMES = (
    "what is {n} plus {n}", "what is {n} times {n}", "how much is {n} minus {n}", "{n} divided by {n}",
    "set a timer for {n} minutes", "wake me up at {n} {n}", "what is the weather in {w}", "repeat after me {w} {w} {w}",
    "say {w} {w}", "my name is {w}", "call {w}", "turn on the {w}", "turn the {w} off", "remind me to {w} the {w}",
    "how do you spell {w}", "what does {w} mean", "play some {w} {w}", "tell me about {w}", "where is the {w}",
    "who is {w} {w}", "can you {w} me a {w}", "i would like a {w} please", "how many {w} are there in a {w}",
    "what time is it in {w}", "the number is {n}", "is it going to {w} tomorrow", "do you like {w}", "{n} {w}",
)  # fmt: skip


def _word(rng: Rng, vocabulary: Sequence[str]) -> str:
    if vocabulary and rng.random() < 0.5:
        return vocabulary[int(rng.integers(len(vocabulary)))]
    known = common_words()
    return known[int(len(known) * rng.random() ** 2)]


def _number(rng: Rng) -> str:
    return str(int(10 ** rng.uniform(0, rng.choice([1, 2, 2, 3, 4]))))


def word_string(rng: Rng, vocabulary: Sequence[str] = ()) -> str:
    """Two to seven common words, half of them from `vocabulary`, in no order."""
    count = int(rng.integers(2, 8))
    return " ".join(_number(rng) if rng.random() < 0.06 else _word(rng, vocabulary) for _ in range(count))


def general_text(rng: Rng, vocabulary: Sequence[str] = ()) -> str:
    """Text that makes the phones general: word strings and simple sentences with random words and numbers."""
    if rng.random() >= 0.35:
        return word_string(rng, vocabulary)
    frame = _FRAMES[int(rng.integers(len(_FRAMES)))]
    while "{" in frame:
        frame = frame.replace("{w}", _word(rng, vocabulary), 1).replace("{n}", _number(rng), 1)
    return frame


def domain_text(rng: Rng, split: str = "train") -> domain.Asked:
    """A question of the domain, with the domain's own weights."""
    python = random.Random(int(rng.integers(1 << 62)))
    return domain.ask(python.choices(domain.INTENTS, [i.weight for i in domain.INTENTS])[0].name, python, split)


# -- shards ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Utterance:
    samples: Samples
    text: str
    voice: str
    intent: str = ""


def write_shard(path: Path, utterances: list[Utterance]) -> None:
    """Write a shard; it appears under its name only when complete."""
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        pcm=np.concatenate([np.clip(u.samples * 32767, -32768, 32767).astype(np.int16) for u in utterances]),
        ends=np.cumsum([len(u.samples) for u in utterances]),
        text=np.array([u.text for u in utterances]),
        voice=np.array([u.voice for u in utterances]),
        intent=np.array([u.intent for u in utterances]),
    )
    part.rename(path)


def read_shard(path: Path) -> list[Utterance]:
    """The utterances of a shard."""
    with np.load(path) as shard:
        pcm, ends = shard["pcm"], shard["ends"]
        starts = np.concatenate([[0], ends[:-1]])
        return [
            Utterance(pcm[start:end].astype(np.float32) / 32767, str(text), str(voice), str(intent))
            for start, end, text, voice, intent in zip(
                starts, ends, shard["text"], shard["voice"], shard["intent"], strict=True
            )
        ]


def draw_text(rng: Rng, domain_share: float, phrasings: str = "train") -> tuple[str, str]:
    """(intent, text): from the domain with probability `domain_share`, else general text with intent ""."""
    if rng.random() < domain_share:
        asked = domain_text(rng, phrasings)
        return asked.intent, asked.text
    return "", general_text(rng, domain.word_list())


def draw_utterance(rng: Rng, voice: str, domain_share: float, longest_s: float) -> Utterance:
    """One spoken utterance of at most `longest_s` seconds."""
    while True:
        intent, text = draw_text(rng, domain_share)
        if not phones.words(text) or len(phones.words(text)) > 14:
            continue
        samples = synthesize(text, voice, rng)
        if 0.2 * SAMPLE_RATE < len(samples) <= longest_s * SAMPLE_RATE:
            return Utterance(samples, text, voice, intent)


def _voices(split: str, rng: Rng, only: Sequence[str]) -> Iterator[str]:
    while True:
        if only:
            yield str(rng.choice(list(only)))
        elif split == "train":
            yield sample_voice(rng)
        elif split == "held-out":
            yield from ("flite:rms", str(rng.choice(HELD_OUT[1:])))
        else:
            yield from filter(_installed, NATURAL)
            yield from (sample_voice(rng) for _ in NATURAL)


def generate(args: argparse.Namespace) -> None:
    """Write shards until there are `args.utterances`; shards that exist are kept."""
    args.out.mkdir(parents=True, exist_ok=True)
    started, made, seconds = time.time(), 0, 0.0
    for index in range(-(-args.utterances // args.shard)):
        path = args.out / f"{args.split}-{index:04d}.npz"
        if path.exists() or index % args.of != args.part:
            continue
        rng = np.random.default_rng([args.seed, index, {"train": 0, "held-out": 1, "seen": 2}[args.split]])
        voices = _voices(args.split, rng, args.voices)
        shard = [draw_utterance(rng, next(voices), args.domain_share, args.longest_s) for _ in range(args.shard)]
        write_shard(path, shard)
        made += len(shard)
        seconds += sum(len(u.samples) for u in shard) / SAMPLE_RATE
        spent = time.time() - started
        print(
            f"{path.name}: {made} utterances, {seconds / 60:.1f} min, {seconds / spent:.0f} x real time",
            flush=True,
        )
    if phones.unknown_words():
        print("phones guessed for:", " ".join(phones.unknown_words()))


def say(args: argparse.Namespace) -> None:
    """Write one utterance as a WAV file."""
    samples = synthesize(args.text, args.voice, np.random.default_rng(args.seed))
    if args.strength is not None:
        samples = augment(samples, np.random.default_rng(args.seed), args.strength)
    with wave.open(str(args.out), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        out.writeframes((samples * 32767).astype(np.int16).tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("generate", help="write shards of utterances")
    command.add_argument("--out", type=Path, default=Path("work/nano/ears/data"))
    command.add_argument("--split", choices=["train", "seen", "held-out"], default="train")
    command.add_argument("--utterances", type=int, default=30_000)
    command.add_argument("--shard", type=int, default=500)
    command.add_argument("--voices", nargs="*", default=(), help="only these, in the shards that are missing")
    command.add_argument("--part", type=int, default=0, help="make the shards of this part, counted from 0 ...")
    command.add_argument("--of", type=int, default=1, help="... of so many, for processes side by side")
    command.add_argument("--domain-share", type=float, default=0.6)
    command.add_argument("--longest-s", type=float, default=3.5)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=generate)
    command = commands.add_parser("say", help="write one utterance as WAV")
    command.add_argument("text")
    command.add_argument("--voice", default="flite:slt")
    command.add_argument("--strength", type=float, default=None, help="augment it so strongly (0..1)")
    command.add_argument("--out", type=Path, default=Path("utterance.wav"))
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=say)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
