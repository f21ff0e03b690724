"""Benchmark of the vocoder: chunk times, first packets, memory, growth, and the gain over the plain path.

All figures of a report are from one run on one machine. The ratios (gain over the plain path, share of the
matrix-product rate, growth) are between times of the same run, so they may be compared across machines; the times may
not. With one thread on a CPU the ratios are of processor time, which other programs disturb less.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from streaming_vocoder.bench_report import (
    AheadFigures,
    ChunkFigures,
    FirstPacket,
    Growth,
    PlainFigures,
    Plan,
    Precision,
    Report,
)
from streaming_vocoder.config import FRAMES_PER_TOKEN, TOKEN_RATE, VocoderConfig
from streaming_vocoder.flops import flow_flops, hift_flops
from streaming_vocoder.flow import Flow
from streaming_vocoder.hift import Hift
from streaming_vocoder.hift_stream import SEAM_FRAMES
from streaming_vocoder.mel import prompt_mel
from streaming_vocoder.plain import PlainVocoder
from streaming_vocoder.solver_cache import RECENT_FRAMES
from streaming_vocoder.streaming import StreamState, Vocoder
from streaming_vocoder.voice import Voice

_Result = TypeVar("_Result")

PRODUCT_SIZE = 1024
PRODUCT_REPEATS = 10
SETTLED_SECONDS = 10.0
"""Length of the reply that the long one is compared with."""
GROWTH_TURNS = 8
AHEAD_TURNS = 3
PRECISION_CHUNKS = 3


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of one call."""

    wall_ms: float
    busy_ms: float
    """Processor time if the ratios are of processor time, else equal to ``wall_ms``."""


def random_weights(config: VocoderConfig, seed: int = 0) -> tuple[Flow, Hift]:
    """Modules with random weights; speed does not depend on the weights."""
    torch.manual_seed(seed)
    flow, hift = Flow(config.flow).eval(), Hift(config.hift).eval()
    hift.f0_predictor.classifier.weight.data *= 500.0  # Hz: partly voiced, like speech
    return flow, hift


