"""What an honest caller gets beside floods, in virtual time: the model's steps cost what is given here.

One id decoded for n jobs costs ``0.005 + 0.0025 n`` seconds and an id of a prompt 0.25 ms, as for nano on one core.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from realtime.engine.engine import EngineCore
from realtime.engine.rendered_prompt import RenderedPrompt
from realtime.engine.sequence import IDS_PER_SECOND, Job, Purpose, Slot
from realtime.ports.engine import GenerationDone, TokenDelta
from realtime.ports.payer import Payer
from tests.engine.test_engine import FakeRunner, FakeState, request

FIRST_SOUND_IDS = 10
"""Of a reply: what the vocoder needs for its first chunk."""
FIRST_CHUNK_SECONDS = 0.09
"""Of the vocoder, which has a processor of its own."""
HONEST = Payer("honest", "good")
LONG = 1000
"""Ids of a flood's prompts."""


class CostlyRunner(FakeRunner):
    """Its work takes virtual time; four of five ids of a spoken reply are speech."""

    max_tokens = 8000

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def prefill(self, slot: Slot, prompt: RenderedPrompt, start: int, stop: int) -> None:
        self.now += 0.00025 * (stop - start)
        super().prefill(slot, prompt, start, stop)

    def decode(self, states: list[FakeState]) -> None:
        self.now += 0.005 + 0.0025 * len(states)
        super().decode(states)
        for state in states:
            ids = state.text_count + state.audio_count
            state.audio_count = ids * 4 // 5
            state.text_count = ids - state.audio_count


class Machine:
    """An engine in virtual time. Floods ask again as soon as they are answered."""

    def __init__(self, asides: int = 4) -> None:
        self.runner = CostlyRunner()
        self.core = EngineCore(self.runner, slots=40, asides=asides, clock=lambda: self.runner.now)
        self._count = 0
        self.served: dict[str, int] = {}
        """Ids decoded for each session."""

    def ask(
        self,
        payer: Payer,
        prompt: int = 30,
        ids: int = 200,
        *,
        aside: bool = False,
        background: bool = False,
        again: bool = False,
        purpose: Purpose = Purpose.REPLY,
    ) -> tuple[Job, list[float]]:
        """Ask for a reply of so many ids; gives the job and when its ids came. ``again``: for ever."""
        self._count += 1
        asked = request("1 " * (prompt - 1) + str(ids), key=f"{payer.session}/{self._count}", background=background)
        options = replace(asked.options, payer=payer, aside=aside, playback_speed=0.0 if aside else 1.0)
        times: list[float] = []

        def deliver(event: TokenDelta | GenerationDone) -> None:
            if isinstance(event, TokenDelta):
                times.append(self.runner.now)
                self.served[payer.session] = self.served.get(payer.session, 0) + len(event.ids)
            elif again:
                self.ask(payer, prompt, ids, aside=aside, background=background, again=True, purpose=purpose)

        job = Job(replace(asked, options=options), deliver, self.runner.now, purpose)
        self.core.submit(job)
        return job, times

    def run(self, seconds: float) -> None:
        until = self.runner.now + seconds
        while self.runner.now < until:
            if not self.core.step():
                self.runner.now += self.core.due() or 0.01


def first_sound(machine: Machine, payer: Payer = HONEST) -> float:
    """Seconds until the first sound of a reply."""
    asked = machine.runner.now
    _, times = machine.ask(payer)
    machine.run(5.0)
    return times[FIRST_SOUND_IDS] - asked + FIRST_CHUNK_SECONDS


def is_in_time(times: list[float]) -> bool:
    """Whether a reply's ids come no later than they are spoken, from its first sound on."""
    begin = times[FIRST_SOUND_IDS]
    return all(at - begin <= index / IDS_PER_SECOND for index, at in enumerate(times))


ALONE = first_sound(Machine())


@pytest.mark.parametrize("sessions", [1, 4, 16])
def test_a_flood_beside_conversations_hardly_delays_speech(sessions: int) -> None:
    machine = Machine()
    for n in range(sessions):
        for _ in range(4):
            machine.ask(Payer(f"flood{n}", "bad"), LONG, 400, aside=True, again=True)
    machine.run(5.0)
    assert first_sound(machine) <= 2 * ALONE
    _, times = machine.ask(HONEST, ids=600)
    machine.run(30.0)
    assert len(times) == 600 and is_in_time(times)
    assert machine.served["flood0"] > 100


@pytest.mark.parametrize("kind", ["transcripts", "drafts"])
def test_what_is_made_for_nobody_hardly_delays_speech(kind: str) -> None:
    machine = Machine()
    for n in range(16):
        background, purpose = kind == "transcripts", Purpose.REPLY if kind == "transcripts" else Purpose.SPECULATIVE
        machine.ask(Payer(f"s{n}", "bad"), LONG, 400, background=background, again=True, purpose=purpose)
    machine.run(2.0)
    assert first_sound(machine) <= 2 * ALONE


def test_long_prompts_of_others_leave_speech_in_time() -> None:
    machine = Machine()
    for n in range(3):
        machine.ask(Payer(f"flood{n}", "bad"), 4000, 10, again=True)
    machine.run(5.0)
    _, times = machine.ask(HONEST, ids=300)
    machine.run(20.0)
    assert len(times) == 300 and is_in_time(times)


