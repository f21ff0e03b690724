"""What `/metrics` says of the process: the event loop's lag, memory, threads and open files (Linux: from /proc)."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

_PERIOD_S = 0.1
_WINDOW_S = 15.0
"""As often as Prometheus usually reads a server: no stall falls between two readings."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class LoopLag:
    """How late the event loop runs what is due. A loop that stands still for a second serves nobody for a second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _PERIOD_S
            await asyncio.sleep(_PERIOD_S)
            self.note(loop.time(), loop.time() - due)

    def note(self, at: float, lag_s: float) -> None:
        """Something that was due ran at ``at``, so many seconds late."""
        self._seen.append((at, max(0.0, lag_s)))
        while self._seen[0][0] < at - _WINDOW_S:
            self._seen.popleft()

    @property
    def worst_s(self) -> float:
        """The greatest lag of the last 15 seconds that were measured."""
        return max((lag for _, lag in self._seen), default=0.0)


class ProcessFigures(NamedTuple):
    """One reading of the process."""

    resident_bytes: int
    threads: int
    open_fds: int

    @classmethod
    def read(cls) -> ProcessFigures | None:
        """None where there is no /proc."""
        here = Path("/proc/self")
        try:
            pages = int((here / "statm").read_text().split()[1])
            return cls(pages * _PAGE_BYTES, len(list((here / "task").iterdir())), len(list((here / "fd").iterdir())))
        except OSError:
            return None
