"""The queue of clients that wait for a session: first come, first served; each can see its position.

A full queue is shared by keys: a client whose key has fewer in it than another takes the place of that key's last."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from realtime.errors import CapacityError

Lease = TypeVar("Lease", bound=AbstractContextManager[object])


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One client that waits, for the operator. ``key``: as in `AdmissionQueue.join`."""

    key: str
    seconds: float


class QueueEntry(AbstractContextManager["QueueEntry[Lease]"], Generic[Lease]):
    """One client's place in the queue, held with ``with``. Leaving it releases a lease that was assigned but not
    taken."""

    def __init__(self, queue: AdmissionQueue[Lease], key: str) -> None:
        self.key = key
        self.since = time.monotonic()
        self._queue = queue
        self._lease: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()
        self._taken = False

    @property
    def place(self) -> int:
        """The position, 1 for the next; 0: not in the queue any more."""
        return self._queue.place(self)

    async def moved(self) -> None:
        """Returns when the position has changed."""
        await self._moved.wait()
        self._moved.clear()

    async def called(self) -> None:
        """Returns when a lease is assigned; then call `take`. Raises `CapacityError` when the queue was closed."""
        await asyncio.shield(self._lease)

    def take(self) -> Lease:
        """The assigned lease, which the caller enters."""
        self._taken = True
        return self._lease.result()

    def assign(self, lease: Lease | CapacityError) -> None:
        """Assign a lease, or the reason why there will be none."""
        if isinstance(lease, CapacityError):
            self._lease.set_exception(lease)
        else:
            self._lease.set_result(lease)

    def notify(self) -> None:
        """The position has changed."""
        self._moved.set()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._queue.leave(self)
        if not self._lease.cancel() and self._lease.exception() is None and not self._taken:
            with self._lease.result():
                pass


class AdmissionQueue(Generic[Lease]):
    """A queue of at most ``max_waiting`` clients."""

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._entries: list[QueueEntry[Lease]] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def clients(self) -> tuple[QueueInfo, ...]:
        """Those that wait, the next one first."""
        now = time.monotonic()
        return tuple(QueueInfo(entry.key, now - entry.since) for entry in self._entries)

    def join(self, key: str = "") -> QueueEntry[Lease]:
        """A new entry at the end, for a client of this key. Raises `CapacityError` when the queue is full."""
        if len(self._entries) >= self.max_waiting and not self._make_room(key):
            queue = f"the queue of {self.max_waiting} is full" if self.max_waiting else "there is no queue"
            raise CapacityError(f"All sessions are taken and {queue}. Try again later.")
        entry = QueueEntry(self, key)
        self._entries.append(entry)
        return entry

    def _make_room(self, key: str) -> bool:
        """Remove the last client of the key that has most, if the newcomer's key then still has no more than it."""
        counts = Counter(entry.key for entry in self._entries)
        crowd, count = counts.most_common(1)[0] if counts else ("", 0)
        if count < counts[key] + 2:
            return False
        last = next(entry for entry in reversed(self._entries) if entry.key == crowd)
        self._entries.remove(last)
        last.assign(CapacityError("The queue is full, and your key has the most clients in it. Try again later."))
        self._notify()
        return True

    def place(self, entry: QueueEntry[Lease]) -> int:
        """The position of ``entry``, 1 for the next; 0 if it is not in the queue."""
        return self._entries.index(entry) + 1 if entry in self._entries else 0

    def assign(self, lease: Lease) -> None:
        """Assign a lease to the first client."""
        first = self._entries.pop(0)
        first.assign(lease)
        self._notify()

    def close(self, reason: CapacityError) -> None:
        """Remove all clients: there will be no more leases."""
        for entry in self._entries:
            entry.assign(reason)
        self._entries.clear()

    def leave(self, entry: QueueEntry[Lease]) -> None:
        """Remove ``entry``, if it is still in the queue."""
        if entry in self._entries:
            self._entries.remove(entry)
            self._notify()

    def _notify(self) -> None:
        for entry in self._entries:
            entry.notify()
