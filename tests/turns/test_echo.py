"""The echo gate: playback from a simulated loudspeaker, and near-end speech over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from realtime.turns.echo import MAX_HOLD_MS, SAMPLE_RATE, EchoGate
from realtime.turns.endpointing import Endpointer
from realtime.turns.events import SpeechStarted
from realtime.turns.vad import FRAME_SAMPLES, SileroVad
from tests.turns import sounds

SPEECH = Path(__file__).parents[1] / "data" / "speech"
FAR_END = np.concatenate([sounds.read(path) for path in sorted(SPEECH.glob("*_slt.wav")) * 2])
SPEECH_OVER = sounds.read(SPEECH / "what_time_is_it_rms.wav", -24)


def echo(delay_ms: int, level_db: float, decay_s: float = 0.3) -> NDArray[np.float32]:
    """The near-end signal without speech: the far-end after a delay and a room, and room noise."""
    count = int(decay_s * sounds.RATE)
    response = np.random.default_rng(1).normal(size=count) * 10 ** (-3 * np.arange(count) / count)
    response[0] = 8.0
    size = len(FAR_END) + count
    wet = np.fft.irfft(np.fft.rfft(np.tanh(3 * FAR_END), size) * np.fft.rfft(response, size), size)[: len(FAR_END)]
    late = np.concatenate((np.zeros(delay_ms * 16), wet))[: len(FAR_END)]
    return sounds.at_level(late, -24 + level_db) + sounds.noise(len(FAR_END) / sounds.RATE, -65)[: len(FAR_END)]


def listen(gate: EchoGate, near_end: NDArray[np.float32], far_end: NDArray[np.float32]) -> NDArray[np.bool_]:
    """For each frame, whether it holds more than echo."""
    count = len(near_end) // FRAME_SAMPLES
    frames = [slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES) for number in range(count)]
    results = [result for frame in frames for result in gate.push(near_end[frame], far_end[frame])]
    return np.array(results + gate.release())


@pytest.mark.parametrize("level_db", [-30, -15, 0])
@pytest.mark.parametrize("delay_ms", [50, 230, 500])
def test_echo_is_hardly_ever_taken_for_speech(delay_ms: int, level_db: float) -> None:
    gate = EchoGate()
    heard = echo(delay_ms, level_db)
    near_speech = listen(gate, heard, FAR_END)
    power = np.mean(np.square(heard[: len(near_speech) * FRAME_SAMPLES].reshape(len(near_speech), -1)), axis=1)
    audible = 10 * np.log10(power) > -58  # of a softer frame it does not matter
    assert near_speech[40:][audible[40:]].mean() < 0.05
    assert gate.delay_ms == pytest.approx(delay_ms, abs=50)


def jumping_echo(level_db: float) -> NDArray[np.float32]:
    """`echo` whose delay jumps every three seconds, by 60 to 200 ms."""
    near_end = echo(60, level_db)
    for second, delay_ms in ((3, 260), (6, 110), (9, 230), (12, 170)):
        near_end[second * sounds.RATE :] = echo(delay_ms, level_db)[second * sounds.RATE :]
    return near_end


@pytest.mark.parametrize("level_db", [-20, -10, -6])
def test_an_echo_whose_delay_jumps_starts_no_speech(level_db: float) -> None:
    """Arrivals move it: a stalled network or process, a loudspeaker that ran out of sound."""
    endpointer = Endpointer(SileroVad().open(), echo=EchoGate())
    events = endpointer.push(jumping_echo(level_db), FAR_END)
    assert not [event.at / sounds.RATE for event in events if isinstance(event, SpeechStarted)]


@pytest.mark.parametrize("level_db", [-20, -10, -6])
def test_speech_over_a_jumping_echo_is_detected(level_db: float) -> None:
    heard, start = jumping_echo(level_db), 10 * sounds.RATE
    heard[start : start + len(SPEECH_OVER)] += SPEECH_OVER
    near_speech = listen(EchoGate(), heard, FAR_END)[start // FRAME_SAMPLES :][: len(SPEECH_OVER) // FRAME_SAMPLES]
    assert near_speech[:16].any(), "not within 500 ms"


@pytest.mark.parametrize("level_db", [-30, -15, -6])
def test_speech_over_the_echo_is_detected(level_db: float) -> None:
    heard, start = echo(230, level_db), 6 * sounds.RATE
    heard[start : start + len(SPEECH_OVER)] += SPEECH_OVER
    near_speech = listen(EchoGate(), heard, FAR_END)[start // FRAME_SAMPLES :][: len(SPEECH_OVER) // FRAME_SAMPLES]
    assert near_speech.mean() > 0.3
    assert near_speech[:12].any(), "not within 400 ms"


def test_with_headphones_speech_passes_during_playback() -> None:
    heard, start = sounds.noise(len(FAR_END) / sounds.RATE, -65)[: len(FAR_END)], 6 * sounds.RATE
    heard[start : start + len(SPEECH_OVER)] += SPEECH_OVER
    gate = EchoGate()
    near_speech = listen(gate, heard, FAR_END)[start // FRAME_SAMPLES :][: len(SPEECH_OVER) // FRAME_SAMPLES]
    loud = np.abs(SPEECH_OVER[: len(near_speech) * FRAME_SAMPLES]).reshape(len(near_speech), -1).max(axis=1) > 0.03
    assert near_speech[2:][loud[2:]].mean() > 0.9
    assert gate.echo_db < -30


def test_a_word_right_behind_the_playback_is_heard() -> None:
    """A recorded call without echo, in which a "hello" at 9.4 s passed for the echo of the reply before."""
    near_end, far_end = soundfile.read(SPEECH / "answer_behind_playback.flac", dtype="float32")[0].T
    events = Endpointer(SileroVad().open(), echo=EchoGate()).push(near_end, far_end)
    started = [event.at / sounds.RATE for event in events if isinstance(event, SpeechStarted)]
    assert started == pytest.approx([0.3, 5.3, 9.6], abs=0.15)


def test_nothing_is_gated_without_playback() -> None:
    assert listen(EchoGate(), SPEECH_OVER, np.zeros_like(SPEECH_OVER)).all()


# --- the first second of playback: neither delay nor gain is known ---

SILENCE = np.zeros(2 * sounds.RATE, np.float32)
FIRST_PLAYBACK = np.concatenate((SILENCE, FAR_END[: 3 * sounds.RATE]))


def room(count: int) -> NDArray[np.float32]:
    return sounds.noise(count / sounds.RATE + 1, -65)[:count]


def as_playback_begins(level_db: float | None, delay_ms: int, speech_at_s: float | None) -> NDArray[np.float32]:
    """The microphone during `FIRST_PLAYBACK`; ``speech_at_s``: when near-end speech starts, from its beginning."""
    heard = room(len(FIRST_PLAYBACK))
    if level_db is not None:
        heard[len(SILENCE) :] += echo(delay_ms, level_db)[: len(heard) - len(SILENCE)]
    if speech_at_s is not None:
        start = len(SILENCE) + int(speech_at_s * sounds.RATE)
        heard[start : start + len(SPEECH_OVER)] += SPEECH_OVER[: len(heard) - start]
    return heard


def starts(near_end: NDArray[np.float32], far_end: NDArray[np.float32] = FIRST_PLAYBACK) -> list[tuple[float, float]]:
    """Seconds of playback: when each start of speech was reported, and when it was."""
    endpointer, found = Endpointer(SileroVad().open(), echo=EchoGate()), []
    for at in range(0, len(near_end) - FRAME_SAMPLES, FRAME_SAMPLES):
        frame = slice(at, at + FRAME_SAMPLES)
        for event in endpointer.push(near_end[frame], far_end[frame]):
            if isinstance(event, SpeechStarted):
                told, begun = (position / sounds.RATE - 2.0 for position in (frame.stop, event.at))
                found.append((told, begun))
    return found


@pytest.mark.parametrize("level_db", [-12, -6, 0, 3])
@pytest.mark.parametrize("delay_ms", [50, 230, 500])
def test_loud_echo_of_the_first_words_is_ignored(delay_ms: int, level_db: float) -> None:
    assert starts(as_playback_begins(level_db, delay_ms, None)) == []


@pytest.mark.parametrize("speech_at_s", [0.05, 0.25, 0.5])
def test_speech_as_playback_begins_is_kept_whole(speech_at_s: float) -> None:
    heard = as_playback_begins(None, 0, speech_at_s)
    ((_, true),) = starts(heard, np.zeros_like(FIRST_PLAYBACK))
    ((told, begun),) = starts(heard)
    assert begun == pytest.approx(true, abs=0.07)  # a soft first frame may pass for echo
    assert told - begun <= MAX_HOLD_MS / 1000


@pytest.mark.parametrize("level_db", [-18, -9])
def test_speech_over_the_first_words_echo_is_detected(level_db: float) -> None:
    found = starts(as_playback_begins(level_db, 100, 0.4))
    assert found and 0.3 < found[0][0] < 1.6


def test_no_frame_that_is_held_back_is_lost() -> None:
    gate, heard, pending = EchoGate(), as_playback_begins(3, 100, None), 0
    held = []
    for at in range(0, len(heard) - FRAME_SAMPLES, FRAME_SAMPLES):
        results = gate.push(heard[at : at + FRAME_SAMPLES], FIRST_PLAYBACK[at : at + FRAME_SAMPLES])
        pending += 1 - len(results)
        held.append(pending)
    assert 0 < max(held) <= MAX_HOLD_MS * SAMPLE_RATE // 1000 // FRAME_SAMPLES
    assert held[-1] == 0 == len(gate.release())


def test_removing_the_gate_releases_its_frames() -> None:
    class AllVoice:
        def probability(self, frame: NDArray[np.float32]) -> float:
            return 0.9 * (np.abs(frame).max() > 0.02)

        def reset(self) -> None:
            pass

    endpointer, heard = Endpointer(AllVoice(), echo=EchoGate()), as_playback_begins(3, 100, None)
    for at in range(0, len(heard) - FRAME_SAMPLES, FRAME_SAMPLES):
        list(endpointer.push(heard[at : at + FRAME_SAMPLES], FIRST_PLAYBACK[at : at + FRAME_SAMPLES]))
        if endpointer.position < at:
            break
    else:
        pytest.fail("nothing was held back")
    endpointer.gate_echo(None)
    assert endpointer.position == at + FRAME_SAMPLES and not endpointer.gated and not endpointer.speaking
