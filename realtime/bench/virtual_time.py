"""An asyncio event loop whose clock jumps: what waits for a time is run at once, and the clock says it is that time.

So a session of minutes plays in seconds, and always in the same way: nothing in it depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jump(selectors.SelectSelector):
    """Instead of waiting, moves the clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for another: nothing can happen any more")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time begins at 0. Work for threads (`asyncio.to_thread`) is done in the loop, and takes ``thread_s`` of its time:
    a thread's own time would not be the same twice."""

    def __init__(self, thread_s: float = 0.0) -> None:
        self._jump = _Jump()
        self._thread_s = thread_s
        super().__init__(self._jump)

    def time(self) -> float:
        """Seconds of the virtual clock."""
        return self._jump.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """See `VirtualLoop`."""
        future: asyncio.Future[Result] = self.create_future()
        try:
            self.call_later(self._thread_s, _resolve, future, func(*args))
        except Exception as error:  # the future's, as with a thread
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, Result], thread_s: float = 0.0) -> Result:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(thread_s)) as runner:
        return runner.run(main)


def _resolve(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
