"""A child process that computes what strangers ask for. It can be killed, which a thread cannot.

Requests and answers are lines of JSON over the child's stdin and stdout. The kernel ends the child where a request
takes too much CPU time (`cpu_limit`) or memory (`memory_limit`), even inside a library that holds the interpreter's
lock. The child ends by itself when its stdin is closed, so none outlives the server. Unix only.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

Limit = Literal["time", "memory", "late", "crash"]
"""What ended a child. "late": no answer came in time, without much CPU time being used: the machine is busy."""

START_S = 30.0
"""How long somebody waits for a child to say that it is ready: a tokenizer of 158 000 ids is read in 2 s."""

LATEST_START_S = 180.0
"""A child that is not ready by then is killed. Before, the machine may be busy, and beginning anew would not help."""

RETRY_S = 5.0
"""A child that does not start is tried again after this long."""

MAX_ANSWER_BYTES = 65_536

_PACKAGES = str(Path(__file__).parents[2])

_KILLED_BY: dict[int, Limit] = {
    -signal.SIGPROF: "time",
    -signal.SIGXCPU: "time",
    -signal.SIGABRT: "memory",  # what Rust does where an allocation fails
}


class ChildFailed(Exception):
    """The child did not answer and was killed. ``limit``: which one the request broke; "crash": none that is known."""

    def __init__(self, limit: Limit, text: str) -> None:
        super().__init__(text)
        self.limit = limit


class ChildUnavailable(Exception):
    """The child cannot be started, or is not ready in time. That is no fault of the request."""


class Child:
    """One child process, started again whenever it was killed. Safe in any thread; one request at a time."""

    def __init__(self, module: str, arguments: Sequence[str] = (), *, answer_s: float = 5.0) -> None:
        """``module``: run as ``python -m``; see `serve_requests`. ``answer_s``: wall time after which it is killed."""
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._spawned = 0.0
        self._unread = b""
        self._not_before = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, None where there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process and wait until it is ready. Raises `ChildUnavailable`."""
        with self._lock:
            self._ensure_ready()

    def close(self) -> None:
        """Kill the process; also one that is busy with a request."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._kill()

    def ask(self, request: Any) -> Any:
        """The answer to a request, both JSON values. Raises `ChildFailed` where it was killed, `ChildUnavailable`."""
        with self._lock:
            self._ensure_ready()
            try:
                self._send(json.dumps(request).encode() + b"\n", time.monotonic() + self._answer_s)
                return json.loads(self._line(time.monotonic() + self._answer_s))
            except TimeoutError:
                self._give_up("late", f"no answer within {self._answer_s:g} s")
            except ValueError as fault:
                self._give_up("crash", f"an answer that is no JSON: {fault}")
            except OSError as fault:
                self._give_up(None, str(fault))

    def _give_up(self, limit: Limit | None, text: str) -> Any:
        code = self._kill(wait_s=0.5 if limit is None else 0.0)
        if not self._closed:
            self._spawn()  # ready by the time of the next request
        raise ChildFailed(limit or _KILLED_BY.get(code, "crash"), text)

    def _ensure_ready(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._kill()
        if self._process is None:
            if self._closed or time.monotonic() < self._not_before:
                raise ChildUnavailable("the child process cannot be started")
            self._spawn()
        if self._ready:
            return
        try:
            self._line(time.monotonic() + START_S)
        except OSError as fault:
            slow = isinstance(fault, TimeoutError) and time.monotonic() - self._spawned < LATEST_START_S
            if not slow:
                self._kill()
                self._not_before = time.monotonic() + RETRY_S
            raise ChildUnavailable(f"the child process does not {'get ready' if slow else 'start'}") from fault
        self._ready = True

    def _spawn(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_PACKAGES, environment.get("PYTHONPATH"))))
        try:
            # stderr could repeat what a client wrote; a process group of its own keeps Ctrl-C from the child.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
                process_group=0,
            )
        except OSError as fault:
            self._not_before = time.monotonic() + RETRY_S
            raise ChildUnavailable("the child process cannot be started") from fault
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._ready, self._unread, self._spawned = False, b"", time.monotonic()

    def _kill(self, wait_s: float = 0.0) -> int:
        """End the process, which has ``wait_s`` to end by itself. Gives its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        return process.wait()

    def _send(self, data: bytes, deadline: float) -> None:
        assert self._process is not None and self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        while data:
            _await(pipe, selectors.EVENT_WRITE, deadline)
            data = data[os.write(pipe, data) :]

    def _line(self, deadline: float) -> bytes:
        """The next line of the answers. Raises `OSError` at their end, `TimeoutError`."""
        assert self._process is not None and self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            if len(self._unread) > MAX_ANSWER_BYTES:
                raise ValueError("it is too long")
            _await(pipe, selectors.EVENT_READ, deadline)
            piece = os.read(pipe, MAX_ANSWER_BYTES)
            if not piece:
                raise ConnectionError("the child process has ended")
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _await(pipe: int, event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
