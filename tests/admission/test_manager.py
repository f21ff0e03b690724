"""Who may come in, who is there, and how all leave."""

from __future__ import annotations

import asyncio

import pytest

from realtime.admission.manager import SessionLease, SessionManager
from realtime.errors import CapacityError
from realtime.protocol import events as wire
from realtime.protocol.errors import ProtocolError
from realtime.session.config import SessionConfig
from realtime.session.services import Services
from tests.fakes import FakeEngine, FakeVocoder, LoudnessVad, MemoryChannel


def new_manager(max_sessions: int = 2, max_waiting: int = 0) -> SessionManager:
    services = Services(FakeEngine(), FakeVocoder(), LoudnessVad())
    return SessionManager(services, SessionConfig(model="m"), max_sessions=max_sessions, max_waiting=max_waiting)


async def serve(lease: SessionLease, channel: MemoryChannel) -> None:
    with lease:
        await lease.serve(channel)


async def created(channel: MemoryChannel) -> wire.SessionCreated:
    async with asyncio.timeout(5):
        event = await channel.to_client.get()
    assert isinstance(event, wire.SessionCreated)
    return event


async def test_a_full_server_refuses_before_anything_begins() -> None:
    manager = new_manager(max_sessions=1)
    with manager.admit():
        with pytest.raises(CapacityError, match="1 sessions"):
            manager.admit()


async def test_a_closed_session_frees_its_lease() -> None:
    manager, channel = new_manager(max_sessions=1), MemoryChannel()
    task = asyncio.create_task(serve(manager.admit(), channel))
    await created(channel)
    assert [info.status.floor for info in manager.sessions] == ["nobody"]
    channel.vanish()
    await task
    assert manager.sessions == ()
    with manager.admit():
        pass


async def test_a_failed_handshake_frees_its_lease() -> None:
    manager = new_manager(max_sessions=1)
    with pytest.raises(OSError), manager.admit():
        raise OSError("the handshake failed")
    with manager.admit():
        pass


async def test_any_model_name_is_served_and_echoed() -> None:
    manager, channel = new_manager(), MemoryChannel()
    with manager.admit() as lease:
        task = asyncio.create_task(lease.serve(channel, model="gpt-realtime"))
        session = (await created(channel)).session
        assert session.type == "realtime" and session.model == "gpt-realtime"
        channel.vanish()
        await task


async def test_a_session_may_begin_with_settings() -> None:
    manager, channel = new_manager(), MemoryChannel()
    with manager.admit() as lease:
        task = asyncio.create_task(lease.serve(channel, settings={"instructions": "Sing."}))
        session = (await created(channel)).session
        assert session.type == "realtime" and session.instructions == "Sing."
        channel.vanish()
        await task


async def test_wrong_first_settings_are_refused() -> None:
    with new_manager().admit() as lease, pytest.raises(ProtocolError):
        await lease.serve(MemoryChannel(), settings={"output_modalities": ["smell"]})


async def test_draining_admits_nobody_and_ends_who_is_there() -> None:
    manager, channel = new_manager(), MemoryChannel()
    task = asyncio.create_task(serve(manager.admit(), channel))
    await created(channel)
    await manager.drain()
    await task
    assert channel.closed == (1001, "server_draining")
    with pytest.raises(CapacityError, match="shutting down"):
        manager.admit()


async def test_draining_waits_for_calls_that_end_by_themselves() -> None:
    manager, channel = new_manager(), MemoryChannel()
    task = asyncio.create_task(serve(manager.admit(), channel))
    await created(channel)
    draining = asyncio.create_task(manager.drain(grace_s=5))
    await asyncio.sleep(0)
    channel.vanish()
    await draining
    await task
    assert channel.closed == (1000, "channel_closed")


async def test_a_session_starting_during_drain_ends_cleanly() -> None:
    manager, channel = new_manager(), MemoryChannel()
    with manager.admit() as lease:
        draining = asyncio.create_task(manager.drain())
        await asyncio.sleep(0)
        await lease.serve(channel)
        assert channel.closed == (1001, "server_draining")
    await draining
