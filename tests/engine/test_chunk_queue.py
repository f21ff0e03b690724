"""What the vocoder works on next, in virtual time: a call for n chunks costs ``(2 + tokens) * 0.0125 * (1 + n) / 2`` s,
as for nano on one core."""

from __future__ import annotations

import pytest

from realtime.engine.chunk_queue import SLICE_SECONDS
from realtime.engine.vocoder_service import VocodingCore
from realtime.engine.vocoder_stream import ASIDE_LEAD_SECONDS, Delivery, Stream
from realtime.ports.payer import Payer
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE, AudioChunk
from tests.engine.test_vocoder_service import FAST, VOICE, FakeVocoder

HONEST = Payer("honest", "good")


class Machine:
    """A vocoder in virtual time. Listeners take what they get at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.vocoder = FakeVocoder()
        self.core = VocodingCore(self.vocoder, clock=lambda: self.now, costs=FAST)
        self.longest = 0.0
        self.pressed = False
        self.core.yield_to(lambda: self.pressed)
        step = self.vocoder.step

        def costly(requests):  # type: ignore[no-untyped-def]
            made = step(requests)
            seconds = 0.0125 * (2 + max(len(tokens) for _, tokens, _ in requests)) * (1 + len(requests)) / 2
            self.now += seconds
            self.longest = max(self.longest, seconds)
            return made

        self.vocoder.step = costly  # type: ignore[method-assign]

    def speak(
        self, payer: Payer, tokens: int, *, aside: bool = False, reads: bool = True
    ) -> tuple[Stream, list[float]]:
        """Vocode so many tokens, that are all there; gives the stream and when its chunks came."""
        times: list[float] = []

        def deliver(chunk: Delivery) -> None:
            if isinstance(chunk, AudioChunk):
                times.append(self.now)
                if reads:
                    stream.take(len(chunk.samples) / OUTPUT_SAMPLE_RATE)

        stream = Stream(VOICE, deliver, aside=aside, payer=payer)
        self.core.open(stream)
        stream.inbox += range(tokens)
        return stream, times

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            if not self.core.step():
                self.now += self.core.due() or 0.01


def first_sound(machine: Machine) -> float:
    asked = machine.now
    _, times = machine.speak(HONEST, 400)
    machine.run(5.0)
    return times[0] - asked


@pytest.mark.parametrize("streams", [1, 4, 64])
def test_speech_out_of_band_hardly_delays_a_conversations(streams: int) -> None:
    alone, machine = first_sound(Machine()), Machine()
    for n in range(streams):
        machine.speak(Payer(f"flood{n % 4}", "bad"), 5000, aside=True)
    machine.run(10.0)
    assert first_sound(machine) <= alone + 1.6 * SLICE_SECONDS
    stream, _ = machine.speak(HONEST, 400)
    slack = []
    for _ in range(80):
        machine.run(0.1)
        slack.append(stream.slack(machine.now) or 0.0)
    assert min(slack[5:]) >= 0.0


def test_a_call_out_of_band_is_short() -> None:
    machine = Machine()
    for n in range(32):
        machine.speak(Payer(f"flood{n}", "bad"), 400, aside=True)
    machine.run(60.0)
    assert machine.longest <= 1.6 * SLICE_SECONDS
    assert all(stream.given_seconds for stream in machine.core._streams)


def test_sessions_out_of_band_share_the_vocoder() -> None:
    machine = Machine()
    for _ in range(9):
        machine.speak(Payer("greedy", "k"), 5000, aside=True)
    stream, _ = machine.speak(Payer("modest", "k"), 5000, aside=True)
    machine.run(60.0)
    made = sum(one.given_seconds for one in machine.core._streams)
    assert stream.given_seconds >= 0.4 * made


def test_endless_speech_does_not_stop_other_streams() -> None:
    machine = Machine()
    for n in range(12):  # more than the machine can do in time
        machine.speak(Payer(f"s{n}", f"k{n}"), 5000)
    _, times = machine.speak(HONEST, 5000, aside=True)
    machine.run(30.0)
    assert len(times) >= 10


def test_unread_speech_out_of_band_is_not_made() -> None:
    machine = Machine()
    stream, _ = machine.speak(HONEST, 5000, aside=True, reads=False)
    machine.run(60.0)
    assert ASIDE_LEAD_SECONDS <= stream.given_seconds <= ASIDE_LEAD_SECONDS + 1.0


def test_waiting_streams_out_of_band_take_no_memory() -> None:
    machine = Machine()
    stream, _ = machine.speak(HONEST, 0, aside=True)
    machine.run(1.0)
    assert stream.state is None


def test_only_urgent_chunks_are_made_under_pressure() -> None:
    machine = Machine()
    machine.pressed = True
    machine.speak(Payer("beside"), 50, aside=True)
    assert not machine.core.step() and machine.core.due() == pytest.approx(0.01)
    machine.speak(HONEST, 50)
    assert machine.core.step() and machine.core.urgent
