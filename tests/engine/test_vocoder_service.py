"""The vocoder service with a vocoder that has no tensors: chunk sizes, joining streams, ends, failures."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from realtime.engine.vocoder_service import ThreadedVocoder, VocodingCore
from realtime.engine.vocoder_stream import MAX_LEAD_SECONDS, Stream
from realtime.errors import EngineError
from realtime.ports.vocoder import AudioChunk
from streaming_vocoder.chunk_schedule import CostModel
from streaming_vocoder.streaming import StreamReport
from streaming_vocoder.voice import Voice

FAST = CostModel(token=0.001, chunk=0.002, chunk_per_token=0.0001)
VOICE = Voice("test", torch.arange(30), torch.zeros(60, 80), torch.ones(192))


@dataclass
class FakeState:
    lookahead: int = 3
    pending: list[int] = field(default_factory=list)
    report: StreamReport = field(default_factory=StreamReport)

    @property
    def buffered(self) -> int:
        return len(self.pending) - self.lookahead

    def wanted(self, chunk: int) -> int:
        return max(0, chunk - self.buffered)


class FakeVocoder:
    """A token sounds as 960 samples of its own number; the newest three wait."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.fails = False

    def open(self, voice: Voice) -> FakeState:
        return FakeState()

    def step(self, requests):
        if self.fails:
            raise RuntimeError("broken")
        made, sizes = [], []
        for state, tokens, last in requests:
            state.pending += tokens
            count = len(state.pending) if last else max(0, state.buffered)
            ready, state.pending = state.pending[:count], state.pending[count:]
            sizes.append(count)
            made.append(np.repeat(np.array(ready, np.float32), 960))
        self.calls.append(sizes)
        return made


class Harness:
    def __init__(self) -> None:
        self.now = 0.0
        self.vocoder = FakeVocoder()
        self.core = VocodingCore(self.vocoder, clock=lambda: self.now, costs=FAST)

    def open(self) -> tuple[Stream, list[AudioChunk | None]]:
        out: list[AudioChunk | None] = []
        stream = Stream(VOICE, out.append)
        self.core.open(stream)
        return stream, out


def tokens_of(out: list[AudioChunk | None]) -> list[int]:
    return [int(x) for chunk in out if chunk is not None for x in chunk.samples[::960]]


def test_faults_of_the_sound_come_with_its_chunks() -> None:
    harness = Harness()
    stream, out = harness.open()
    harness.core.push(stream, list(range(30)))
    assert stream.state is not None
    stream.state.report.broken_chunks = 2
    harness.core.step()
    assert out[0] is not None and out[0].faults == {"broken_chunks": 2}


def test_the_first_sound_needs_eight_tokens() -> None:
    h = Harness()
    stream, out = h.open()
    stream.inbox += range(7)
    assert not h.core.step()
    stream.inbox += [7]
    assert h.core.step()
    assert tokens_of(out) == [0, 1, 2, 3, 4]


def test_slow_tokens_make_the_first_chunk_longer() -> None:
    h = Harness()
    stream, out = h.open()
    for token in range(13):
        h.core.push(stream, [token])
        h.now += 0.02
        assert h.core.step() == (token == 12)
    assert tokens_of(out) == list(range(10))


def test_chunks_grow_with_the_lead_over_playback() -> None:
    h = Harness()
    stream, out = h.open()
    stream.inbox += range(200)
    while h.core.step():
        pass
    sizes = [call[0] for call in h.vocoder.calls]
    assert sizes[0] == 5 and sizes[-1] == 25 and sizes == sorted(sizes)


def test_every_token_sounds_once_before_the_end_event() -> None:
    h = Harness()
    stream, out = h.open()
    for start in range(0, 103, 4):
        stream.inbox += range(start, min(start + 4, 103))
        h.core.step()
        h.now += 0.16
    stream.finish()
    while h.core.step():
        pass
    assert tokens_of(out) == list(range(103)) and out[-1] is None
    assert h.core.open_streams == 0


def test_streams_that_are_ready_together_share_one_call() -> None:
    h = Harness()
    for _ in range(3):
        stream, _ = h.open()
        stream.inbox += range(10)
    h.core.step()
    assert len(h.vocoder.calls[0]) == 3


def test_a_reply_without_speech_just_ends() -> None:
    h = Harness()
    stream, out = h.open()
    stream.finish()
    while h.core.step():
        pass
    assert out == [None]


def test_nothing_runs_far_ahead_of_a_slow_listener() -> None:
    h = Harness()
    stream, out = h.open()
    stream.inbox += range(3000)
    while h.core.step():
        pass
    assert stream.given_seconds <= MAX_LEAD_SECONDS + 1.0
    stream.take(10.0)
    assert h.core.step()


def test_a_failure_ends_only_that_calls_replies() -> None:
    h = Harness()
    failing, failed = h.open()
    failing.inbox += range(10)
    h.vocoder.fails = True
    h.core.step()
    (fault,) = failed
    assert isinstance(fault, EngineError) and "broken" in str(fault)
    h.vocoder.fails = False
    stream, out = h.open()
    stream.inbox += range(10)
    h.core.step()
    assert tokens_of(out)


async def test_a_closed_stream_gives_nothing_more() -> None:
    service = ThreadedVocoder(FakeVocoder(), {"test": VOICE})
    service.start()
    try:
        stream = service.open("nobody")
        stream.push(range(2000))
        got = 0
        async with asyncio.timeout(10):
            async for _ in stream:
                got += 1
                if got == 2:
                    stream.close()
        assert got == 2
        stream.close()
    finally:
        service.stop()


@pytest.mark.parametrize("closed", [True, False])
async def test_an_ended_stream_is_freed_at_once(closed: bool) -> None:
    vocoder = FakeVocoder()
    held: list[weakref.ref[object]] = []

    def open_watched(voice: Voice) -> FakeState:
        state = FakeState()
        held.append(weakref.ref(state))
        return state

    vocoder.open = open_watched  # type: ignore[method-assign]
    service = ThreadedVocoder(vocoder, {"test": VOICE})
    service.start()
    gc.disable()  # a reference cycle would wait for it
    try:
        for _ in range(3):
            stream = service.open("test")
            stream.push(range(40))
            if closed:
                await anext(aiter(stream))
                stream.close()
            else:
                stream.finish()
                _ = [chunk async for chunk in stream]
            held.append(weakref.ref(stream))
            del stream
        assert len(held) == 6
        async with asyncio.timeout(10):
            while any(one() is not None for one in held):
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
        service.stop()


async def test_vocoder_faults_are_raised_where_audio_is_awaited() -> None:
    vocoder = FakeVocoder()
    vocoder.fails = True
    service = ThreadedVocoder(vocoder, {"test": VOICE})
    service.start()
    try:
        stream = service.open("test")
        stream.push(range(20))
        with pytest.raises(EngineError, match="broken"):
            async with asyncio.timeout(10):
                _ = [chunk async for chunk in stream]
    finally:
        service.stop()


async def test_the_thread_delivers_a_whole_reply() -> None:
    service = ThreadedVocoder(FakeVocoder(), {"test": VOICE})
    service.start()
    try:
        stream = service.open("test")
        for start in range(0, 60, 4):
            stream.push(range(start, start + 4))
        stream.finish()
        async with asyncio.timeout(10):
            chunks = [chunk async for chunk in stream]
        assert tokens_of(list(chunks)) == list(range(60))
    finally:
        service.stop()
