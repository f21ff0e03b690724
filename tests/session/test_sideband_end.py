"""What a side connection says when the session is over."""

from __future__ import annotations

import asyncio

from realtime.errors import Draining
from realtime.protocol import events as wire
from realtime.protocol.codec import decode_object
from tests.fakes import MemoryChannel, call


async def test_events_for_a_draining_side_connection_are_dropped() -> None:
    async with call() as caller:
        side = MemoryChannel()
        attached = asyncio.create_task(caller.session.attach(side))
        await caller.settle()
        side.pause()  # it does not read its last events, so it outlives the session
        caller.send("response.create")
        await caller.settle()
        caller.session.end(Draining("The server is shutting down."))
        await caller.settle()
        assert caller.task.done()
        side.put(decode_object({"type": "response.create"}))
        await caller.settle()
        side.resume()
        async with asyncio.timeout(5):
            await attached
        assert side.closed is not None
        created = [event for event in list(side.to_client._queue) if isinstance(event, wire.ResponseCreated)]  # type: ignore[attr-defined]
        assert len(created) == 1
