"""Virtual time: events in order, without waiting, and no hang."""

from __future__ import annotations

import asyncio
import time

import pytest

from realtime.bench import virtual_time


def test_an_hour_passes_at_once_in_order() -> None:
    async def talk() -> tuple[list[str], float]:
        heard: list[str] = []

        async def say(word: str, at: float) -> None:
            await asyncio.sleep(at)
            heard.append(word)

        await asyncio.gather(say("late", 3600.0), say("early", 0.5), say("later", 3600.1))
        return heard, asyncio.get_running_loop().time()

    began = time.monotonic()
    heard, now = virtual_time.run(talk())
    assert heard == ["early", "late", "later"]
    assert now == pytest.approx(3600.1)
    assert time.monotonic() - began < 60


def test_thread_work_takes_its_set_time() -> None:
    async def work() -> tuple[int, float]:
        return await asyncio.to_thread(lambda: 42), asyncio.get_running_loop().time()

    assert virtual_time.run(work(), thread_s=0.05) == (42, pytest.approx(0.05))


def test_an_exception_in_a_thread_is_raised() -> None:
    async def work() -> None:
        await asyncio.to_thread(int, "no number")

    with pytest.raises(ValueError, match="no number"):
        virtual_time.run(work())


def test_timeouts_expire() -> None:
    async def wait() -> None:
        async with asyncio.timeout(10):
            await asyncio.sleep(11)

    with pytest.raises(TimeoutError):
        virtual_time.run(wait())


def test_a_deadlock_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="deadlock"):
        virtual_time.run(wait())
