"""The scripted conversations: a question to answer, and in some cases a sound during the answer.

Composed from the speech clips beside this file and from synthetic sounds (`synthetic_noise`); the same seed gives the
same samples. Each case states what is true of it: where the turn ends, and whether the sound over the reply is a
barge-in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from realtime.bench.turns.synthetic_noise import (
    RATE,
    Colour,
    Samples,
    ah,
    at_level,
    cough,
    door,
    door_and_voices,
    hum,
    noise,
    silence,
    voiced_cough,
)

CLIPS = Path(__file__).parent / "clips"

SPEECH_DB = -24.0
REPLY_DB = -20.0
"""Level of the loud part in dBFS: the caller's speech, the server's speech."""

_ROOM_DB = -70.0
_LEAD_S = 0.6
_NOISE_S = 5.0  # repeated
_LATE_S, _EARLY_S = (0.8, 2.2), (0.05, 0.5)  # from the start of the reply to the overlap


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One recording, float32 [n] at 16 kHz, first voiced sample to last. ``cut``: the sample at which a pause may be
    inserted."""

    name: str
    kind: str
    text: str
    voice: str
    cut: int | None
    samples: Samples = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """A sound that starts ``after_s`` seconds after playback began. ``is_barge_in``: the reply must stop for it.
    ``transcript``: its words."""

    samples: Samples = field(repr=False)
    after_s: float
    is_barge_in: bool
    transcript: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One conversation; samples are float32 at 16 kHz.

    ``speech``: the microphone signal from the start: the caller's words, or the sound that must not count as speech.
    ``turn_end``: the sample after the last voiced one; None where nobody speaks. ``room``: noise that goes on all the
    time. ``echo_db``: level of the reply's echo in the microphone relative to playback; None: headphones. ``reply_s``:
    seconds of the answer.
    """

    name: str
    kind: str
    speech: Samples = field(repr=False)
    turn_end: int | None
    room: Samples = field(repr=False)
    reply: Clip
    reply_s: float = 0.6
    overlap: Overlap | None = None
    echo_db: float | None = None
    echo_delay_s: float = 0.08

    @property
    def turn_end_s(self) -> float | None:
        """Seconds from the start of the microphone signal."""
        return None if self.turn_end is None else self.turn_end / RATE

    @property
    def during_reply(self) -> bool:
        """Whether the case is about what happens during the reply; else it is about the end of a turn."""
        return self.overlap is not None or self.echo_db is not None


@cache
def clips(kind: str) -> tuple[Clip, ...]:
    """All clips of one kind: sentence, filler, short, barge, backchannel, reply."""
    listed: list[dict[str, Any]] = json.loads((CLIPS / "clips.json").read_text())
    return tuple(_load(entry) for entry in listed if entry["kind"] == kind)


def _load(entry: dict[str, Any]) -> Clip:
    samples, rate = soundfile.read(CLIPS / f"{entry['name']}.flac", dtype="float32")
    assert rate == RATE, entry["name"]
    return Clip(**entry, samples=at_level(samples, REPLY_DB if entry["kind"] == "reply" else SPEECH_DB))


def compose(seed: int = 0) -> tuple[Case, ...]:
    """The whole corpus."""
    composer = _Composer(seed)
    return tuple(case for family in _FAMILIES for case in family(composer))


class _Composer:
    """Draws the random parts of cases. Each case has its own generator, so adding a case leaves the others
    unchanged."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0
        self.rng = np.random.default_rng([seed, 0])

    def case(
        self,
        kind: str,
        parts: Sequence[Samples],
        *,
        spoken: bool = True,
        room: tuple[Colour, float] = ("pink", _ROOM_DB),
        **more: Any,
    ) -> Case:
        speech = np.concatenate([silence(_LEAD_S + self.rng.uniform(0, 0.4)), *parts])
        case = Case(
            name=f"{kind}-{self._count}",
            kind=kind,
            speech=speech,
            turn_end=len(speech) if spoken else None,
            room=noise(_NOISE_S, *room, self.rng),
            reply=self.pick("reply"),
            **more,
        )
        self._count += 1
        self.rng = np.random.default_rng([self._seed, self._count])
        return case

    def pick(self, kind: str) -> Clip:
        found = clips(kind)
        return found[int(self.rng.integers(len(found)))]

    def question(self) -> Sequence[Samples]:
        """A turn without a pause in it."""
        whole = [clip for clip in clips("sentence") if clip.cut is None]
        return (whole[int(self.rng.integers(len(whole)))].samples,)

    def overlap(self, samples: Samples, *, is_barge_in: bool, transcript: str = "", early: bool = False) -> Overlap:
        after_s = float(self.rng.uniform(*(_EARLY_S if early else _LATE_S)))
        return Overlap(samples, after_s, is_barge_in, transcript)


def _halves() -> Iterator[tuple[Samples, Samples]]:
    for clip in clips("sentence"):
        if clip.cut is not None:
            yield clip.samples[: clip.cut], clip.samples[clip.cut :]


# --- the end of a turn ---


def _plain(composer: _Composer) -> Iterator[Case]:
    for clip in clips("sentence"):
        yield composer.case("plain", (clip.samples,))


def _pauses(composer: _Composer) -> Iterator[Case]:
    for pause_s in (0.3, 0.6, 0.9):
        for first, second in _halves():
            yield composer.case(f"pause {pause_s:g} s", (first, silence(pause_s), second))


def _hesitations(composer: _Composer) -> Iterator[Case]:
    for index, (first, second) in enumerate(_halves()):
        filler = clips("filler")[index % len(clips("filler"))].samples
        before, after = composer.rng.uniform(0.1, 0.3), composer.rng.uniform(0.4, 0.9)
        yield composer.case("hesitation", (first, silence(before), filler, silence(after), second))