def test_a_session_with_many_replies_gets_one_share() -> None:
    machine = Machine(asides=20)
    for _ in range(9):
        machine.ask(Payer("greedy", "k"), 30, 5000, aside=True, again=True)
    machine.ask(Payer("modest", "k"), 30, 5000, aside=True, again=True)
    machine.run(60.0)
    assert machine.served["modest"] >= 0.4 * sum(machine.served.values())


def test_a_key_with_many_sessions_gets_one_share() -> None:
    machine = Machine(asides=20)
    for n in range(9):
        machine.ask(Payer(f"many{n}", "bad"), 30, 5000, aside=True, again=True)
    machine.ask(HONEST, 30, 5000, aside=True, again=True)
    machine.run(60.0)
    honest = machine.served.pop("honest")
    assert honest >= 4 * max(machine.served.values())  # as much time; ids cost more one by one


def test_first_replies_get_caches_before_second_ones() -> None:
    machine = Machine(asides=2)
    for _ in range(4):
        machine.ask(Payer("greedy", "k"), 30, 100, aside=True)
    _, times = machine.ask(Payer("modest", "k"), 30, 100, aside=True)
    machine.run(3.0)
    (modest, *_), greedy = times, machine.served["greedy"]
    assert modest < 1.5 and greedy == 400


def test_replies_out_of_band_evict_no_conversations() -> None:
    machine = Machine(asides=2)
    machine.ask(HONEST)
    machine.run(3.0)
    for n in range(60):
        machine.ask(Payer(f"flood{n}", "bad"), 30, 10, aside=True)
    machine.run(1.0)
    assert machine.core._slots.take("honest/1") is not None and machine.core._slots._slots["honest/1"].keys
    assert machine.core.open_slots <= 3


def test_what_runs_beside_ends_on_an_overloaded_machine() -> None:
    machine = Machine()
    for n in range(12):  # more than the machine can do in time
        machine.ask(Payer(f"s{n}", f"k{n}"), 2000, 400, again=True)
    _, transcript = machine.ask(HONEST, 30, 10, background=True)
    machine.run(30.0)
    assert len(transcript) == 10


def test_only_urgent_work_is_done_under_pressure() -> None:
    runner = CostlyRunner()
    core = EngineCore(runner, slots=4, clock=lambda: runner.now, pressed=lambda: True)
    beside = request("5", key="b", background=True)
    core.submit(Job(beside, lambda event: None, 0.0))
    assert not core.step() and core.due() == pytest.approx(0.01)
    core.submit(Job(request("5", key="a"), lambda event: None, 0.0))
    assert core.step() and core.urgent


def reason(machine: Machine, payer: Payer, prompt: int, *, aside: bool = False) -> tuple[str, str | None]:
    """How a reply to such a prompt ends."""
    asked = request("1 " * (prompt - 1) + "5", key=f"{payer.session}/{machine.runner.now}")
    ends: list[GenerationDone] = []
    options = replace(asked.options, payer=payer, aside=aside)

    def deliver(event: TokenDelta | GenerationDone) -> None:
        if isinstance(event, GenerationDone):
            ends.append(event)

    machine.core.submit(Job(replace(asked, options=options), deliver, machine.runner.now))
    while not ends:
        machine.run(0.1)
    return ends[0].reason, ends[0].error


def until_refused(machine: Machine, payer: Payer, *, aside: bool = False) -> tuple[int, str]:
    """How many prompts of 4,000 ids (1 s) are read before one is refused, and what is said then."""
    for count in range(100):
        why, error = reason(machine, payer, 4000, aside=aside)
        if why == "over_budget":
            return count, error or ""
    raise AssertionError("none was refused")


def test_a_session_that_asks_too_much_is_refused() -> None:
    machine = Machine()
    count, error = until_refused(machine, Payer("greedy", "k"))
    assert count == pytest.approx(10 / (1 - 0.25), abs=2)
    assert error.startswith("Ask again in ")
    assert reason(machine, Payer("greedy", "k"), 30)[0] == "over_budget"
    assert reason(machine, Payer("other", "k"), 30)[0] == "stop"
    machine.run(float(error.split()[3]) + 0.1)
    assert reason(machine, Payer("greedy", "k"), 30)[0] == "stop"


def test_prompts_out_of_band_count_for_the_key() -> None:
    machine = Machine()
    for n in range(6):
        for _ in range(6):
            reason(machine, Payer(f"s{n}", "k"), 4000, aside=True)
    assert reason(machine, Payer("s9", "k"), 30, aside=True)[0] == "over_budget"
    assert reason(machine, Payer("s9", "k"), 30)[0] == "stop"
    assert reason(machine, Payer("s9", "other"), 30, aside=True)[0] == "stop"


def test_a_slow_machine_reads_four_full_contexts() -> None:
    machine = Machine()
    fast = machine.runner.prefill

    def slow(slot: Slot, prompt: RenderedPrompt, start: int, stop: int) -> None:
        machine.runner.now += 0.02 * (stop - start)
        fast(slot, prompt, start, stop)

    machine.runner.prefill = slow  # type: ignore[method-assign]
    assert until_refused(machine, HONEST)[0] * 4000 >= 4 * machine.runner.max_tokens


def test_prompts_of_many_tools_hardly_delay_speech() -> None:
    """A session whose every reply has other tools, as many as fit: its prompt is computed anew each time."""
    machine = Machine()
    machine.ask(Payer("hostile", "same"), 3000, 20, again=True)
    machine.run(3.0)
    assert first_sound(machine, Payer("honest", "same")) <= 2 * ALONE
    _, times = machine.ask(HONEST, ids=400)
    machine.run(30.0)
    assert len(times) == 400 and is_in_time(times)
