"""The input and the results of `bench`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from streaming_vocoder.chunk_schedule import ChunkSchedule
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.solver_cache import TrimRule

GROWTH_STREAMS = 2
"""Streams that the comparison of a long reply with a short one needs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. ``chunks``: timed per row; ``plain_chunks``: of the plain path; 0: none."""

    streams: tuple[int, ...] = (1, 4, 16)
    ladder: tuple[int, ...] = (5, 10, 25)
    steps: int = 10
    trim: TrimRule = "upstream"
    chunks: int = 8
    plain_chunks: int = 3
    reply_seconds: float = 30.0
    prompt_tokens: int = 75
    dtype: torch.dtype = torch.float32
    ahead: int = 4
    """Chunks with all tokens available, timed as a wavefront and one by one; less than 2: not timed."""
    fixed: bool = False
    """Use batches of fixed shape, on CUDA as graphs; needs the trim rule `prompt`."""

    @property
    def options(self) -> VocoderOptions:
        """The options of the measured vocoder. Raises `OptionError`."""
        fixed_streams = max(self.streams) + GROWTH_STREAMS if self.fixed else 0
        ladder = ChunkSchedule(self.ladder)
        return VocoderOptions(self.steps, self.trim, dtype=self.dtype, ladder=ladder, fixed_streams=fixed_streams)


@dataclass(frozen=True, slots=True)
class ChunkFigures:
    """Chunks of ``rung`` tokens, one of each stream in a step. Times are of the whole step."""

    streams: int
    rung: int
    p50_ms: float
    p95_ms: float
    rtf: float
    """Compute time per second of audio, summed over all streams (median)."""
    in_time: bool
    """Whether 95 % of the steps took less time than the audio of one chunk."""
    peak_share: float
    """Operations of the step / its time / the rate of a float32 matrix product in this run."""
    stream_bytes: int
    """Memory owned by one stream with full caches."""


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """Time from the availability of the first chunk's tokens to its samples, for ``streams`` replies at once."""

    streams: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Growth:
    """A single long reply, in chunks of the largest rung."""

    seconds: float
    chunk_ratio: float
    """Time of a chunk at the end of the reply / of a chunk at 10 s, measured alternately (medians)."""
    bytes_ratio: float
    """Memory at the end / after 10 s."""


@dataclass(frozen=True, slots=True)
class Precision:
    """The same tokens in ``dtype`` and in float32, without breath noise."""

    dtype: str
    mel_db: float
    """Mean distance of the log-mels of the two."""
    snr_db: float
    """Signal level over the level of the difference; small pitch errors change the source's phase and lower it much."""


@dataclass(frozen=True, slots=True)
class PlainFigures:
    """The plain path compared with the fast one: same tokens, same chunks, one stream."""

    first_packet_ms: float
    fast_first_packet_ms: float
    first_packet_gain: float
    """Like ``chunk_gain``, a ratio of processor times where `Report.ratios_of` says so."""
    chunk_ms: float
    fast_chunk_ms: float
    chunk_gain: float
    """Of the last chunk measured. It grows with the reply, because the plain path recomputes the whole reply."""
    at_seconds: float
    """The position of that chunk in the reply."""
    largest_difference: float
    """Largest difference between the samples of the two; full scale is 1."""


@dataclass(frozen=True, slots=True)
class AheadFigures:
    """Chunks of the largest rung of one stream with all tokens available: one by one, and in one step as a
    wavefront."""

    chunks: int
    one_by_one_ms: float
    wave_ms: float
    gain: float
    """Ratio of the two (medians), of processor times where `Report.ratios_of` says so."""


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run."""

    plan: Plan
    prompt_ms: float
    """Time for the voice's snapshot, made once."""
    product_gflops: float
    """Best rate of a float32 product of 1024 x 1024 matrices in this run."""
    stream_bytes: int
    snapshot_bytes: int
    chunks: tuple[ChunkFigures, ...]
    first_packets: tuple[FirstPacket, ...]
    growth: Growth | None
    plain: PlainFigures | None
    precision: Precision | None
    ahead: AheadFigures | None
    ratios_of: str
    """What the ratios compare: processor time or wall clock."""

    @property
    def streams_by_throughput(self) -> int:
        """Streams that the best row's throughput would allow: an upper bound; `streams_in_time` was measured."""
        return max((int(1.0 / row.rtf) for row in self.chunks), default=0)

    @property
    def streams_in_time(self) -> int:
        """The largest measured number of streams that ran in real time at some rung; 0: none."""
        return max((row.streams for row in self.chunks if row.in_time), default=0)
