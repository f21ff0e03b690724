"""What a session waits for outside itself: timers, and work of the engine, the vocoder, tools and models.

Both come back through the input queue (`realtime.session.inputs`): the tasks and callbacks here change nothing, they
only put what has happened into it. Timers and work are numbered in the order in which they are started, which a replay
repeats.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from realtime.errors import log_text
from realtime.session.inputs import InputQueue, TimerExpired, WorkEnded, WorkProgress

TaskStarter = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
"""Starts a task of the session; the text says what it does."""


class Timer:
    """One timer of `Timers`."""

    def __init__(self, timers: Timers, number: int) -> None:
        self._timers = timers
        self._number = number

    def cancel(self) -> None:
        """It does not expire any more. Harmless after it has expired."""
        self._timers.cancel(self._number)


class Timers:
    """One session's timers."""

    def __init__(self, inputs: InputQueue) -> None:
        self._inputs = inputs
        self._count = 0
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._handles: dict[int, asyncio.TimerHandle | None] = {}

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Have the session call back in so many seconds."""
        self._count += 1
        number = self._count
        self._callbacks[number] = callback
        expired = TimerExpired(number)
        self._handles[number] = self._inputs.call_later(max(0.0, seconds), lambda: self._inputs.put(expired))
        return Timer(self, number)

    def cancel(self, number: int) -> None:
        """Forget a timer."""
        self._callbacks.pop(number, None)
        handle = self._handles.pop(number, None)
        if handle is not None:
            handle.cancel()

    def expired(self, event: TimerExpired) -> None:
        """Handle the input. One that was cancelled meanwhile does nothing."""
        callback = self._callbacks.pop(event.timer, None)
        self._handles.pop(event.timer, None)
        if callback is not None:
            callback()

    def stop(self) -> None:
        """The session ends: no timer expires any more."""
        for number in list(self._handles):
            self.cancel(number)


class Work:
    """Work that is under way. ``receive`` is given its results, ``ended`` its end, both as inputs of the session."""

    def __init__(
        self, number: int, receive: Callable[[Any], None], ended: Callable[[str | None], None], paced: bool
    ) -> None:
        self.number = number
        self.receive = receive
        self.ended = ended
        self.task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._paced = paced
        self._wanted.set()

    def more(self) -> None:
        """Where it is paced: the next result is wanted."""
        self._wanted.set()

    def cancel(self) -> None:
        """Stop it. Results that are in the queue already are dropped."""
        if self.task is not None:
            self.task.cancel()
        self.forget()

    def forget(self) -> None:
        """Its owner is told nothing more and not kept in memory by it. Nor is the task, whose exception may hold it."""
        self.receive = self.ended = _ignore
        self.task = None

    async def turn(self) -> None:
        """Wait until the next result is wanted."""
        await self._wanted.wait()
        if self._paced:
            self._wanted.clear()


class OutsideWork:
    """One session's work outside itself."""

    def __init__(self, inputs: InputQueue, start_task: TaskStarter, log: logging.LoggerAdapter[logging.Logger]) -> None:
        self._inputs = inputs
        self._start_task = start_task
        self._log = log
        self._count = 0
        self._running: dict[int, Work] = {}

    @property
    def any(self) -> bool:
        """Whether any is under way."""
        return bool(self._running)

    def start(
        self,
        source: AsyncIterable[Any],
        receive: Callable[[Any], None],
        ended: Callable[[str | None], None],
        name: str,
        *,
        paced: bool = False,
    ) -> Work:
        """Iterate over ``source`` in a task. ``receive`` gets each value, ``ended`` the fault or None at the end.

        ``paced``: after each value the next is taken when `Work.more` says so.
        """
        self._count += 1
        work = self._running[self._count] = Work(self._count, receive, ended, paced)
        work.task = self._start_task(self._pump(work, source, name), name)
        return work

    def call(
        self,
        source: Callable[[], Awaitable[Any]],
        receive: Callable[[Any], None],
        failed: Callable[[str], None],
        name: str,
    ) -> Work:
        """Await what ``source`` gives in a task: ``receive`` gets the value, or ``failed`` the fault."""
        return self.start(_once(source), receive, lambda fault: None if fault is None else failed(fault), name)

    def progressed(self, event: WorkProgress) -> None:
        """Handle the input."""
        work = self._running.get(event.work)
        if work is None:
            return
        try:
            work.receive(event.value)
        except Exception as error:  # as if the work had failed: its owner is told, the session lives on
            self._log.exception("the result of work %d failed", event.work)
            ended = work.ended
            self.cancel(work)
            ended(log_text(error))

    def finished(self, event: WorkEnded) -> None:
        """Handle the input."""
        work = self._running.pop(event.work, None)
        if work is not None:
            ended = work.ended
            work.forget()
            ended(event.fault)

    def cancel(self, work: Work) -> None:
        """Stop it and forget it: neither results nor its end come any more."""
        self._running.pop(work.number, None)
        work.cancel()

    def stop(self) -> None:
        """The session ends: stop all of it."""
        for work in list(self._running.values()):
            self.cancel(work)

    async def _pump(self, work: Work, source: AsyncIterable[Any], name: str) -> None:
        fault: str | None = None
        try:
            await work.turn()
            async for value in source:
                self._inputs.put(WorkProgress(work.number, value))
                await work.turn()
        except Exception as error:  # the border of work outside: its owner is told, the session lives on
            self._log.exception("%s failed", name)
            fault = log_text(error)
        self._inputs.put(WorkEnded(work.number, fault))


def _ignore(_: object) -> None:
    """Take what cancelled work still gives."""


async def _once(source: Callable[[], Awaitable[Any]]) -> AsyncIterator[Any]:
    yield await source()
