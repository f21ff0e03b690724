"""Logging that never waits: a thread of its own writes to stderr.

A pipe whose reader has stopped takes nothing more, and a write to it blocks. On the event loop that would freeze every
call. Here lines wait in a bounded queue; beyond it they are lost.
"""

from __future__ import annotations

import atexit
import logging
import queue
import time
from logging.handlers import QueueHandler, QueueListener

MAX_LINES = 10_000
"""Lines that wait. A few MB; at this length nobody reads them in time."""

FLUSH_SECONDS = 1.0
"""At the end, the limit of the wait for lines that are not written yet."""


class BackgroundHandler(QueueHandler):
    """Hands records to the thread that writes them. `flush` at the end."""

    def __init__(self, target: logging.Handler) -> None:
        self._lines: queue.Queue[logging.LogRecord] = queue.Queue(MAX_LINES)
        super().__init__(self._lines)
        self._listener = QueueListener(self._lines, target)
        self._listener.start()

    def flush(self) -> None:
        """Returns when all lines are written, or cannot be."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)


def log_in_background() -> None:
    """From now on the handlers of the root logger write in a thread."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, logging.StreamHandler):
            background = BackgroundHandler(handler)
            background.setLevel(handler.level)
            background.setFormatter(handler.formatter)  # here: who logs an exception may free its frames afterwards
            handler.setFormatter(None)
            root.removeHandler(handler)
            root.addHandler(background)
            atexit.register(background.flush)
