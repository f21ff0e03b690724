"""Where speech starts, pauses and stops: minutes of talk in milliseconds, with scripted probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.turns.endpointing import Endpointer, EndpointingConfig
from realtime.turns.events import (
    PauseContinued,
    PauseStarted,
    ShortSilenceStarted,
    SpeechEvent,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
)
from realtime.turns.turn_completion import ENDPOINTING_DELAYS, Pauses
from realtime.turns.vad import FRAME_SAMPLES

FRAME_MS = 32


class ScriptedDetector:
    """Gives the probabilities that it was created with, frame by frame; 0 when they have run out."""

    def __init__(self, probabilities: Iterable[float]) -> None:
        self._probabilities = iter(probabilities)
        self.resets = 0

    def probability(self, frame: np.ndarray) -> float:
        assert frame.shape == (FRAME_SAMPLES,)
        return next(self._probabilities, 0.0)

    def reset(self) -> None:
        self.resets += 1


def silence(ms: int) -> list[float]:
    return [0.0] * (ms // FRAME_MS)


def speech(ms: int, probability: float = 0.9) -> list[float]:
    return [probability] * (ms // FRAME_MS)


def endpointer(probabilities: list[float], **config: Any) -> Endpointer:
    return Endpointer(ScriptedDetector(probabilities), EndpointingConfig(**config))


def run(probabilities: list[float], **config: Any) -> list[SpeechEvent]:
    samples = np.zeros(len(probabilities) * FRAME_SAMPLES, np.float32)
    return list(endpointer(probabilities, **config).push(samples))


def turns(events: list[SpeechEvent]) -> list[SpeechEvent]:
    return [event for event in events if isinstance(event, SpeechStarted | SpeechStopped)]


def test_an_utterance_starts_and_stops_once() -> None:
    started, stopped = turns(run(silence(640) + speech(960) + silence(960)))
    assert isinstance(started, SpeechStarted) and isinstance(stopped, SpeechStopped)
    assert stopped.voiced_until == (640 + 960) * 16
    assert stopped.at == stopped.voiced_until + 512 * 16  # 500 ms, in whole frames


def test_turns_begin_the_padding_before_their_first_frame() -> None:
    (started,) = turns(run(silence(640) + speech(320), prefix_padding_ms=200))
    assert isinstance(started, SpeechStarted)
    assert started.start == (640 - 200) * 16


def test_turn_audio_ends_at_its_last_short_silence() -> None:
    events = run(speech(320) + silence(320) + speech(320) + silence(800))
    (stopped,) = (event for event in events if isinstance(event, SpeechStopped))
    last_silence = [event for event in events if isinstance(event, ShortSilenceStarted)][-1]
    assert stopped.end == last_silence.at == stopped.voiced_until + 96 * 16 < stopped.at


def test_turns_without_short_silence_end_where_decided() -> None:
    (_, stopped) = run(speech(320) + silence(320), silence_ms=64)
    assert isinstance(stopped, SpeechStopped) and stopped.end == stopped.at


def test_the_padding_never_reaches_before_the_session() -> None:
    (started,) = turns(run(speech(320), prefix_padding_ms=300))
    assert isinstance(started, SpeechStarted)
    assert started.start == 0


def test_speech_is_told_with_its_second_voiced_frame() -> None:
    (started,) = turns(run(silence(320) + speech(320)))
    assert started.at == (320 + 2 * FRAME_MS) * 16


@pytest.mark.parametrize("word_ms", [64, 128, 160])
def test_a_word_as_short_as_no_is_heard(word_ms: int) -> None:
    assert len(turns(run(silence(320) + speech(word_ms) + silence(960)))) == 2


def test_a_click_of_one_frame_is_not_speech() -> None:
    assert not run(silence(320) + speech(32) + silence(960) + speech(32) + silence(960))


def test_pauses_shorter_than_the_silence_end_no_turn() -> None:
    events = run(speech(320) + silence(448) + speech(320) + silence(960))
    assert [type(event) for event in events] == [
        SpeechStarted,
        ShortSilenceStarted,
        PauseStarted,
        SpeechResumed,
        ShortSilenceStarted,
        PauseStarted,
        SpeechStopped,
    ]


def test_a_weak_syllable_is_no_pause() -> None:
    events = run(speech(320) + speech(960, probability=0.4) + speech(320))
    assert [type(event) for event in events] == [SpeechStarted]


def test_pauses_end_only_at_the_full_threshold() -> None:
    events = run(speech(320) + silence(64) + speech(960, probability=0.4))
    assert isinstance(events[-1], SpeechStopped)


def test_the_threshold_decides() -> None:
    assert turns(run(speech(320, probability=0.6), threshold=0.5))
    assert not turns(run(speech(320, probability=0.6), threshold=0.7))


def test_zero_silence_still_joins_frames_of_speech() -> None:
    events = turns(run(speech(320) + silence(64), silence_ms=0))
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]


def test_confirmed_silence_resets_the_detector() -> None:
    detector = ScriptedDetector(speech(320) + silence(960))
    list(Endpointer(detector).push(np.zeros(40 * FRAME_SAMPLES, np.float32)))
    assert detector.resets == 1


def test_empty_rooms_reset_the_detector_again_and_again() -> None:
    detector = ScriptedDetector([])
    point = Endpointer(detector)
    for _ in range(600):  # ten minutes
        assert not list(point.push(np.zeros(16_000, np.float32)))
    assert detector.resets == pytest.approx(600 / 20, abs=1)


def test_an_hour_of_talk_finds_every_utterance() -> None:
    utterance = silence(2016) + speech(1504) + silence(480)
    events = turns(run(utterance * 900))
    assert len(events) == 2 * 900 - 1  # the last one has not been silent long enough


def test_speech_that_was_ended_is_not_stopped_again() -> None:
    point = endpointer(speech(320) + silence(960))
    list(point.push(np.zeros(10 * FRAME_SAMPLES, np.float32)))
    point.end_speech()
    assert not turns(list(point.push(np.zeros(30 * FRAME_SAMPLES, np.float32))))


def test_after_a_gap_positions_continue_correctly() -> None:
    point = endpointer(speech(320))
    point.skip_to(100_000)
    (started,) = turns(list(point.push(np.zeros(10 * FRAME_SAMPLES, np.float32))))
    assert started.at == 100_000 + 2 * FRAME_SAMPLES


@given(
    st.lists(st.floats(0, 1), max_size=300),
    st.lists(st.integers(1, 4000), min_size=1, max_size=20),
)
def test_pieces_of_any_size_give_the_same_events(probabilities: list[float], sizes: list[int]) -> None:
    point = endpointer(probabilities)
    samples = np.zeros(len(probabilities) * FRAME_SAMPLES, np.float32)
    events: list[SpeechEvent] = []
    position = turn = 0
    while position < len(samples):
        size = sizes[turn % len(sizes)]
        events += point.push(samples[position : position + size])
        position, turn = position + size, turn + 1
    assert events == run(probabilities)


@given(st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), max_size=400))
def test_starts_and_stops_alternate_in_order_of_time(probabilities: list[float]) -> None:
    events = run(probabilities)
    kinds = [type(event) for event in turns(events)]
    assert kinds[0::2] == [SpeechStarted] * len(kinds[0::2])
    assert kinds[1::2] == [SpeechStopped] * len(kinds[1::2])
    times = [event.at for event in events]
    assert times == sorted(times)


# EndpointingDelay: the silence is chosen in each pause


MEDIUM = ENDPOINTING_DELAYS["medium"]


def semantic(probabilities: list[float]) -> list[SpeechEvent]:
    return run(probabilities, delay=MEDIUM)


def test_a_pause_carries_the_probability_by_prosody() -> None:
    (pause,) = [event for event in semantic(speech(960) + silence(320)) if isinstance(event, PauseStarted)]
    assert pause.finished == 0.5  # the samples are silent: nothing is known
    (pause,) = [event for event in run(speech(960) + silence(320)) if isinstance(event, PauseStarted)]
    assert pause.finished is None


def test_without_cues_the_delay_is_the_middle() -> None:
    (stopped,) = [event for event in semantic(speech(960) + silence(3200)) if isinstance(event, SpeechStopped)]
    waited_ms = (stopped.at - stopped.voiced_until) / 16
    assert waited_ms == pytest.approx(MEDIUM.by_prosody_ms(0.5, Pauses()), abs=FRAME_MS)


def wait_with_a_model(*answers: float) -> float:
    """The silence in ms that ends a turn for which a model gives these probabilities, in order."""
    waiting, left = endpointer(speech(960) + silence(9600), delay=MEDIUM), list(answers)
    for event in waiting.push(np.zeros((960 + 9600) * 16, np.float32)):
        if isinstance(event, PauseStarted | PauseContinued) and left:
            waiting.set_completion_probability(event.voiced_until, left.pop(0))
        if isinstance(event, SpeechStopped):
            return (event.at - event.voiced_until) / 16
    raise AssertionError("the turn never ended")


def test_a_models_probability_replaces_prosody() -> None:
    assert wait_with_a_model(0.99) == pytest.approx(400, abs=100)
    assert wait_with_a_model(0.02) > 1.5 * MEDIUM.by_prosody_ms(0.5, Pauses())


def test_the_highest_answer_of_a_model_counts() -> None:
    assert wait_with_a_model(0.01, 0.98) == pytest.approx(1024, abs=64)
    assert wait_with_a_model(0.98, 0.01) == wait_with_a_model(0.98)
    assert wait_with_a_model(*[0.01] * 9) < 0.7 * MEDIUM.max_ms


def test_a_pause_is_asked_about_at_growing_intervals() -> None:
    waiting = endpointer(speech(960) + silence(6400), delay=ENDPOINTING_DELAYS["low"])
    asked = []
    for event in waiting.push(np.zeros((960 + 6400) * 16, np.float32)):
        if isinstance(event, PauseStarted | PauseContinued):
            waiting.set_completion_probability(event.voiced_until, 0.0)
            asked.append((event.at - event.voiced_until) / 16)
    assert asked == pytest.approx([192, 1000, 2000, 4000], abs=FRAME_MS)
    assert not any(isinstance(event, PauseContinued) for event in run(speech(960) + silence(4800), silence_ms=6000))


def test_a_late_answer_about_another_pause_is_ignored() -> None:
    waiting = endpointer(speech(960) + silence(320) + speech(320) + silence(320), delay=MEDIUM)
    events = list(waiting.push(np.zeros((960 + 320 + 320 + 320) * 16, np.float32)))
    first, second = [event for event in events if isinstance(event, PauseStarted)]
    waiting.set_completion_probability(first.voiced_until, 1.0)
    assert turns(list(waiting.push(np.zeros(160 * 16, np.float32)))) == []
    waiting.set_completion_probability(second.voiced_until, 1.0)
    (stopped,) = waiting.push(np.zeros(64 * 16, np.float32))
    assert isinstance(stopped, SpeechStopped)


def test_long_pauses_of_the_caller_lengthen_the_wait() -> None:
    hesitant = (speech(640) + silence(640)) * 20 + speech(640) + silence(6400)
    quick = (speech(640) + silence(256)) * 20 + speech(640) + silence(6400)
    waited = []
    for talk in (hesitant, quick):
        stopped = [event for event in semantic(talk) if isinstance(event, SpeechStopped)][-1]
        waited.append(stopped.at - stopped.voiced_until)
    assert waited[0] > waited[1] * 1.2


def test_a_delay_set_within_a_pause_takes_effect() -> None:
    changed = endpointer(speech(640) + silence(12_800), silence_ms=20_000)
    list(changed.push(np.zeros(1280 * 16, np.float32)))
    changed.config = EndpointingConfig(delay=MEDIUM)
    assert any(isinstance(event, SpeechStopped) for event in changed.push(np.zeros(8000 * 16, np.float32)))


# An hour


class DriftingDetector:
    """Its confidence fades until it is reset, as with recurrent detectors in endless streams."""

    def __init__(self, voiced: Iterable[bool]) -> None:
        self._voiced = iter(voiced)
        self._age = 0

    def probability(self, frame: np.ndarray) -> float:
        self._age += 1
        return 0.95 * 0.9995**self._age if next(self._voiced, False) else 0.02

    def reset(self) -> None:
        self._age = 0


def test_an_hour_long_stream_does_not_drift() -> None:
    minute = [False] * 1500 + [True] * 12 + [False] * 363  # half a word a minute: the longest silences there are
    hour = endpointer([])
    hour._detector = DriftingDetector(minute * 60)
    frames = np.zeros(len(minute) * FRAME_SAMPLES, np.float32)
    started = [event for _ in range(60) for event in hour.push(frames) if isinstance(event, SpeechStarted)]
    assert len(started) == 60
    at = [event.at - number * len(frames) for number, event in enumerate(started)]
    assert set(at) == {at[0]}
