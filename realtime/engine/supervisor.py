"""Watches the engine's and the vocoder's thread and the event loop, from a plain thread.

A worker that has work and shows no heartbeat for ``stall_s``, or whose thread has ended, is given up: its stack goes to
the log, its callers get errors, a new worker takes its place. What cannot be replaced ends the process: a supervisor
such as systemd or Kubernetes starts it again.

Not counted is time in which this thread itself did not run (a stopped or suspended process, a machine that swaps), and
for workers the time in which the event loop did not run.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from realtime.engine.worker import Worker, describe

logger = logging.getLogger(__name__)

PERIOD_S = 0.25
"""Between two looks."""
MAX_RESTARTS = 3
"""Of one worker in `RESTART_WINDOW_S`. One that is stuck again and again will be, and every one leaves its memory
behind."""
RESTART_WINDOW_S = 600.0
RENEWAL_STALLS = 4.0
"""A new worker may take so many times ``stall_s`` to start: it is warmed up first."""
LOG_SECONDS = 1.0
"""How long a line for the log is waited for."""
LATE_LOOP_S = 1.0
"""With the event loop so late, it is to blame and no worker."""

Spawn = Callable[[Callable[[], None]], None]
"""Runs something beside the caller."""


class Unit(Protocol):
    """A worker that can be replaced: `ThreadedEngine`, `ThreadedVocoder`."""

    @property
    def worker(self) -> Worker: ...

    def abandon(self, reason: str) -> None: ...

    def renew(self) -> None: ...


@dataclass(slots=True)
class _Pulse:
    """How long something has not moved."""

    beat: float = -1.0
    silent_s: float = 0.0

    def feel(self, beat: float, elapsed: float) -> None:
        self.silent_s = self.silent_s + elapsed if beat == self.beat else 0.0
        self.beat = beat


@dataclass(slots=True)
class _Watch:
    """One unit under observation. ``renewing_s``: how long its replacement has been starting; None: it is not."""

    name: str
    unit: Unit
    pulse: _Pulse = field(default_factory=_Pulse)
    renewing_s: float | None = None
    restarts: int = 0
    recent: deque[float] = field(default_factory=deque)
    """When it was replaced lately, in watched seconds."""

    def report(self, stall_s: float) -> dict[str, Any]:
        silent, renewing = self.pulse.silent_s, self.renewing_s
        state = "restarting" if renewing is not None else "stuck" if silent >= stall_s / 2 else "ok"
        seconds = silent if renewing is None else renewing
        return {"state": state, "seconds": round(seconds, 1), "restarts": self.restarts}


class Supervisor:
    """`start` it when the workers run, `stop` it before them."""

    def __init__(
        self,
        units: Mapping[str, Unit],
        stall_s: float,
        loop_beat: Callable[[], float],
        give_up: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        spawn: Spawn | None = None,
    ) -> None:
        """``loop_beat``: a value that changes while the event loop of the calling thread runs. ``give_up``: ends the
        process; told why. ``spawn``: runs what starts a new worker; default: a thread."""
        self._watches = [_Watch(name, unit) for name, unit in units.items()]
        self._stall_s = stall_s
        self._loop_beat = loop_beat
        self._loop_thread = threading.get_ident()
        self._loop = _Pulse()
        self._loop_reported = False
        self._give_up = give_up
        self._clock = clock
        self._spawn = spawn or _in_thread
        self._at = clock()
        self._watched_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        self._at = self._clock()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def report(self) -> dict[str, dict[str, Any]]:
        """Of each worker and the event loop: ``state``, how many ``seconds`` it has been without a heartbeat (or has
        been restarting), and how often it was restarted. From any thread."""
        states = {watch.name: watch.report(self._stall_s) for watch in self._watches}
        late = self._loop.silent_s
        state = "stuck" if late >= self._stall_s / 2 else "ok"
        return {**states, "event_loop": {"state": state, "seconds": round(late, 1)}}

    def check(self) -> None:
        """Look once, and act."""
        now = self._clock()
        elapsed = min(now - self._at, 2 * PERIOD_S)  # the rest of the time this thread did not run either
        self._at = now
        self._watched_s += elapsed
        self._check_loop(elapsed)
        for watch in self._watches:
            self._check_worker(watch, 0.0 if self._loop.silent_s > LATE_LOOP_S else elapsed)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            try:
                self.check()
            except Exception:
                logger.exception("the supervisor failed; it goes on")

    def _check_loop(self, elapsed: float) -> None:
        loop = self._loop
        loop.feel(self._loop_beat(), elapsed)
        if loop.silent_s < self._stall_s / 2:
            self._loop_reported = False
            return
        if not self._loop_reported:
            self._loop_reported = True
            _log(f"the event loop has been blocked for {loop.silent_s:.0f} s, by\n{stack(self._loop_thread)}")
        if loop.silent_s >= self._stall_s:
            self._give_up(f"the event loop has been blocked for {loop.silent_s:.0f} s")

    def _check_worker(self, watch: _Watch, elapsed: float) -> None:
        if watch.renewing_s is not None:
            watch.renewing_s += elapsed
            if watch.renewing_s >= RENEWAL_STALLS * self._stall_s:
                self._give_up(f"a new {watch.name} has not started within {watch.renewing_s:.0f} s")
            return
        worker = watch.unit.worker
        watch.pulse.feel(worker.heartbeat, elapsed)
        if not worker.alive:
            self._replace(watch, "its thread has ended")
        elif watch.pulse.silent_s >= self._stall_s:
            self._replace(watch, f"it has been stuck for {watch.pulse.silent_s:.0f} s")

    def _replace(self, watch: _Watch, why: str) -> None:
        _log(f"the {watch.name} is replaced: {why}\n{stack(watch.unit.worker.thread_id)}")
        watch.renewing_s = 0.0
        watch.unit.abandon(f"the {watch.name} is restarting: {why}")
        recent = watch.recent
        while recent and recent[0] < self._watched_s - RESTART_WINDOW_S:
            recent.popleft()
        if len(recent) >= MAX_RESTARTS:
            self._give_up(f"the {watch.name} had to be replaced {len(recent) + 1} times in 10 minutes: {why}")
            return
        recent.append(self._watched_s)
        self._spawn(lambda: self._renew(watch))

    def _renew(self, watch: _Watch) -> None:
        for attempt in range(1, MAX_RESTARTS + 1):
            try:
                watch.unit.renew()
                break
            except BaseException as fault:  # a panic in a Rust library is no `Exception`
                logger.exception("a new %s could not be started, attempt %d", watch.name, attempt)
                if attempt == MAX_RESTARTS:
                    self._give_up(f"the {watch.name} could not be replaced: {describe(fault)}")
                    return
        watch.restarts += 1
        watch.pulse, watch.renewing_s = _Pulse(), None
        logger.warning("the %s was replaced; its sessions go on", watch.name)


def stack(thread_id: int | None) -> str:
    """What a thread does now, innermost call last."""
    frame = sys._current_frames().get(thread_id or 0)
    if frame is None:
        return "(the thread has ended)"
    return "".join(traceback.format_stack(frame)).rstrip()


def _log(text: str) -> None:
    """What is stuck may hold the log's lock, or the log is what it is stuck in: this must not wait for it."""
    writer = threading.Thread(target=logger.error, args=("%s", text), name="supervisor log", daemon=True)
    writer.start()
    writer.join(LOG_SECONDS)


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="worker renewal", daemon=True).start()
