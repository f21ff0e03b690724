"""The caller's audio: RTP packets -> samples at 16 kHz, at once and without a hole.

`realtime.audio.jitter_buffer` puts packets in order and says what is missing, `realtime.audio.opus` decodes and
conceals. Time without packets counts as silence, so turn-taking goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from realtime.audio.jitter_buffer import JitterBuffer, JitterCounters
from realtime.audio.opus import OPUS_JITTER, OpusDecoder
from realtime.audio.streams import Samples
from realtime.ports.messages import MODEL_SAMPLE_RATE
from realtime.transports.webrtc.rtp import Received


class CallerAudio:
    """One call's. Decodes on the event loop: 0.15 ms a packet."""

    def __init__(self, take: Callable[[Samples], None]) -> None:
        """``take``: called with float32 at 16 kHz whenever there is some."""
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._buffer = JitterBuffer(OPUS_JITTER)
        self._decoder = OpusDecoder(MODEL_SAMPLE_RATE)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counters(self) -> JitterCounters:
        """What came and what did not."""
        return self._buffer.counters

    def push(self, packet: Received) -> None:
        """A packet arrived."""
        if packet.new_source:
            self._buffer.restart()
        self._buffer.push(packet.sequence, packet.timestamp, packet.payload, self._loop.time())
        self._pull()

    def stop(self) -> None:
        """Nothing more is given out."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pull(self) -> None:
        self.stop()
        if frames := self._buffer.pull(self._loop.time()):
            self._take(np.concatenate([self._decoder.play(frame) for frame in frames], dtype=np.float32))
        if (due := self._buffer.next_due()) is not None:
            self._timer = self._loop.call_at(due, self._pull)
