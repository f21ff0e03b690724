"""The echo gate: our own voice from a simulated loudspeaker, and others that speak over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.turns.echo import MOST_DOUBT_MS, SAMPLE_RATE, EchoGate
from realtime.turns.endpointing import Endpointer
from realtime.turns.events import SpeechStarted
from realtime.turns.vad import FRAME_SAMPLES, SileroVad
from tests.turns import sounds

SPEECH = Path(__file__).parents[1] / "data" / "speech"
OURS = np.concatenate([sounds.read(path) for path in sorted(SPEECH.glob("*_slt.wav")) * 2])
THEIRS = sounds.read(SPEECH / "what_time_is_it_rms.wav", -24)


def echo(delay_ms: int, level_db: float, decay_s: float = 0.3) -> NDArray[np.float32]:
    """What the microphone hears of ours: a direct path and a room, after a delay, and a quiet room."""
    count = int(decay_s * sounds.RATE)
    response = np.random.default_rng(1).normal(size=count) * 10 ** (-3 * np.arange(count) / count)
    response[0] = 8.0
    size = len(OURS) + count
    wet = np.fft.irfft(np.fft.rfft(np.tanh(3 * OURS), size) * np.fft.rfft(response, size), size)[: len(OURS)]
    late = np.concatenate((np.zeros(delay_ms * 16), wet))[: len(OURS)]
    return sounds.at_level(late, -24 + level_db) + sounds.noise(len(OURS) / sounds.RATE, -65)[: len(OURS)]


def listen(gate: EchoGate, heard: NDArray[np.float32], played: NDArray[np.float32]) -> NDArray[np.bool_]:
    """For each frame, whether it holds more than our echo."""
    count = len(heard) // FRAME_SAMPLES
    frames = [slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES) for number in range(count)]
    verdicts = [verdict for frame in frames for verdict in gate.judge(heard[frame], played[frame])]
    return np.array(verdicts + gate.settle())


@pytest.mark.parametrize("level_db", [-30, -15, 0])
@pytest.mark.parametrize("delay_ms", [50, 230, 500])
def test_our_own_echo_is_hardly_ever_taken_for_somebody(delay_ms: int, level_db: float) -> None:
    gate = EchoGate()
    heard = echo(delay_ms, level_db)
    foreign = listen(gate, heard, OURS)
    power = np.mean(np.square(heard[: len(foreign) * FRAME_SAMPLES].reshape(len(foreign), -1)), axis=1)
    audible = 10 * np.log10(power) > -58  # of a softer frame it does not matter
    assert foreign[40:][audible[40:]].mean() < 0.05
    assert gate.delay_ms == pytest.approx(delay_ms, abs=50)


@pytest.mark.parametrize("level_db", [-30, -15, -6])
def test_a_voice_over_the_echo_is_heard(level_db: float) -> None:
    heard, start = echo(230, level_db), 6 * sounds.RATE
    heard[start : start + len(THEIRS)] += THEIRS
    foreign = listen(EchoGate(), heard, OURS)[start // FRAME_SAMPLES :][: len(THEIRS) // FRAME_SAMPLES]
    assert foreign.mean() > 0.3
    assert foreign[:12].any(), "not within 400 ms"


def test_with_headphones_a_voice_passes_as_if_we_were_silent() -> None:
    heard, start = sounds.noise(len(OURS) / sounds.RATE, -65)[: len(OURS)], 6 * sounds.RATE
    heard[start : start + len(THEIRS)] += THEIRS
    gate = EchoGate()
    foreign = listen(gate, heard, OURS)[start // FRAME_SAMPLES :][: len(THEIRS) // FRAME_SAMPLES]
    loud = np.abs(THEIRS[: len(foreign) * FRAME_SAMPLES]).reshape(len(foreign), -1).max(axis=1) > 0.03
    assert foreign[2:][loud[2:]].mean() > 0.9
    assert gate.echo_db < -30


def test_nothing_is_gated_while_we_are_silent() -> None:
    assert listen(EchoGate(), THEIRS, np.zeros_like(THEIRS)).all()


# --- the first second of our voice: nothing is known yet ---

SILENCE = np.zeros(2 * sounds.RATE, np.float32)
OUR_FIRST_WORDS = np.concatenate((SILENCE, OURS[: 3 * sounds.RATE]))


def room(count: int) -> NDArray[np.float32]:
    return sounds.noise(count / sounds.RATE + 1, -65)[:count]


def while_we_begin(level_db: float | None, delay_ms: int, theirs_at_s: float | None) -> NDArray[np.float32]:
    """The microphone during `OUR_FIRST_WORDS`; ``theirs_at_s``: into our words somebody speaks."""
    heard = room(len(OUR_FIRST_WORDS))
    if level_db is not None:
        heard[len(SILENCE) :] += echo(delay_ms, level_db)[: len(heard) - len(SILENCE)]
    if theirs_at_s is not None:
        start = len(SILENCE) + int(theirs_at_s * sounds.RATE)
        heard[start : start + len(THEIRS)] += THEIRS[: len(heard) - start]
    return heard


def starts(heard: NDArray[np.float32], ours: NDArray[np.float32] = OUR_FIRST_WORDS) -> list[tuple[float, float]]:
    """Seconds into our words: when a start of speech was told, and of which moment."""
    ears, found = Endpointer(SileroVad().open(), echo=EchoGate()), []
    for at in range(0, len(heard) - FRAME_SAMPLES, FRAME_SAMPLES):
        frame = slice(at, at + FRAME_SAMPLES)
        for event in ears.push(heard[frame], ours[frame]):
            if isinstance(event, SpeechStarted):
                told, begun = (position / sounds.RATE - 2.0 for position in (frame.stop, event.at))
                found.append((told, begun))
    return found


@pytest.mark.parametrize("level_db", [-12, -6, 0, 3])
@pytest.mark.parametrize("delay_ms", [50, 230, 500])
def test_a_loud_echo_of_our_first_words_is_no_speech(delay_ms: int, level_db: float) -> None:
    assert starts(while_we_begin(level_db, delay_ms, None)) == []


@pytest.mark.parametrize("theirs_at_s", [0.05, 0.25, 0.5])
def test_who_speaks_as_our_first_words_begin_is_heard_from_the_start(theirs_at_s: float) -> None:
    heard = while_we_begin(None, 0, theirs_at_s)
    ((_, true),) = starts(heard, np.zeros_like(OUR_FIRST_WORDS))
    ((told, begun),) = starts(heard)
    assert begun == pytest.approx(true, abs=0.07)  # a soft first frame may pass for our echo
    assert told - begun <= MOST_DOUBT_MS / 1000


@pytest.mark.parametrize("level_db", [-18, -9])
def test_who_speaks_over_the_echo_of_our_first_words_is_heard(level_db: float) -> None:
    found = starts(while_we_begin(level_db, 100, 0.4))
    assert found and 0.3 < found[0][0] < 1.6


def test_verdicts_that_are_held_back_come_in_order_and_none_is_lost() -> None:
    gate, heard, pending = EchoGate(), while_we_begin(3, 100, None), 0
    held = []
    for at in range(0, len(heard) - FRAME_SAMPLES, FRAME_SAMPLES):
        verdicts = gate.judge(heard[at : at + FRAME_SAMPLES], OUR_FIRST_WORDS[at : at + FRAME_SAMPLES])
        pending += 1 - len(verdicts)
        held.append(pending)
    assert 0 < max(held) <= MOST_DOUBT_MS * SAMPLE_RATE // 1000 // FRAME_SAMPLES
    assert held[-1] == 0 == len(gate.settle())


def test_a_gate_that_goes_leaves_nothing_behind() -> None:
    class AllVoice:
        def probability(self, frame: NDArray[np.float32]) -> float:
            return 0.9 * (np.abs(frame).max() > 0.02)

        def reset(self) -> None:
            pass

    ears, heard = Endpointer(AllVoice(), echo=EchoGate()), while_we_begin(3, 100, None)
    for at in range(0, len(heard) - FRAME_SAMPLES, FRAME_SAMPLES):
        list(ears.push(heard[at : at + FRAME_SAMPLES], OUR_FIRST_WORDS[at : at + FRAME_SAMPLES]))
        if ears.position < at:
            break
    else:
        pytest.fail("nothing was held back")
    ears.gate_echo(None)
    assert ears.position == at + FRAME_SAMPLES and not ears.gated and not ears.speaking
