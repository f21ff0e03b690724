"""The queue to one peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.errors import SlowReader
from realtime.protocol import events as wire
from realtime.session.config import SessionLimits
from realtime.session.outbox import Outbox
from tests.fakes import MemoryChannel


def audio(name: str) -> wire.ResponseOutputAudioDelta:
    return wire.ResponseOutputAudioDelta(
        response_id="r", item_id=name, output_index=0, content_index=0, delta=bytes(480)
    )


def other() -> wire.InputAudioBufferCleared:
    return wire.InputAudioBufferCleared()


@asynccontextmanager
async def running(outbox: Outbox) -> AsyncIterator[None]:
    task = asyncio.create_task(outbox.run())
    yield
    task.cancel()
    await asyncio.wait([task])


def names(channel: MemoryChannel) -> list[str]:
    """The items of what arrived, ``-`` where an event has none."""
    arrived = [channel.to_client.get_nowait() for _ in range(channel.to_client.qsize())]
    return [getattr(event, "item_id", "-") for event in arrived]


async def test_events_arrive_in_order() -> None:
    channel = MemoryChannel()
    outbox = Outbox(channel, SessionLimits())
    async with running(outbox):
        for name in "abc":
            outbox.put_audio(audio(name), 240, retractable=True)
        await outbox.audio_taken()
    assert names(channel) == ["a", "b", "c"]
    assert (outbox.size, outbox.audio_samples) == (0, 0)


async def test_retracted_audio_is_not_sent_and_all_else_keeps_its_order() -> None:
    channel = MemoryChannel()
    outbox = Outbox(channel, SessionLimits())
    outbox.put_audio(audio("a"), 240, retractable=True)
    outbox.put(other())
    outbox.put_audio(audio("b"), 240, retractable=False)
    outbox.put_audio(audio("c"), 240, retractable=True)
    outbox.retract_audio()
    assert outbox.audio_samples == 240
    async with running(outbox):
        await outbox.audio_taken()
    assert names(channel) == ["-", "b"]
    assert outbox.size == 0


async def test_who_waits_for_room_is_woken_by_a_retraction() -> None:
    outbox = Outbox(MemoryChannel(), SessionLimits(outbox_audio_ms=10))
    outbox.put_audio(audio("a"), 240, retractable=True)
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.retract_audio()
    async with asyncio.timeout(1):
        await waiting


async def test_the_time_of_sending_is_told_when_the_transport_has_taken_it() -> None:
    channel, times = MemoryChannel(), list[float]()
    outbox = Outbox(channel, SessionLimits(), clock=lambda: 7.0)
    channel.pause()
    async with running(outbox):
        outbox.put_audio(audio("a"), 240, retractable=True, sent=times.append)
        await asyncio.sleep(0)
        assert times == []
        channel.resume()
        await outbox.audio_taken()
        assert times == [7.0]


async def test_a_peer_that_takes_nothing_for_too_long_is_a_slow_reader() -> None:
    channel = MemoryChannel()
    channel.pause()
    outbox = Outbox(channel, SessionLimits(send_timeout_s=0.02))
    outbox.put(other())
    with pytest.raises(SlowReader, match="0.02 s"):
        await outbox.run()


async def test_more_than_fits_is_dropped_and_ends_the_session() -> None:
    outbox = Outbox(MemoryChannel(), SessionLimits(outbox_bytes=2_000))
    for _ in range(1000):
        outbox.put(other())
    assert outbox.size <= 2_000
    with pytest.raises(SlowReader, match="2000 bytes"):
        await outbox.run()
