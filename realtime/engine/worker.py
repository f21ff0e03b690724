"""One thread that carries out commands and, between them, steps of work. The engine and the vocoder each run in one.

The thread outlives every exception. A command that fails is reported to the ``on_fault`` that came with it, a step that
fails to the worker's own; both also catch what does not derive from `Exception`: a panic in a Rust library does not.

A thread that never returns cannot be ended. `Worker.abandon` gives it up: should it return, it ends without doing
anything more (`realtime.engine.supervisor`).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from realtime.errors import EngineError

logger = logging.getLogger(__name__)

_STOPPED = "the model side has been stopped"

RESPONDS_SECONDS = 2.0
"""Longer than any usual step or chunk."""

Command = Callable[[], None]
OnFault = Callable[[BaseException], None]
Due = Callable[[], float | None]


def describe(fault: BaseException) -> str:
    """The text of an error event: the kind of exception and what it says."""
    return f"{type(fault).__name__}: {fault}"


class Worker:
    """`start` it, `put` commands from any thread, `stop` it. ``heartbeat`` and ``alive`` are for supervision."""

    def __init__(
        self, name: str, step: Callable[[], bool], on_step_fault: OnFault, at_end: Command, due: Due = lambda: None
    ) -> None:
        """``step``: does one piece of work, False when there is none. ``on_step_fault``: ends all work that the failed
        step may have left in an unknown state. ``at_end``: the thread's last act. ``due``: seconds after which there
        may be work again without a command, None: there will be none."""
        self._step = step
        self._due = due
        self._on_step_fault = on_step_fault
        self._at_end = at_end
        self._commands: queue.SimpleQueue[tuple[Command, OnFault] | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._ended = False
        self._abandoned: EngineError | None = None
        self._waiting = False
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def heartbeat(self) -> float:
        """When the thread last finished a piece of work, by `time.monotonic`; now while it has nothing to do."""
        return time.monotonic() if self._waiting else self._beat

    @property
    def responds(self) -> bool:
        """Whether it has finished work in the last `RESPONDS_SECONDS`, or has none. Others give way to its urgent work
        only then: one that is stuck must not stop them, too."""
        return time.monotonic() - self.heartbeat < RESPONDS_SECONDS

    @property
    def thread_id(self) -> int | None:
        """As in `sys._current_frames`; None before the start."""
        return self._thread.ident

    def start(self) -> None:
        self._thread.start()

    def abandon(self, fault: EngineError) -> None:
        """Give the thread up. Commands that wait and all later ones fail with ``fault``, in the caller's thread; the
        command or step under way is not waited for."""
        with self._closing:
            self._abandoned, self._ended = fault, True
        self._refuse_waiting(fault)
        self._commands.put(None)  # ends a thread that only waits

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread behind the commands given so far; waits at most ``timeout`` seconds for that."""
        self._commands.put(None)
        self._thread.join(timeout)

    def put(self, command: Command, on_fault: OnFault | None = None) -> None:
        """Carry this out in the thread. ``on_fault`` is called with the exception, also when the worker has ended."""
        with self._closing:
            if not self._ended:
                self._commands.put((command, on_fault or _log))
                return
        (on_fault or _log)(self._abandoned or EngineError(_STOPPED))

    def _run(self) -> None:
        working = True
        while self._carry_out_commands(wait=not working):
            working = bool(self._guarded(self._step, self._on_step_fault))
            self._beat = time.monotonic()
        if self._abandoned is None:
            self._guarded(self._at_end, _log)
        with self._closing:
            self._ended = True
        self._refuse_waiting(self._abandoned or EngineError(_STOPPED))

    def _refuse_waiting(self, fault: EngineError) -> None:
        """Report ``fault`` for every command that was not carried out."""
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            if command is not None:
                _report(fault, command[1])

    def _carry_out_commands(self, *, wait: bool) -> bool:
        """All that have been given; False at the one that ends the thread."""
        while True:
            self._waiting = wait
            try:
                command = self._commands.get(wait, self._due() if wait else None)
            except queue.Empty:
                return self._abandoned is None
            finally:
                self._beat = time.monotonic()
                self._waiting = False
            if self._abandoned is not None:
                if command is not None:
                    _report(self._abandoned, command[1])
                return False
            if command is None:
                return False
            self._guarded(*command)
            wait = False

    def _guarded(self, work: Callable[[], bool | None], on_fault: OnFault) -> bool | None:
        try:
            return work()
        except BaseException as fault:  # the thread's border: every other caller's work goes on
            logger.exception("%s failed in the %s thread", work, self._thread.name)
            if self._abandoned is None:
                _report(fault, on_fault)
            return None


def _report(fault: BaseException, on_fault: OnFault) -> None:
    try:
        on_fault(fault)
    except BaseException:
        logger.exception("a fault could not be reported")


def _log(fault: BaseException) -> None:
    """The fault belongs to no caller; `Worker` has logged it."""
