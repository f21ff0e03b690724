"""An asyncio event loop with a virtual clock: instead of waiting for a timer, the clock jumps to it.

A session of minutes plays in seconds and the same way each time: nothing depends on the speed of the machine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jump(selectors.SelectSelector):
    """A selector that advances the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: every task waits for another and no timer is set")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 0. Thread work (`asyncio.to_thread`) runs in the loop and takes ``thread_s`` seconds of virtual
    time, because a real thread's time differs from run to run."""

    def __init__(self, thread_s: float = 0.0) -> None:
        self._jump = _Jump()
        self._thread_s = thread_s
        super().__init__(self._jump)

    def time(self) -> float:
        """Seconds of the virtual clock."""
        return self._jump.now

    def stall(self, seconds: float) -> None:
        """The process stands still now: the clock goes on and nothing runs."""
        self._jump.now += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """See `VirtualLoop`."""
        future: asyncio.Future[Result] = self.create_future()
        try:
            self.call_later(self._thread_s, _resolve, future, func(*args))
        except Exception as error:  # raised where the future is awaited, as with a thread
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, Result], thread_s: float = 0.0) -> Result:
    """`asyncio.run` in virtual time. Raises `RuntimeError` when all tasks wait and no timer is set."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(thread_s)) as runner:
        return runner.run(main)


def _resolve(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
