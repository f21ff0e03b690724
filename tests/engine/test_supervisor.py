"""When a worker is stuck, what is done about it, and what only looks like it. The clock is the test's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from realtime.engine.supervisor import MAX_RESTARTS, PERIOD_S, Supervisor, stack

STALL_S = 30.0


@dataclass
class FakeWorker:
    heartbeat: float = 0.0
    alive: bool = True
    thread_id: int = field(default_factory=threading.get_ident)


@dataclass
class FakeUnit:
    worker: FakeWorker = field(default_factory=FakeWorker)
    abandoned: list[str] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    """Raised by the next renewals."""

    def abandon(self, reason: str) -> None:
        self.abandoned.append(reason)

    def renew(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.worker = FakeWorker()


class Watched:
    """Engine and vocoder under a supervisor. Both have heartbeats but those in ``still``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.units = {"engine": FakeUnit(), "vocoder": FakeUnit()}
        self.still: set[str] = set()
        self.loop_beat = 0.0
        self.ended: list[str] = []
        self.later: list[Callable[[], None]] = []
        self.slow_renewal = False
        self.supervisor = Supervisor(
            self.units,  # type: ignore[arg-type]
            STALL_S,
            lambda: self.loop_beat,
            self.ended.append,
            lambda: self.now,
            self._spawn,
        )

    def _spawn(self, work: Callable[[], None]) -> None:
        if self.slow_renewal:
            self.later.append(work)
        else:
            work()

    def watch(self, seconds: float, step: float = PERIOD_S) -> None:
        for _ in range(round(seconds / step)):
            self.now += step
            for name, unit in self.units.items():
                if name not in self.still:
                    unit.worker.heartbeat = self.now
            if "loop" not in self.still:
                self.loop_beat = self.now
            self.supervisor.check()

    def state(self, name: str) -> str:
        return str(self.supervisor.report()[name]["state"])


def test_healthy_workers_are_left_alone() -> None:
    watched = Watched()
    watched.watch(600)
    assert not watched.ended
    assert not any(unit.abandoned for unit in watched.units.values())
    assert {one["state"] for one in watched.supervisor.report().values()} == {"ok"}


@pytest.mark.parametrize("name", ["engine", "vocoder"])
def test_a_stuck_worker_alone_is_replaced(name: str, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    old = watched.units[name].worker
    watched.still = {name}
    watched.watch(STALL_S - 1)
    assert not watched.units[name].abandoned and watched.state(name) == "stuck"
    with caplog.at_level(logging.ERROR):
        watched.watch(2)
    assert len(watched.units[name].abandoned) == 1
    assert watched.units[name].worker is not old
    assert sum(len(unit.abandoned) for unit in watched.units.values()) == 1
    assert f"the {name} is replaced" in caplog.text
    assert "test_supervisor.py" in caplog.text  # the stack of its thread, which is the test's
    watched.still = set()
    watched.watch(1)
    assert watched.state(name) == "ok" and watched.supervisor.report()[name]["restarts"] == 1
    assert not watched.ended


@pytest.mark.parametrize("name", ["engine", "vocoder"])
def test_a_dead_thread_is_replaced_at_once(name: str) -> None:
    watched = Watched()
    watched.units[name].worker.alive = False
    watched.watch(PERIOD_S)
    assert len(watched.units[name].abandoned) == 1 and watched.units[name].worker.alive
    assert not watched.ended


def test_slow_steps_below_the_limit_are_no_stall() -> None:
    watched = Watched()
    watched.still = {"engine"}
    for _ in range(20):
        watched.watch(STALL_S - 1)
        watched.units["engine"].worker.heartbeat += 1.0
    assert not watched.units["engine"].abandoned


@pytest.mark.parametrize("gap_s", [5.0, 60.0, 86_400.0])
def test_suspended_processes_are_not_called_stuck(gap_s: float) -> None:
    watched = Watched()
    watched.still = {"engine", "vocoder", "loop"}
    for _ in range(10):
        watched.watch(gap_s, step=gap_s)
        watched.watch(0.5)
    assert not watched.ended and not watched.units["engine"].abandoned


def test_a_blocked_loop_is_not_a_workers_stall() -> None:
    watched = Watched()
    watched.still = {"engine", "loop"}
    watched.watch(STALL_S - 2)
    watched.still = {"engine"}
    watched.watch(STALL_S - 2)
    assert not watched.units["engine"].abandoned and not watched.ended
    watched.watch(3)
    assert watched.units["engine"].abandoned


def test_a_loop_blocked_for_good_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    watched.still = {"loop"}
    watched.watch(STALL_S - 1)
    assert not watched.ended and watched.state("event_loop") == "stuck"
    assert len(caplog.records) == 1 and "test_supervisor.py" in caplog.text
    watched.watch(1.5)
    assert "event loop" in watched.ended[0]


def test_failed_renewals_are_tried_again() -> None:
    watched = Watched()
    watched.units["engine"].faults = [RuntimeError("no"), MemoryError()]
    watched.units["engine"].worker.alive = False
    watched.watch(1)
    assert not watched.ended and watched.state("engine") == "ok"


def test_workers_beyond_renewal_end_the_process() -> None:
    watched = Watched()
    watched.units["vocoder"].faults = [RuntimeError("no CUDA")] * MAX_RESTARTS
    watched.units["vocoder"].worker.alive = False
    watched.watch(1)
    assert len(watched.ended) == 1 and "vocoder" in watched.ended[0] and "no CUDA" in watched.ended[0]


def test_a_renewal_that_never_returns_ends_the_process() -> None:
    watched = Watched()
    watched.slow_renewal = True
    watched.units["engine"].worker.alive = False
    watched.watch(STALL_S)
    assert not watched.ended and watched.state("engine") == "restarting"
    watched.watch(4 * STALL_S)
    assert "engine" in watched.ended[0]


def test_workers_stuck_repeatedly_end_the_process() -> None:
    watched = Watched()
    watched.still = {"engine"}
    watched.watch((MAX_RESTARTS + 0.5) * (STALL_S + 1))
    assert len(watched.units["engine"].abandoned) == MAX_RESTARTS and not watched.ended
    watched.watch(STALL_S)
    assert "engine" in watched.ended[0]


def test_rare_replacements_go_on_for_ever() -> None:
    watched = Watched()
    for _ in range(3 * MAX_RESTARTS):
        watched.units["engine"].worker.alive = False
        watched.watch(300)
    assert not watched.ended and len(watched.units["engine"].abandoned) == 3 * MAX_RESTARTS


def test_the_supervisor_survives_its_own_faults() -> None:
    watched = Watched()
    checked, looks = threading.Event(), iter([RuntimeError("broken here")])

    def check() -> None:
        for fault in looks:
            raise fault
        checked.set()

    watched.supervisor.check = check  # type: ignore[method-assign]
    watched.supervisor.start()
    assert checked.wait(10)
    watched.supervisor.stop()


def test_an_ended_thread_has_no_stack() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert "ended" in stack(thread.ident) and "ended" in stack(None)


def test_a_log_that_blocks_delays_no_replacement() -> None:
    watched, unread = Watched(), threading.Event()
    blocked = logging.Handler()
    blocked.emit = lambda record: unread.wait(30) and None  # type: ignore[method-assign,assignment]
    logger = logging.getLogger("realtime.engine.supervisor")
    logger.addHandler(blocked)
    try:
        watched.slow_renewal = True
        watched.units["engine"].worker.alive = False
        watched.watch(PERIOD_S)
        assert watched.units["engine"].abandoned
    finally:
        unread.set()
        logger.removeHandler(blocked)