def measure(
    config: VocoderConfig, flow: Flow, hift: Hift, plan: Plan, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Run the plan on the device of ``flow`` and ``hift``. ``progress`` is called with what is measured next."""
    bench = _Bench(config, flow, hift, plan)
    progress("prompt and first chunks")
    prompt_ms = bench.prompt_ms()
    plain = None
    if plan.plain_chunks:
        progress("the plain path")
        plain = bench.plain(flow, hift)
    timed = []
    for streams in plan.streams:
        for rung in plan.ladder:
            progress(f"{streams} streams, {rung} tokens")
            timed.append((streams, rung, *bench.chunks(streams, rung)))
    first = [bench.first_packet(streams) for streams in plan.streams]
    growth = None
    if plan.reply_seconds > SETTLED_SECONDS:
        progress("a long reply")
        growth = bench.growth()
    precision = None
    if plan.dtype != torch.float32:
        progress("precision")
        precision = bench.precision(flow, hift)
    ahead = None
    if plan.ahead > 1:
        progress("chunks ahead of time")
        ahead = bench.ahead(plan.ahead)
    rows = [bench.figures(*row) for row in timed]  # after all timing, when the best product of the run is known
    rate, snapshot_bytes = bench.product_flops / 1e9, bench.snapshot_bytes()
    stream_bytes = max(row.stream_bytes for row in rows)
    return Report(
        plan,
        prompt_ms,
        rate,
        stream_bytes,
        snapshot_bytes,
        tuple(rows),
        tuple(first),
        growth,
        plain,
        precision,
        ahead,
        bench.ratios_of,
    )


class _Bench:
    """One vocoder and one voice, with the clock."""

    def __init__(self, config: VocoderConfig, flow: Flow, hift: Hift, plan: Plan) -> None:
        self.config, self.plan = config, plan
        self.device = hift.stft_window.device
        self.by_processor = self.device.type == "cpu" and torch.get_num_threads() == 1
        self.vocoder = Vocoder(config, flow, hift, plan.options)
        self.voice = _voice(config, plan.prompt_tokens)
        self.product_flops = self._product_rate()

    @property
    def ratios_of(self) -> str:
        return "processor time" if self.by_processor else "wall clock"

    def prompt_ms(self) -> float:
        return self._timed(lambda: self.vocoder.prepare(self.voice))[0].wall_ms

    def chunks(self, streams: int, rung: int) -> tuple[list[Timing], int]:
        """The time of each step, and the memory of a stream."""
        self.product_flops = max(self.product_flops, self._product_rate())
        states = self._settled(streams, rung)
        return [self._step(states, rung, seed) for seed in range(self.plan.chunks)], states[0].owned_bytes

    def figures(self, streams: int, rung: int, times: Sequence[Timing], stream_bytes: int) -> ChunkFigures:
        walls = [time.wall_ms for time in times]
        middle, high = _p50_p95(walls)
        sound_ms = 1000.0 * rung / TOKEN_RATE
        busy, _ = _p50_p95([time.busy_ms for time in times])
        share = streams * self._flops(rung) / (busy / 1000.0) / self.product_flops
        return ChunkFigures(
            streams=streams,
            rung=rung,
            p50_ms=middle,
            p95_ms=high,
            rtf=middle / sound_ms / streams,
            in_time=high <= sound_ms,
            peak_share=share,
            stream_bytes=stream_bytes,
        )

    def first_packet(self, streams: int) -> FirstPacket:
        tokens = self._tokens(self.plan.ladder[0] + self.vocoder.lookahead, 0)
        times = []
        for _ in range(self.plan.chunks):
            requests = [(self.vocoder.open(self.voice), tokens, False) for _ in range(streams)]
            times.append(self._timed(partial(self.vocoder.step, requests))[0].wall_ms)
        return FirstPacket(streams, *_p50_p95(times))

    def growth(self) -> Growth:
        rung = max(self.plan.ladder)
        young, old = (self._settled(1, rung, SETTLED_SECONDS) for _ in range(2))
        young_bytes = young[0].owned_bytes
        for seed in range(round((self.plan.reply_seconds - SETTLED_SECONDS) * TOKEN_RATE / rung)):
            self._step(old, rung, seed)
        turns = [[self._step(states, rung, turn).busy_ms for states in (young, old)] for turn in range(GROWTH_TURNS)]
        young_ms, old_ms = (statistics.median(times) for times in zip(*turns, strict=True))
        return Growth(self.plan.reply_seconds, old_ms / young_ms, old[0].owned_bytes / young_bytes)

    def ahead(self, chunks: int) -> AheadFigures:
        """Measured alternately, so that changes of the machine's speed affect both."""
        rung = max(self.plan.ladder)
        states, single, wave = self._settled(1, rung), [], []
        for turn in range(AHEAD_TURNS):
            single.append(sum(self._step(states, rung, seed).busy_ms for seed in range(chunks)))
            wave.append(self._step(states * chunks, rung, turn).busy_ms)
        one_by_one_ms, wave_ms = statistics.median(single), statistics.median(wave)
        return AheadFigures(chunks, one_by_one_ms, wave_ms, one_by_one_ms / wave_ms)

    def precision(self, flow: Flow, hift: Hift) -> Precision:
        sounds = []
        for dtype in (torch.float32, self.plan.dtype):
            options = replace(self.plan.options, dtype=dtype, fixed_streams=0)
            vocoder = Vocoder(self.config, flow, hift, options, source_noise=False)
            stream, rung = vocoder.open(self.voice), max(self.plan.ladder)
            requests = [
                (stream, self._tokens(rung, seed), seed == PRECISION_CHUNKS) for seed in range(1 + PRECISION_CHUNKS)
            ]
            sounds.append(torch.from_numpy(np.concatenate([vocoder.step([request])[0] for request in requests])))
        exact, rounded = sounds
        difference = (prompt_mel(exact) - prompt_mel(rounded)).abs().mean()
        snr = 10.0 * torch.log10(exact.square().mean() / (exact - rounded).square().mean())
        return Precision(
            str(self.plan.dtype).removeprefix("torch."), 20.0 / math.log(10.0) * float(difference), float(snr)
        )

    def snapshot_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.vocoder.open(self.voice).prompt.shared_tensors())

    def plain(self, flow: Flow, hift: Hift) -> PlainFigures:
        """The first chunk has the smallest rung, the others the largest."""
        slow = PlainVocoder(flow, hift, steps=self.plan.steps, trim=self.plan.trim)
        sizes = [self.plan.ladder[0] + self.vocoder.lookahead] + [max(self.plan.ladder)] * (self.plan.plain_chunks - 1)
        self._step([self.vocoder.open(self.voice)], sizes[0], 0)  # warm-up, not timed
        slow_stream, fast_stream = slow.open(self.voice), self.vocoder.open(self.voice)
        slow_ms, fast_ms, difference = [], [], 0.0
        for seed, size in enumerate(sizes):
            tokens = self._tokens(size, seed)
            slow_time, expected = self._timed(partial(slow.step, slow_stream, tokens, False))
            fast_time, (samples,) = self._timed(partial(self.vocoder.step, [(fast_stream, tokens, False)]))
            slow_ms.append(slow_time.busy_ms)
            fast_ms.append(fast_time.busy_ms)
            difference = max(difference, float(np.abs(samples - expected).max()))
        return PlainFigures(
            first_packet_ms=slow_ms[0],
            fast_first_packet_ms=fast_ms[0],
            first_packet_gain=slow_ms[0] / fast_ms[0],
            chunk_ms=slow_ms[-1],
            fast_chunk_ms=fast_ms[-1],
            chunk_gain=slow_ms[-1] / fast_ms[-1],
            at_seconds=sum(sizes) / TOKEN_RATE,
            largest_difference=difference,
        )

    def _settled(self, streams: int, rung: int, seconds: float = 0.0) -> list[StreamState]:
        """Streams with full caches, whose chunks all cost the same from here on."""
        states = [self.vocoder.open(self.voice) for _ in range(streams)]
        filling = FRAMES_PER_TOKEN * rung
        chunks = max(1 + -(-RECENT_FRAMES // filling), round(seconds * TOKEN_RATE / rung))
        self._step(states, rung + self.vocoder.lookahead, 0)
        for seed in range(1, chunks):
            self._step(states, rung, seed)
        return states

    def _step(self, states: Sequence[StreamState], tokens: int, seed: int) -> Timing:
        requests = [(state, self._tokens(tokens, seed), False) for state in states]
        return self._timed(partial(self.vocoder.step, requests))[0]

    def _tokens(self, count: int, seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        drawn: list[int] = torch.randint(self.config.flow.vocab_size, (count,), generator=generator).tolist()
        return drawn

    def _timed(self, work: Callable[[], _Result]) -> tuple[Timing, _Result]:
        """The time of ``work``, including what it queued on the device, and its result."""
        self._synchronize()
        started, busy_since = time.perf_counter(), time.thread_time()
        result = work()
        self._synchronize()
        wall, busy = time.perf_counter() - started, time.thread_time() - busy_since
        return Timing(1000.0 * wall, 1000.0 * (busy if self.by_processor else wall)), result

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _flops(self, rung: int) -> int:
        """Operations of a chunk of one stream with full caches."""
        kept = FRAMES_PER_TOKEN * self.plan.prompt_tokens + RECENT_FRAMES
        flow = flow_flops(self.config.flow, self.plan.steps, rung, kept // FRAMES_PER_TOKEN, kept)
        return flow + hift_flops(self.config.hift, FRAMES_PER_TOKEN * rung + SEAM_FRAMES)

    def _product_rate(self) -> float:
        """Best FLOP/s of a large float32 product."""
        left, right = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE, device=self.device) for _ in range(2))
        out = torch.empty_like(left)
        product = partial(torch.mm, left, right, out=out)
        best_ms = min(self._timed(product)[0].busy_ms for _ in range(PRODUCT_REPEATS))
        return 2.0 * PRODUCT_SIZE**3 / (best_ms / 1000.0)


def _p50_p95(values: Sequence[float]) -> tuple[float, float]:
    """Nearest-rank percentiles: values that were measured."""
    p50, p95 = np.percentile(values, (50, 95), method="inverted_cdf")
    return float(p50), float(p95)


def _voice(config: VocoderConfig, tokens: int) -> Voice:
    """A random voice: it costs as much as any other with a prompt of this length."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(config.flow.vocab_size, (tokens,), generator=generator)
    mel = torch.randn(FRAMES_PER_TOKEN * tokens, config.flow.output_size, generator=generator) - 5.0
    return Voice("bench", codes, mel, torch.randn(config.flow.spk_embed_dim, generator=generator))
