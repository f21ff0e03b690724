"""Slow work that a job needs before it can start, done beside the engine's thread: grammars of functions, long texts.

Compiling 130 kB of schemas takes 140 ms and tokenizing them 200 ms. In the engine's thread every caller would wait;
here only the job does. Both let go of Python's interpreter lock, so threads are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, Protocol

from realtime.engine.worker import OnFault, Worker

THREADS = 2
"""One slow schema must not hold up the next caller's."""


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """``work`` gives what ``keep`` then stores, the latter in the engine's thread. Preparations of one ``key`` are the
    same. ``needed`` False: the job does not wait for it."""

    key: Hashable
    work: Callable[[], Any]
    keep: Callable[[Any], None]
    needed: bool = True


@dataclass(slots=True, eq=False)
class Pending:
    """A preparation that was begun. ``fault``: why there is no result."""

    done: bool = False
    fault: BaseException | None = None


class Elsewhere(Protocol):
    """Where preparations are done: calls ``then`` with the result, or ``failed``, in the engine's thread."""

    def __call__(self, work: Callable[[], Any], then: Callable[[Any], None], failed: OnFault) -> None: ...


def at_once(work: Callable[[], Any], then: Callable[[Any], None], failed: OnFault) -> None:
    """Not elsewhere: in the caller's thread, before this returns."""
    try:
        result = work()
    except BaseException as fault:  # as a worker does
        failed(fault)
    else:
        then(result)


class Preparations:
    """What is being prepared: each once, however many jobs wait for it. The engine's thread only."""

    def __init__(self, elsewhere: Elsewhere = at_once) -> None:
        self._elsewhere = elsewhere
        self._pending: dict[Hashable, Pending] = {}

    def begin(self, preparations: Iterable[Preparation]) -> tuple[Pending, ...]:
        """Begin what is not being prepared yet; gives what a job has to wait for."""
        return tuple([pending for one in preparations if (pending := self._begin(one)) and one.needed])

    def _begin(self, preparation: Preparation) -> Pending:
        pending = self._pending.get(preparation.key)
        if pending is None:
            pending = self._pending[preparation.key] = Pending()
            self._elsewhere(
                preparation.work, partial(self._finish, preparation, pending), partial(self._fail, preparation, pending)
            )
        return pending

    def _finish(self, preparation: Preparation, pending: Pending, result: Any) -> None:
        self._pending.pop(preparation.key, None)
        pending.done = True
        preparation.keep(result)

    def _fail(self, preparation: Preparation, pending: Pending, fault: BaseException) -> None:
        self._pending.pop(preparation.key, None)
        pending.done, pending.fault = True, fault


class PreparationThreads:
    """`Elsewhere` in threads of its own, which report to the engine's ``worker``."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        names = (f"engine preparation {index + 1}" for index in range(THREADS))
        self._threads = [Worker(name, _no_step, _ignore, _no_end) for name in names]
        self._next = cycle(self._threads)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Without waiting for what is being done."""
        for thread in self._threads:
            thread.stop(timeout=0.0)

    def __call__(self, work: Callable[[], Any], then: Callable[[Any], None], failed: OnFault) -> None:
        def carry_out() -> None:
            result = work()
            self._worker.put(partial(then, result), failed)

        next(self._next).put(carry_out, lambda fault: self._worker.put(partial(failed, fault)))


def _no_step() -> bool:
    return False


def _no_end() -> None:
    """Nothing is left to do."""


def _ignore(fault: BaseException) -> None:
    """These threads have no steps that could fail."""
