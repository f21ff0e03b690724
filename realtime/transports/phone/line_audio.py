"""The audio of a line: the caller's in order, ours in whole frames."""

from __future__ import annotations

from collections.abc import Iterator

from realtime.audio.streams import AudioFormat, AudioWriter, Samples
from realtime.transports.phone.messages import Media
from realtime.transports.playout import RATE

MAX_EARLY = 3
"""Pieces that may overtake a missing one, 60 ms; then it counts as lost."""
MAX_LOST = 50
"""A gap of more pieces is a new numbering: nothing is filled in."""

_SILENCE = {"pcm16": b"\0", "mulaw": b"\xff", "alaw": b"\xd5"}


def silence(format: AudioFormat, size: int) -> bytes:
    """``size`` bytes of silence."""
    return _SILENCE[format.encoding] * size


class ChunkOrder:
    """Puts numbered pieces in order; a lost one becomes silence of its successor's length. Pieces without a number
    pass."""

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._next: int | None = None
        self._early: dict[int, bytes] = {}

    def push(self, media: Media) -> Iterator[bytes]:
        """The audio that is due now."""
        if media.chunk is None:
            yield media.audio
            return
        if self._next is None or abs(media.chunk - self._next) > MAX_LOST:
            yield from (self._early[number] for number in sorted(self._early))
            self._early.clear()
            self._next = media.chunk
        if media.chunk < self._next:
            return  # too late: silence has taken its place
        self._early[media.chunk] = media.audio
        while self._early:
            if self._next in self._early:
                yield self._early.pop(self._next)
            elif len(self._early) > MAX_EARLY:
                yield silence(self._format, len(self._early[min(self._early)]))
            else:
                return
            self._next += 1


class LineWriter:
    """Speech at 24 kHz -> bytes of the line in whole frames."""

    def __init__(self, format: AudioFormat, frame_bytes: int) -> None:
        self._format = format
        self._frame_bytes = frame_bytes
        self._writer = AudioWriter(format, RATE)
        self._rest = b""

    def push(self, samples: Samples, *, ends: bool) -> bytes:
        """Whole frames; the remainder waits for more. ``ends``: no more comes, so the last frame is filled up."""
        data = self._rest + self._writer.push(samples)
        if ends:
            data += self._writer.flush()
            data += silence(self._format, -len(data) % self._frame_bytes)
        whole = len(data) - len(data) % self._frame_bytes
        self._rest = data[whole:]
        return data[:whole]
