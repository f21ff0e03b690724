"""Freed memory goes back to the operating system."""

from __future__ import annotations

import asyncio
import ctypes

import pytest

from realtime import memory

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc gives memory back on demand"
)


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


async def test_holes_between_blocks_are_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    size = 100_000  # below the size from which the C library maps each block by itself
    blocks = [libc.malloc(size) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[::2]:
        libc.free(block)
    held = resident_mb()
    task = asyncio.create_task(memory.run())
    try:
        async with asyncio.timeout(10):
            while resident_mb() > held - 25:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        for block in blocks[1::2]:
            libc.free(block)
