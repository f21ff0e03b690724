"""The scripted conversations: a question to answer, and in some something that is heard over the answer.

Composed from the spoken clips beside this file and made sounds (`sounds`); the same for the same seed, to the sample.
Each case carries its truth: where the turn ends, and whether what is heard over the reply wants the floor.
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
"""Of the loud part, in dBFS: the caller's microphone, our own voice."""

_ROOM_DB = -70.0
_LEAD_S = 0.6
_NOISE_S = 5.0  # goes on from its start
_LATE_S, _EARLY_S = (0.8, 2.2), (0.05, 0.5)  # into the reply, when something is heard over it


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One recording, float32 [n] at 16 kHz, first voiced sample to last. ``cut``: where it may be parted."""

    name: str
    kind: str
    text: str
    voice: str
    cut: int | None
    samples: Samples = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """What is heard ``after_s`` after playback began. ``meant``: it wants the floor: the reply must stop. ``said``: its
    words, as a perfect transcript has them."""

    samples: Samples = field(repr=False)
    after_s: float
    meant: bool
    said: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One conversation; samples are float32 at 16 kHz.

    ``speech``: what the caller says (or what else is heard), from the opening of the microphone on. ``turn_end``: the
    sample behind the last voiced one; None where nothing is said and no turn must come. ``room``: noise all the time.
    ``echo_db``: how loud our own voice comes back, against what is played; None: headphones.
    ``reply_s``: how long the answer is.
    """

    name: str
    kind: str
    speech: Samples = field(repr=False)
    turn_end: int | None
    room: Samples = field(repr=False)
    reply: Clip
    reply_s: float = 0.6
    over: Overlap | None = None
    echo_db: float | None = None
    echo_delay_s: float = 0.08

    @property
    def turn_end_s(self) -> float | None:
        """Seconds after the opening of the microphone."""
        return None if self.turn_end is None else self.turn_end / RATE

    @property
    def floor_is_ours(self) -> bool:
        """Whether the case is about the time in which we speak."""
        return self.over is not None or self.echo_db is not None


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
    """Draws what the families need; a generator of its own for each case, so that no case depends on another."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0
        self.rng = np.random.default_rng([seed, 0])

    def case(
        self,
        kind: str,
        parts: Sequence[Samples],
        *,
        said: bool = True,
        room: tuple[Colour, float] = ("pink", _ROOM_DB),
        **more: Any,
    ) -> Case:
        speech = np.concatenate([silence(_LEAD_S + self.rng.uniform(0, 0.4)), *parts])
        case = Case(
            name=f"{kind}-{self._count}",
            kind=kind,
            speech=speech,
            turn_end=len(speech) if said else None,
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

    def over(self, samples: Samples, *, meant: bool, said: str = "", early: bool = False) -> Overlap:
        return Overlap(samples, float(self.rng.uniform(*(_EARLY_S if early else _LATE_S))), meant, said)


def _halves() -> Iterator[tuple[Samples, Samples]]:
    for clip in clips("sentence"):
        if clip.cut is not None:
            yield clip.samples[: clip.cut], clip.samples[clip.cut :]


# --- turns: when are they over? ---


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
            yield composer.case("nothing", (sound, silence(1.0)), said=False)


# --- over the reply: does it stop, does it go on? ---


def _barge_in(composer: _Composer) -> Iterator[Case]:
    for clip in clips("barge"):
        yield _over(composer, "barge-in", clip.samples, meant=True, said=clip.text)


def _barge_in_noise(composer: _Composer) -> Iterator[Case]:
    for snr, clip in zip((20, 10, 5) * 2, clips("barge"), strict=False):
        yield _over(
            composer, "barge-in, noise", clip.samples, meant=True, said=clip.text, room=("pink", SPEECH_DB - snr)
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
            yield _over(composer, kind, sound, meant=False)
    for clip in clips("backchannel"):
        for softer_db in (14, 6):
            sound = at_level(clip.samples, SPEECH_DB - softer_db)
            yield _over(composer, f"word {softer_db} dB softer", sound, meant=False, said=clip.text)


def _echo(composer: _Composer) -> Iterator[Case]:
    for echo_db in (-30, -20, -12, -6, 0):
        for delay_s in (0.04, 0.15):
            yield composer.case("echo", composer.question(), reply_s=5.0, echo_db=float(echo_db), echo_delay_s=delay_s)


def _echo_barge_in(composer: _Composer) -> Iterator[Case]:
    for echo_db, clip in zip((-30, -20, -12, -6, 0) * 2, clips("barge"), strict=False):
        yield _over(composer, "barge-in, echo", clip.samples, meant=True, said=clip.text, echo_db=float(echo_db))


def _words_at_full_voice(composer: _Composer) -> Iterator[Case]:
    asides = [*clips("backchannel"), *(clip for clip in clips("short") if clip.text in ("yes", "okay"))]
    for clip in asides:
        yield _over(composer, "word, full voice", clip.samples, meant=False, said=clip.text)
    for clip in clips("short"):
        if clip.text in ("no", "stop", "hello", "maybe"):
            yield _over(composer, "barge-in, short", clip.samples, meant=True, said=clip.text)


def _voiced_false_alarms(composer: _Composer) -> Iterator[Case]:
    """What the voice detector does take for speech."""
    makes: tuple[tuple[str, str, Callable[[float, np.random.Generator], Samples]], ...] = (
        ("voiced cough", "", voiced_cough),
        ("ah", "ah", ah),
        ("door and voices", "", door_and_voices),
    )
    for kind, said, make in makes:
        for _ in range(4):
            sound = make(SPEECH_DB + composer.rng.uniform(-6, 2), composer.rng)
            yield _over(composer, kind, sound, meant=False, said=said)


def _early_barge_in(composer: _Composer) -> Iterator[Case]:
    """Overlap the first words that this caller hears of us: nothing is known of an echo yet."""
    for clip in clips("barge"):
        yield _over(composer, "barge-in, early", clip.samples, meant=True, said=clip.text, early=True)
    for echo_db, clip in zip((-20, -12, -6, 0) * 2, clips("barge"), strict=True):
        yield _over(
            composer,
            "barge-in, early, echo",
            clip.samples,
            meant=True,
            said=clip.text,
            early=True,
            echo_db=float(echo_db),
        )


def _over(
    composer: _Composer, kind: str, sound: Samples, *, meant: bool, said: str = "", early: bool = False, **more: Any
) -> Case:
    question, over = composer.question(), composer.over(sound, meant=meant, said=said, early=early)
    return composer.case(kind, question, over=over, reply_s=5.0, **more)


_FAMILIES: tuple[Callable[[_Composer], Iterator[Case]], ...] = (
    _plain, _pauses, _hesitations, _short, _noisy, _nothing,
    _barge_in, _barge_in_noise, _false_alarms, _echo, _echo_barge_in, _words_at_full_voice, _voiced_false_alarms,
    _early_barge_in,
)  # fmt: skip
