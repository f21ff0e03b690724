"""A child that does what it is told, to see how its parent copes."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from realtime.sandbox.limits import serve_requests


def answer(request: Any) -> Any:
    match request:
        case "spin":
            while True:
                pass
        case "sleep":
            time.sleep(60)
        case "grow":
            try:
                held = b"x" * 2**30
            except MemoryError:
                os.abort()  # as a library without exceptions does
            return len(held)
        case "exit":
            os._exit(3)
        case "garbage":
            os.write(GARBAGE_TO, b"no JSON\n")
        case "endless":
            while True:
                os.write(GARBAGE_TO, b"x" * 10_000)
        case "print":
            print("a library's greeting")
    return request


if __name__ == "__main__":
    if sys.argv[1:] == ["broken"]:
        sys.exit(1)
    if sys.argv[1:2] == ["slow"]:
        time.sleep(float(sys.argv[2]))
    GARBAGE_TO = os.dup(sys.stdout.fileno())
    serve_requests(answer, cpu_s=0.2, memory_bytes=2**28)
