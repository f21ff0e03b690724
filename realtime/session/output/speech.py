"""The audio of one reply on its way to the wire: pieces of at most 200 ms, in the speed and format of the response."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from realtime.audio.streams import AudioWriter, Samples
from realtime.audio.time_scale import TimeScaler
from realtime.ports.vocoder import OUTPUT_SAMPLE_RATE
from realtime.protocol.response_stream import MAX_AUDIO_DELTA_MS
from realtime.protocol.responses import ResponseConfig
from realtime.session.formats import audio_format

_PIECE_SAMPLES = OUTPUT_SAMPLE_RATE * MAX_AUDIO_DELTA_MS // 1000


class ReplySpeech:
    """The audio of one reply on its way to the wire: at the speed and in the format of the response."""

    def __init__(self, config: ResponseConfig) -> None:
        self._writer = AudioWriter(audio_format(config.output_format), OUTPUT_SAMPLE_RATE)
        self._scaler = TimeScaler(config.speed, OUTPUT_SAMPLE_RATE)
        self._made: deque[Samples] = deque()
        self._scaled: deque[Samples] = deque()
        self._flushed = False
        self.ended = False

    def add(self, samples: Samples) -> None:
        """More of what the vocoder made."""
        self._made.extend(_pieces(samples))

    def next(self) -> Samples | None:
        """The next piece of at most 200 ms as the caller is to hear it; None where there is none now."""
        while not self._scaled and self._made:
            self._scaled.extend(_pieces(self._scaler.push(self._made.popleft())))
        if not self._scaled and self.ended and not self._flushed:
            self._flushed = True
            self._scaled.extend(_pieces(self._scaler.flush()))
        return self._scaled.popleft() if self._scaled else None

    def undo(self, piece: Samples) -> None:
        """This piece cannot go out yet."""
        self._scaled.appendleft(piece)

    def encode(self, piece: Samples) -> bytes:
        """Samples of `next` as the client wants them, less what resampling holds back."""
        return self._writer.push(piece)

    def rest(self) -> bytes:
        """What resampling held back."""
        return self._writer.flush()


def _pieces(samples: Samples) -> Iterator[Samples]:
    """Of at most 200 ms."""
    return (samples[start : start + _PIECE_SAMPLES] for start in range(0, len(samples), _PIECE_SAMPLES))