def _short(composer: _Composer) -> Iterator[Case]:
    for clip in clips("short"):
        yield composer.case("short", (clip.samples,))


def _noisy(composer: _Composer) -> Iterator[Case]:
    colours: tuple[Colour, ...] = ("white", "pink", "hum")
    sentences = clips("sentence")
    for row, snr in enumerate((20, 10, 5, 0)):
        for column, colour in enumerate(colours):
            clip = sentences[(row * len(colours) + column) % len(sentences)]
            yield composer.case(f"noise {snr} dB", (clip.samples,), room=(colour, SPEECH_DB - snr))


def _nothing(composer: _Composer) -> Iterator[Case]:
    for make in (cough, door):
        for _ in range(5):
            sound = make(composer.rng.uniform(-30, -14), composer.rng)
            yield composer.case("nothing", (sound, silence(1.0)), spoken=False)


# --- sounds during the reply ---


def _barge_in(composer: _Composer) -> Iterator[Case]:
    for clip in clips("barge"):
        yield _during_reply(composer, "barge-in", clip.samples, is_barge_in=True, transcript=clip.text)


def _barge_in_noise(composer: _Composer) -> Iterator[Case]:
    for snr, clip in zip((20, 10, 5) * 2, clips("barge"), strict=False):
        yield _during_reply(
            composer,
            "barge-in, noise",
            clip.samples,
            is_barge_in=True,
            transcript=clip.text,
            room=("pink", SPEECH_DB - snr),
        )


def _false_alarms(composer: _Composer) -> Iterator[Case]:
    makes: tuple[tuple[str, Callable[[float, np.random.Generator], Samples]], ...] = (
        ("cough", cough),
        ("door", door),
        ("mhm", hum),
    )
    for kind, make in makes:
        for _ in range(6):
            sound = make(SPEECH_DB + composer.rng.uniform(-6, 4), composer.rng)
            yield _during_reply(composer, kind, sound, is_barge_in=False)
    for clip in clips("backchannel"):
        for softer_db in (14, 6):
            sound = at_level(clip.samples, SPEECH_DB - softer_db)
            yield _during_reply(composer, f"word {softer_db} dB softer", sound, is_barge_in=False, transcript=clip.text)


def _echo(composer: _Composer) -> Iterator[Case]:
    for echo_db in (-30, -20, -12, -6, 0):
        for delay_s in (0.04, 0.15):
            yield composer.case("echo", composer.question(), reply_s=5.0, echo_db=float(echo_db), echo_delay_s=delay_s)


def _echo_barge_in(composer: _Composer) -> Iterator[Case]:
    for echo_db, clip in zip((-30, -20, -12, -6, 0) * 2, clips("barge"), strict=False):
        yield _during_reply(
            composer, "barge-in, echo", clip.samples, is_barge_in=True, transcript=clip.text, echo_db=float(echo_db)
        )


def _words_at_full_voice(composer: _Composer) -> Iterator[Case]:
    asides = [*clips("backchannel"), *(clip for clip in clips("short") if clip.text in ("yes", "okay"))]
    for clip in asides:
        yield _during_reply(composer, "word, full voice", clip.samples, is_barge_in=False, transcript=clip.text)
    for clip in clips("short"):
        if clip.text in ("no", "stop", "hello", "maybe"):
            yield _during_reply(composer, "barge-in, short", clip.samples, is_barge_in=True, transcript=clip.text)


def _voiced_false_alarms(composer: _Composer) -> Iterator[Case]:
    """Sounds that the voice detector classifies as speech."""
    makes: tuple[tuple[str, str, Callable[[float, np.random.Generator], Samples]], ...] = (
        ("voiced cough", "", voiced_cough),
        ("ah", "ah", ah),
        ("door and voices", "", door_and_voices),
    )
    for kind, transcript, make in makes:
        for _ in range(4):
            sound = make(SPEECH_DB + composer.rng.uniform(-6, 2), composer.rng)
            yield _during_reply(composer, kind, sound, is_barge_in=False, transcript=transcript)


def _early_barge_in(composer: _Composer) -> Iterator[Case]:
    """Barge-ins during the first words of the call, before the echo gate has seen any echo."""
    for clip in clips("barge"):
        yield _during_reply(
            composer, "barge-in, early", clip.samples, is_barge_in=True, transcript=clip.text, early=True
        )
    for echo_db, clip in zip((-20, -12, -6, 0) * 2, clips("barge"), strict=True):
        yield _during_reply(
            composer,
            "barge-in, early, echo",
            clip.samples,
            is_barge_in=True,
            transcript=clip.text,
            early=True,
            echo_db=float(echo_db),
        )


def _during_reply(
    composer: _Composer,
    kind: str,
    sound: Samples,
    *,
    is_barge_in: bool,
    transcript: str = "",
    early: bool = False,
    **more: Any,
) -> Case:
    question = composer.question()
    overlap = composer.overlap(sound, is_barge_in=is_barge_in, transcript=transcript, early=early)
    return composer.case(kind, question, overlap=overlap, reply_s=5.0, **more)


_FAMILIES: tuple[Callable[[_Composer], Iterator[Case]], ...] = (
    _plain, _pauses, _hesitations, _short, _noisy, _nothing,
    _barge_in, _barge_in_noise, _false_alarms, _echo, _echo_barge_in, _words_at_full_voice, _voiced_false_alarms,
    _early_barge_in,
)  # fmt: skip
