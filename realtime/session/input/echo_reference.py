"""The far-end signal of the echo gate: what the caller's loudspeaker plays of the server's speech, sample by sample.

The playout ledger says which sample of which item plays at which time; here are the samples, at 16 kHz, and the capture
time of each input sample. Audio comes in real time, so capture time is estimated from the minimum arrival delay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from realtime.audio.streams import Resampler, Samples
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.session.playout import PlayoutLedger

_KEPT_BEHIND = MODEL_SAMPLE_RATE  # a second: what was played so long ago is asked for no more
_CLOCK_LEAK = 5e-4  # clocks differ by less; so much slower may the caller's be without our losing its time
_MOST_WAITING = 60 * OUTPUT_SAMPLE_RATE  # nobody reads while the gate is off: a minute is more than is sent ahead
_KEPT_ITEMS = 2  # of one reply the echo may still come when the next begins


class _Track:
    """One item's speech: blocks at 24 kHz as they were sent, resampled when the echo gate reads them."""

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque()
        self._waiting = 0
        self._start = 0  # of what is resampled, at 16 kHz
        self._resampled: deque[Samples] = deque()
        self._end = 0
        self._resampler = Resampler(OUTPUT_SAMPLE_RATE, MODEL_SAMPLE_RATE)

    def add(self, samples: Samples) -> None:
        """Constant work, whether or not it is ever read."""
        self._blocks.append(samples)
        self._waiting += len(samples)
        if self._waiting > _MOST_WAITING:
            self._resample()
            self._forget(self._end - _MOST_WAITING)

    def read(self, first: int, count: int) -> Samples:
        """``count`` samples at 16 kHz from sample ``first`` of the item on, or what there is of them."""
        if first + count > self._end:
            self._resample()
        self._forget(first - _KEPT_BEHIND)
        pieces, at = [], self._start
        for block in self._resampled:
            begin, end = max(first, at) - at, min(first + count, at + len(block)) - at
            if begin < end:
                pieces.append(block[begin:end])
            at += len(block)
            if at >= first + count:
                break
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def _resample(self) -> None:
        while self._blocks:
            samples = self._resampler.push(self._blocks.popleft())
            self._resampled.append(samples)
            self._end += len(samples)
        self._waiting = 0

    def _forget(self, until: int) -> None:
        while self._resampled and self._start + len(self._resampled[0]) <= until:
            self._start += len(self._resampled.popleft())


class EchoReference:
    """One session's."""

    def __init__(self, ledger: PlayoutLedger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tracks: dict[str, _Track] = {}
        self._origin: float | None = None  # the time of the microphone's sample 0
        self._asked_at = 0.0

    def add(self, item_id: str, samples: Samples) -> None:
        """More of the item's speech, float32 [n] at 24 kHz, in order."""
        if item_id not in self._tracks:
            self._tracks = dict(list(self._tracks.items())[1 - _KEPT_ITEMS :])
            self._tracks[item_id] = _Track()
        self._tracks[item_id].add(samples)

    def during(self, end: int, count: int) -> Samples:
        """Float32 [count] at 16 kHz: what played while the ``count`` samples of the microphone before ``end`` were
        taken, which have just arrived."""
        played = np.zeros(count, np.float32)
        began = self._time_of(end) - count / MODEL_SAMPLE_RATE
        for offset, item_id, first, length in self._ledger.playing(began, count / MODEL_SAMPLE_RATE):
            track = self._tracks.get(item_id)
            if track is None:
                continue
            sound = track.read(_at_16k(first), _at_16k(length))
            at = min(count, round(offset * MODEL_SAMPLE_RATE))
            sound = sound[: count - at]
            played[at : at + len(sound)] = sound
        return played

    def restart_clock(self) -> None:
        """Silence was assumed where no audio came: arrivals before it say nothing about those after it."""
        self._origin = None

    def _time_of(self, position: int) -> float:
        now = self._clock()
        origin = now - position / MODEL_SAMPLE_RATE
        if self._origin is not None:
            origin = min(origin, self._origin + _CLOCK_LEAK * (now - self._asked_at))
        self._origin, self._asked_at = origin, now
        return origin + position / MODEL_SAMPLE_RATE


def _at_16k(samples: int) -> int:
    return samples * MODEL_SAMPLE_RATE // OUTPUT_SAMPLE_RATE
