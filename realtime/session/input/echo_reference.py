"""What the caller's loudspeaker plays of ours, sample by sample of the microphone: the reference of the echo gate.

The ledger knows which sample of which item plays at which time; here are the samples, at 16 kHz, and the time at which
each sample of the microphone was taken: a stream that comes in real time, so that of the arrivals the earliest is the
least delayed and tells the time of all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from realtime.audio.streams import Resampler, Samples
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.session.playout import PlayoutLedger

_KEPT_BEHIND = MODEL_SAMPLE_RATE  # a second: what was played so long ago is asked for no more
_CLOCK_LEAK = 5e-4  # clocks differ by less; so much slower may the caller's be without our losing its time
_KEPT_ITEMS = 2  # of one reply the echo may still come when the next begins


class _Track:
    """One item's speech at 16 kHz, from sample ``start`` on."""

    def __init__(self) -> None:
        self.start = 0
        self._samples = np.zeros(0, np.float32)
        self._resampler = Resampler(OUTPUT_SAMPLE_RATE, MODEL_SAMPLE_RATE)

    def add(self, samples: Samples) -> None:
        self._samples = np.concatenate((self._samples, self._resampler.push(samples)))

    def read(self, first: int, count: int) -> Samples:
        old = first - _KEPT_BEHIND - self.start
        if old > _KEPT_BEHIND:
            self._samples, self.start = self._samples[old:].copy(), self.start + old
        at = max(0, first - self.start)
        return self._samples[at : at + count]


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

    def _time_of(self, position: int) -> float:
        now = self._clock()
        origin = now - position / MODEL_SAMPLE_RATE
        if self._origin is not None:
            origin = min(origin, self._origin + _CLOCK_LEAK * (now - self._asked_at))
        self._origin, self._asked_at = origin, now
        return origin + position / MODEL_SAMPLE_RATE


def _at_16k(samples: int) -> int:
    return samples * MODEL_SAMPLE_RATE // OUTPUT_SAMPLE_RATE
