"""One life of a worker thread, and who waits for its results.

A thread that is stuck cannot be ended, only given up (`realtime.engine.supervisor`). Its life ends as a whole: all who
wait are told at once, and what the thread may still give later reaches nobody.
"""

from __future__ import annotations

import threading
from typing import Protocol

from realtime.engine.worker import Worker
from realtime.errors import EngineError


class Listener(Protocol):
    """Waits for results of the thread."""

    def lose(self, fault: EngineError) -> None:
        """No result comes any more. From any thread, more than once."""


class Incarnation:
    """One thread and its listeners. From any thread."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._lost: EngineError | None = None
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()

    @property
    def lost(self) -> bool:
        """Whether it was given up."""
        return self._lost is not None

    def join(self, listener: Listener) -> None:
        """Tell this one when the thread is given up, until it leaves."""
        with self._lock:
            if self._lost is None:
                self._listeners.add(listener)
                return
        listener.lose(self._lost)

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def lose(self, fault: EngineError) -> None:
        """Give the thread up and tell everybody."""
        with self._lock:
            self._lost = self._lost or fault
            listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            listener.lose(fault)
        self.worker.abandon(fault)
