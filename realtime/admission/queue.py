"""Callers who wait for a seat: first come, first served; each can see its place."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

from realtime.errors import CapacityError

SessionLease = TypeVar("SessionLease", bound=AbstractContextManager[object])


class QueueEntry(AbstractContextManager["QueueEntry[SessionLease]"], Generic[SessionLease]):
    """One caller's place, held with ``with``. Leaving the line gives back a seat that nobody has taken."""

    def __init__(self, line: AdmissionQueue[SessionLease]) -> None:
        self._line = line
        self._seat: asyncio.Future[SessionLease] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()
        self._taken = False

    @property
    def place(self) -> int:
        """1 is next; 0: not in the line any more."""
        return self._line.place(self)

    async def moved(self) -> None:
        """Returns when the place has changed."""
        await self._moved.wait()
        self._moved.clear()

    async def called(self) -> None:
        """Returns when it is this caller's turn: then `take`. Raises `CapacityError` when no seat will come."""
        await asyncio.shield(self._seat)

    def take(self) -> SessionLease:
        """The seat, once called. The caller enters it."""
        self._taken = True
        return self._seat.result()

    def call(self, seat: SessionLease | CapacityError) -> None:
        """It is this caller's turn, or nobody's any more."""
        if isinstance(seat, CapacityError):
            self._seat.set_exception(seat)
        else:
            self._seat.set_result(seat)

    def step(self) -> None:
        """The line has moved."""
        self._moved.set()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._line.leave(self)
        if not self._seat.cancel() and self._seat.exception() is None and not self._taken:
            with self._seat.result():
                pass


class AdmissionQueue(Generic[SessionLease]):
    """At most ``most`` callers."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tickets: list[QueueEntry[SessionLease]] = []

    def __len__(self) -> int:
        return len(self._tickets)

    def join(self) -> QueueEntry[SessionLease]:
        """A place at the end. Raises `CapacityError` when the line is full."""
        if len(self._tickets) >= self._most:
            waiting = f"{self._most} callers wait already" if self._most else "nobody may wait"
            raise CapacityError(f"All sessions are taken and {waiting}. Try again later.")
        ticket = QueueEntry(self)
        self._tickets.append(ticket)
        return ticket

    def place(self, ticket: QueueEntry[SessionLease]) -> int:
        return self._tickets.index(ticket) + 1 if ticket in self._tickets else 0

    def call(self, seat: SessionLease) -> None:
        """Give a seat to the first."""
        first = self._tickets.pop(0)
        first.call(seat)
        self._step()

    def dissolve(self, reason: CapacityError) -> None:
        """There will be no more seats."""
        for ticket in self._tickets:
            ticket.call(reason)
        self._tickets.clear()

    def leave(self, ticket: QueueEntry[SessionLease]) -> None:
        if ticket in self._tickets:
            self._tickets.remove(ticket)
            self._step()

    def _step(self) -> None:
        for ticket in self._tickets:
            ticket.step()
