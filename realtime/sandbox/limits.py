"""The child's side of `realtime.sandbox.child`: reads requests, limits each one, answers."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def serve_requests(answer: Callable[[Any], Any], *, cpu_s: float, memory_bytes: int) -> None:
    """Answer requests until stdin is closed. One that takes more than ``cpu_s`` of CPU time, or more than
    ``memory_bytes`` beyond what the process has now, ends the process."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing else may write into the answers
    _limit_memory(memory_bytes)
    _write(output, "ready")
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        result = answer(json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        _write(output, result)


def _write(output: Any, value: Any) -> None:
    output.write(json.dumps(value) + "\n")
    output.flush()


def _limit_memory(more: int) -> None:
    statm = Path("/proc/self/statm")
    now = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
    if now:  # elsewhere than on Linux there is no such limit
        resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
