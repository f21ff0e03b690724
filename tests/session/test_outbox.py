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
        await outbox.all_taken()
    assert names(channel) == ["a", "b", "c"]
    assert (outbox.size, outbox.audio_samples) == (0, 0)


async def test_retracted_audio_is_dropped_and_the_order_stays() -> None:
    channel = MemoryChannel()
    outbox = Outbox(channel, SessionLimits())
    outbox.put_audio(audio("a"), 240, retractable=True)
    outbox.put(other())
    outbox.put_audio(audio("b"), 240, retractable=False)
    outbox.put_audio(audio("c"), 240, retractable=True)
    outbox.retract_audio()
    assert outbox.audio_samples == 240
    async with running(outbox):
        await outbox.all_taken()
    assert names(channel) == ["-", "b"]
    assert outbox.size == 0


async def test_a_retraction_makes_room() -> None:
    outbox, told = Outbox(MemoryChannel(), SessionLimits(outbox_audio_ms=10)), list[str]()
    outbox.put_audio(audio("a"), 240, retractable=True)
    assert not outbox.has_room
    outbox.on_room(lambda: told.append("room"))
    outbox.on_audio_taken(lambda: told.append("taken"))
    assert told == []
    outbox.retract_audio()
    assert told == ["room", "taken"]
    outbox.on_audio_taken(lambda: told.append("nothing waits"))
    assert told[-1] == "nothing waits"


async def test_sending_is_told_when_the_transport_took_it() -> None:
    channel, sent = MemoryChannel(), list[str]()
    outbox = Outbox(channel, SessionLimits())
    channel.pause()
    async with running(outbox):
        outbox.put_audio(audio("a"), 240, retractable=True, sent=lambda: sent.append("a"))
        outbox.flush()
        await asyncio.sleep(0)
        assert sent == []
        channel.resume()
        await outbox.all_taken()
        assert sent == ["a"]


async def test_the_next_event_waits_for_the_last_acknowledgement() -> None:
    channel, took = MemoryChannel(), list[int]()
    outbox = Outbox(channel, SessionLimits(), took.append)
    async with running(outbox):
        for name in "ab":
            outbox.put_audio(audio(name), 240, retractable=True)
        outbox.flush()
        for _ in range(5):
            await asyncio.sleep(0)
        assert names(channel) == ["a"] and outbox.audio_samples == 480
        outbox.sent(took[0])
        for _ in range(5):
            await asyncio.sleep(0)
        assert names(channel) == ["b"] and outbox.audio_samples == 240
    assert len(took) == 2


async def test_peers_that_take_nothing_become_slow_readers() -> None:
    channel = MemoryChannel()
    channel.pause()
    outbox = Outbox(channel, SessionLimits(send_timeout_s=0.02))
    outbox.put(other())
    with pytest.raises(SlowReader, match="0.02 s"):
        await outbox.run()


async def test_overflow_is_dropped_and_ends_the_session() -> None:
    outbox = Outbox(MemoryChannel(), SessionLimits(outbox_bytes=2_000))
    for _ in range(1000):
        outbox.put(other())
    assert outbox.size <= 2_000
    with pytest.raises(SlowReader, match="2000 bytes"):
        await outbox.run()
