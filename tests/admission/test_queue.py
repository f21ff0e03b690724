"""The queue for sessions: order, places, keys, and its end."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType

import pytest

from realtime.admission.manager import SessionLease
from realtime.admission.queue import AdmissionQueue, QueueEntry
from realtime.errors import CapacityError
from tests.admission.test_manager import new_manager


class Lease(AbstractContextManager["Lease"]):
    def __init__(self) -> None:
        self.returned = False

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.returned = True


def places(*entries: QueueEntry[Lease]) -> list[int]:
    return [entry.place for entry in entries]


async def test_leases_go_to_clients_in_order() -> None:
    queue: AdmissionQueue[Lease] = AdmissionQueue(3)
    entries = [queue.join() for _ in range(3)]
    leases = [Lease() for _ in entries]
    for entry, lease in zip(entries, leases, strict=True):
        assert places(*entries)[entries.index(entry) :] == list(range(1, 4 - entries.index(entry)))
        queue.assign(lease)
        await entry.called()
        assert entry.take() is lease


async def test_a_client_that_leaves_moves_the_others_up() -> None:
    queue: AdmissionQueue[Lease] = AdmissionQueue(3)
    first, second, third = (queue.join() for _ in range(3))
    with second:
        pass
    assert places(first, third) == [1, 2]
    await third.moved()
    queue.join()
    with pytest.raises(CapacityError, match="queue of 3 is full"):
        queue.join()


async def test_a_lease_that_nobody_took_is_returned() -> None:
    queue: AdmissionQueue[Lease] = AdmissionQueue(1)
    lease = Lease()
    with queue.join():
        queue.assign(lease)
    assert lease.returned


async def test_a_crowd_leaves_room_for_other_keys() -> None:
    queue: AdmissionQueue[Lease] = AdmissionQueue(4)
    crowd = [queue.join("crowd") for _ in range(4)]
    other = queue.join("other")
    assert places(*crowd, other) == [1, 2, 3, 0, 4]
    with pytest.raises(CapacityError, match="most clients"):
        await crowd[3].called()
    queue.join("other")
    with pytest.raises(CapacityError, match="is full"):
        queue.join("other")
    with pytest.raises(CapacityError, match="is full"):
        queue.join("crowd")


async def test_draining_empties_the_queue() -> None:
    manager = new_manager(max_sessions=1, max_waiting=2)
    with manager.admit():
        waiting = [manager.join_queue() for _ in range(2)]
        assert manager.waiting == 2
        draining = asyncio.create_task(manager.drain())
        await asyncio.sleep(0)
        assert manager.waiting == 0
        for entry in waiting:
            with pytest.raises(CapacityError, match="shutting down"):
                await entry.called()
    await draining


async def test_a_session_that_ends_admits_the_first_client() -> None:
    manager = new_manager(max_sessions=1, max_waiting=2)
    leaving = manager.admit()
    with manager.join_queue() as first, manager.join_queue() as second:
        with leaving:
            pass
        await first.called()
        with first.take() as lease:
            assert isinstance(lease, SessionLease) and second.place == 1
        await second.called()
        with second.take():
            pass
    with manager.admit():
        pass
