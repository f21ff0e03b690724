"""What `/metrics` says of the process beside the library's own figures: the event loop's lag, and threads."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import threading
from collections import deque

_PERIOD_S = 0.1
_WINDOW_S = 15.0
"""As often as Prometheus usually reads a server: no stall falls between two readings."""


class LoopLag:
    """How late the event loop runs what is due. A loop that stands still for a second serves nobody for a second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()
        self._beat = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _PERIOD_S
            await asyncio.sleep(_PERIOD_S)
            self.note(loop.time(), loop.time() - due)

    def note(self, at: float, lag_s: float) -> None:
        """Something that was due ran at ``at``, so many seconds late."""
        self._beat = at
        self._seen.append((at, max(0.0, lag_s)))
        while self._seen[0][0] < at - _WINDOW_S:
            self._seen.popleft()

    @property
    def beat(self) -> float:
        """When the loop last ran, by its clock; 0 before it did. From any thread."""
        return self._beat

    @property
    def worst_s(self) -> float:
        """The greatest lag of the last 15 seconds that were measured."""
        return max((lag for _, lag in self._seen), default=0.0)


def count_threads() -> int:
    """The threads of this process, native ones included where there is a /proc."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def memory_bytes() -> int:
    """The process's memory in RAM; where there is no /proc, the most it ever was."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def count_open_files() -> int | None:
    """Descriptors of this process; None where there is no /proc."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None
