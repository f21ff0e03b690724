"""One thread that carries out commands and, between them, steps of work. The engine and the vocoder each run in one.

The thread outlives every exception. A command that fails is reported to the ``on_fault`` that came with it, a step that
fails to the worker's own; both also catch what does not derive from `Exception`: a panic in a Rust library does not.
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

    def start(self) -> None:
        self._thread.start()

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
        (on_fault or _log)(EngineError(_STOPPED))

    def _run(self) -> None:
        working = True
        while self._carry_out_commands(wait=not working):
            working = bool(self._guarded(self._step, self._on_step_fault))
            self._beat = time.monotonic()
        self._guarded(self._at_end, _log)
        with self._closing:
            self._ended = True
        while not self._commands.empty():
            if (late := self._commands.get()) is not None:
                self._guarded(_refuse, late[1])

    def _carry_out_commands(self, *, wait: bool) -> bool:
        """All that have been given; False at the one that ends the thread."""
        while True:
            self._waiting = wait
            try:
                command = self._commands.get(wait, self._due() if wait else None)
            except queue.Empty:
                return True
            finally:
                self._beat = time.monotonic()
                self._waiting = False
            if command is None:
                return False
            self._guarded(*command)
            wait = False

    def _guarded(self, work: Callable[[], bool | None], on_fault: OnFault) -> bool | None:
        try:
            return work()
        except BaseException as fault:  # the thread's border: every other caller's work goes on
            logger.exception("%s failed in the %s thread", work, self._thread.name)
            try:
                on_fault(fault)
            except BaseException:
                logger.exception("a fault could not be reported")
            return None


def _refuse() -> None:
    raise EngineError(_STOPPED)


def _log(fault: BaseException) -> None:
    """The fault belongs to no caller; `Worker` has logged it."""
