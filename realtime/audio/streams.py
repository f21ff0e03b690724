"""Sample formats, sample rates and frames.

Each stream has an object with its own state, so two sessions cannot mix. Inside, samples are float32 mono in [-1, 1];
on the wire they are PCM16 little endian or G.711.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from realtime.audio.g711 import alaw_to_pcm16, mulaw_to_pcm16, pcm16_to_alaw, pcm16_to_mulaw
from realtime.errors import AudioFormatError

Encoding = Literal["pcm16", "mulaw", "alaw"]
Samples = NDArray[np.float32]

_FULL_SCALE = 32768.0
_NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A sample format on the wire: mono, ``rate`` in Hz."""

    encoding: Encoding = "pcm16"
    rate: int = 24_000

    @property
    def sample_bytes(self) -> int:
        return 2 if self.encoding == "pcm16" else 1

    def duration_ms(self, n_bytes: int) -> int:
        """The duration of ``n_bytes`` in whole milliseconds."""
        return n_bytes // self.sample_bytes * 1000 // self.rate


def int16_to_float(samples: NDArray[np.int16]) -> Samples:
    """Int16 [n] -> float32 [n] in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(_FULL_SCALE)


def float_to_int16(samples: Samples) -> NDArray[np.int16]:
    """Float32 [n] -> int16 [n]; values outside [-1, 1) are clipped. The inverse of `int16_to_float`."""
    scaled: Samples = np.clip(np.rint(samples * _FULL_SCALE), -32768, 32767)
    return scaled.astype(np.int16)


def pcm16_to_float(data: bytes) -> Samples:
    """PCM16 little endian -> float32 [len / 2]. Raises `AudioFormatError` for half a sample."""
    if len(data) % 2:
        raise AudioFormatError(f"{len(data)} bytes of PCM16 end with half a sample: send an even number")
    return int16_to_float(np.frombuffer(data, "<i2"))


def float_to_pcm16(samples: Samples) -> bytes:
    """Float32 [n] -> PCM16 little endian, 2 n bytes."""
    return float_to_int16(samples).astype("<i2").tobytes()


class Resampler:
    """Streaming sample rate conversion (libswresample). It holds back 1 to 2 ms until the next `push` or `flush`.

    It works in the caller's thread and starts none: `av.AudioResampler` would start one per core for every stream.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        if min(source_rate, target_rate) < 1:
            raise AudioFormatError(f"sample rates must be positive: got {source_rate} Hz to {target_rate} Hz")
        self._source_rate = source_rate
        self._target_rate = target_rate
        self._graph = self._open()

    def push(self, samples: Samples) -> Samples:
        """Float32 [n] at the source rate -> float32 [about n * target / source], may be empty."""
        if self._source_rate == self._target_rate or not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples[None, :].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = self._source_rate
        return self._collect(frame)

    def flush(self) -> Samples:
        """The samples held back. The next `push` begins a new stream."""
        if self._source_rate == self._target_rate:
            return _NOTHING
        rest = self._collect(None)
        self._graph = self._open()
        return rest

    def _open(self) -> Graph:
        graph = Graph()
        graph.threads = 1
        source = graph.add(
            "abuffer",
            sample_rate=str(self._source_rate),
            sample_fmt="flt",
            channel_layout="mono",
            time_base=f"1/{self._source_rate}",
        )
        convert = graph.add("aformat", sample_rates=str(self._target_rate), sample_fmts="flt", channel_layouts="mono")
        sink = graph.add("abuffersink")
        source.link_to(convert)
        convert.link_to(sink)
        graph.configure()
        return graph

    def _collect(self, frame: av.AudioFrame | None) -> Samples:
        self._graph.push(frame)
        parts = []
        with suppress(BlockingIOError, EOFError):  # nothing more until the next frame; nothing more at all
            while True:
                parts.append(self._graph.pull().to_ndarray()[0])
        return np.concatenate(parts, dtype=np.float32) if parts else _NOTHING


class AudioReader:
    """Wire bytes of one stream -> float32 at ``target_rate``. Half a sample is kept until its other half arrives."""

    def __init__(self, format: AudioFormat, target_rate: int) -> None:
        self.format = format
        self._resampler = Resampler(format.rate, target_rate)
        self._half = b""

    def push(self, data: bytes) -> Samples:
        """Any number of bytes -> float32 [n] at the target rate."""
        return self._resampler.push(self._decode(data))

    def flush(self) -> Samples:
        """The samples that the resampler holds back; half a sample is dropped."""
        self._half = b""
        return self._resampler.flush()

    def _decode(self, data: bytes) -> Samples:
        match self.format.encoding:
            case "mulaw":
                return int16_to_float(mulaw_to_pcm16(data))
            case "alaw":
                return int16_to_float(alaw_to_pcm16(data))
            case "pcm16":
                data = self._half + data
                whole = len(data) - len(data) % 2
                self._half = data[whole:]
                return pcm16_to_float(data[:whole])


class AudioWriter:
    """Float32 of one stream at ``source_rate`` -> wire bytes, complete samples only."""

    def __init__(self, format: AudioFormat, source_rate: int) -> None:
        self.format = format
        self._resampler = Resampler(source_rate, format.rate)

    def push(self, samples: Samples) -> bytes:
        """Float32 [n] -> bytes, may be empty."""
        return self._encode(self._resampler.push(samples))

    def flush(self) -> bytes:
        """The last bytes of the stream."""
        return self._encode(self._resampler.flush())

    def _encode(self, samples: Samples) -> bytes:
        match self.format.encoding:
            case "mulaw":
                return pcm16_to_mulaw(float_to_int16(samples))
            case "alaw":
                return pcm16_to_alaw(float_to_int16(samples))
            case "pcm16":
                return float_to_pcm16(samples)


class Framer:
    """Cuts a stream into frames of one length; the remainder is kept for the next push."""

    def __init__(self, frame_samples: int) -> None:
        self._frame_samples = frame_samples
        self._rest: Samples = _NOTHING

    @property
    def pending(self) -> int:
        """Samples of the incomplete frame."""
        return len(self._rest)

    def push(self, samples: Samples) -> Samples:
        """Float32 [n] -> frames [k, frame_samples], k >= 0."""
        samples = np.concatenate((self._rest, samples), dtype=np.float32)
        frames = len(samples) // self._frame_samples
        self._rest = samples[frames * self._frame_samples :].copy()
        return samples[: frames * self._frame_samples].reshape(frames, self._frame_samples)

    def clear(self) -> None:
        """Drop the incomplete frame."""
        self._rest = _NOTHING


def samples_of_ms(ms: float, rate: int) -> int:
    """Milliseconds -> samples at ``rate``, rounded down."""
    return int(ms * rate / 1000)


def ms_of_samples(samples: int, rate: int) -> int:
    """Samples at ``rate`` -> whole milliseconds, rounded down."""
    return samples * 1000 // rate
