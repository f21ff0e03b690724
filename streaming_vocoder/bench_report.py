"""What `bench` is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from streaming_vocoder.chunk_schedule import ChunkSchedule
from streaming_vocoder.options import VocoderOptions
from streaming_vocoder.solver_cache import TrimRule

GROWTH_STREAMS = 2
"""Streams that the comparison of a long reply with a short one opens."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. ``chunks``: timed per row; ``plain_chunks``: of the plain path, 0 to leave it out."""

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
    """Chunks whose tokens are all there: timed as a wavefront and one by one; less than 2: not timed."""
    fixed: bool = False
    """Batches of fixed shape, on CUDA as graphs; with the trim rule `prompt`."""

    @property
    def options(self) -> VocoderOptions:
        """Of the vocoder that is measured. Raises `OptionError`."""
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
    """Compute per second of sound that came of it, all streams' sounds added up (median)."""
    in_time: bool
    """Whether 95 % of the steps were done before the sound of one chunk has been played."""
    peak_share: float
    """Arithmetic of the step / its time / the rate of a float32 matrix product in this run."""
    stream_bytes: int
    """Memory that one stream owns, its caches being full."""


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """From all of the first chunk's tokens at hand to its samples, for ``streams`` replies that begin together."""

    streams: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Growth:
    """A long reply alone, in chunks of the largest rung."""

    seconds: float
    chunk_ratio: float
    """Chunk at the end of the reply / chunk of a reply of 10 s, taken in turns (medians)."""
    bytes_ratio: float
    """Memory at the end / after 10 s."""


@dataclass(frozen=True, slots=True)
class Precision:
    """The same tokens in ``dtype`` and in float32, without breath noise."""

    dtype: str
    mel_db: float
    """Mean distance of the log-mels of the two sounds."""
    snr_db: float
    """Level of the sound over that of the difference; the source's phase makes much of small errors of pitch."""


@dataclass(frozen=True, slots=True)
class PlainFigures:
    """The plain path beside the fast one: same tokens, same chunks, one stream."""

    first_packet_ms: float
    fast_first_packet_ms: float
    first_packet_gain: float
    """Like ``chunk_gain`` a ratio of the times named here, which are processor times where ratios are."""
    chunk_ms: float
    fast_chunk_ms: float
    chunk_gain: float
    """Of the last chunk measured; it grows with the reply, since the plain path computes all of it again."""
    at_seconds: float
    """Where in the reply that chunk lies."""
    largest_difference: float
    """Between the samples of the two, full scale 1."""


@dataclass(frozen=True, slots=True)
class AheadFigures:
    """Chunks of the largest rung, one stream, all tokens there: given one by one, and in one step as a wavefront."""

    chunks: int
    one_by_one_ms: float
    wave_ms: float
    gain: float
    """Ratio of the two (medians), which are processor times where ratios are."""


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run."""

    plan: Plan
    prompt_ms: float
    """The voice's snapshot, made once."""
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
        """Streams that the best row's throughput would carry: a bound, where `streams_in_time` was seen."""
        return max((int(1.0 / row.rtf) for row in self.chunks), default=0)

    @property
    def streams_in_time(self) -> int:
        """The most streams measured that ran in real time at some rung; 0 when none did."""
        return max((row.streams for row in self.chunks if row.in_time), default=0)
