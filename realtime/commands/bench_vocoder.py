"""`realtime bench vocoder`: chunk times by chunk length and number of streams, first packets, memory, growth, gain.

It needs no server and no checkpoint: speed does not depend on the weights, so those of the official size are random.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from realtime.commands.argument_types import new_file, number, whole
from realtime.commands.machine import describe_machine, describe_torch
from realtime.config import EMBEDDED_CHECKPOINT
from realtime.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch

    from streaming_vocoder.bench_report import Plan, Report
    from streaming_vocoder.config import VocoderConfig
    from streaming_vocoder.flow import Flow
    from streaming_vocoder.hift import Hift

DTYPES = ("float32", "bfloat16", "float16")

_LEGEND = (
    "One step makes a chunk of `rung` tokens for each of `streams` replies; p50, p95: ms per step.\n"
    "RTF: compute time / audio time of all streams. in time: 95 % of the steps took less time than their\n"
    "audio lasts. peak: share of the rate of a float32 matrix product measured in this run. Percentiles:\n"
    "nearest rank. Ratios are of processor time with one thread on a CPU, else of wall-clock time."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _add_model_arguments(parser)
    _add_load_arguments(parser)
    parser.add_argument("--json", type=new_file, metavar="OUT.json", help="write all figures to this file")


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="torch device: cpu, cuda, cuda:1, auto (default cpu)")
    parser.add_argument("--steps", type=whole(1, 100), default=10, metavar="N", help="solver steps (default 10)")
    parser.add_argument(
        "--size", choices=("nano", "official"), default="nano", help="model size; official has random weights"
    )
    parser.add_argument(
        "--trim",
        choices=("upstream", "prompt"),
        default="upstream",
        help="cache rule of the solver, see --vocoder-trim of serve",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="data type of the solver's products (default float32)"
    )
    parser.add_argument(
        "--fixed", action="store_true", help="use batches of fixed shape, on CUDA as graphs; needs --trim prompt"
    )
    parser.add_argument(
        "--threads", type=whole(0, 256), default=0, metavar="N", help="CPU threads (default: PyTorch's own)"
    )


def _add_load_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--streams",
        type=_counts,
        default=(1, 4, 16),
        metavar="1,4,16",
        help="numbers of simultaneous replies to measure",
    )
    parser.add_argument(
        "--ladder", type=_counts, default=(5, 10, 25), metavar="5,10,25", help="chunk lengths in tokens"
    )
    parser.add_argument(
        "--chunks", type=whole(1, 10_000), default=8, metavar="N", help="chunks timed per row (default 8)"
    )
    parser.add_argument(
        "--minutes", type=number(0, 60), default=0.5, help="length of the long reply in minutes; 0: none (default 0.5)"
    )
    parser.add_argument(
        "--plain",
        type=whole(0, 1000),
        default=3,
        metavar="N",
        help="chunks of the plain path for comparison; 0: none (default 3)",
    )
    parser.add_argument(
        "--ahead",
        type=whole(0, 1000),
        default=4,
        metavar="N",
        help="chunks computed together as a wavefront; 0: none (default 4)",
    )
    parser.add_argument(
        "--prompt-tokens",
        type=whole(3, 10_000),
        default=75,
        metavar="N",
        help="prompt length of the voice (default 75: 3 s)",
    )


def run(arguments: argparse.Namespace) -> int:
    import torch

    from realtime.checkpoint.load import choose_device
    from streaming_vocoder.bench import measure

    plan = _plan(arguments)
    device = choose_device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config, flow, hift = _modules(arguments.size, device)
    report = measure(config, flow, hift, plan, lambda what: print(f"measuring: {what}", file=sys.stderr, flush=True))
    machine = describe_machine() | describe_torch() | {"device": str(device), "size": arguments.size}
    if arguments.json is not None:
        summary = {
            "machine": machine,
            **asdict(report),
            "plan": asdict(plan) | {"dtype": arguments.dtype},
            "streams_in_time": report.streams_in_time,
            "streams_by_throughput": report.streams_by_throughput,
        }
        arguments.json.write_text(json.dumps(summary, indent=2) + "\n")
    _print(report, machine)
    return 0


def _plan(arguments: argparse.Namespace) -> Plan:
    import torch

    from streaming_vocoder import OptionError
    from streaming_vocoder.bench_report import Plan

    rungs = tuple(sorted(arguments.ladder))
    if arguments.fixed and arguments.trim != "prompt":
        raise ConfigError("--fixed needs --trim prompt: with --trim upstream the shapes vary")
    plan = Plan(
        streams=arguments.streams,
        ladder=rungs,
        steps=arguments.steps,
        trim=arguments.trim,
        chunks=arguments.chunks,
        plain_chunks=arguments.plain,
        reply_seconds=60.0 * arguments.minutes,
        prompt_tokens=arguments.prompt_tokens,
        dtype=getattr(torch, arguments.dtype),
        ahead=arguments.ahead,
        fixed=arguments.fixed,
    )
    try:
        _ = plan.options
    except OptionError as error:
        flag = "fixed" if error.option == "fixed_streams" else error.option
        raise ConfigError(f"--{flag}: {error.problem}") from error
    return plan


def _modules(size: str, device: torch.device) -> tuple[VocoderConfig, Flow, Hift]:
    from streaming_vocoder import VocoderError
    from streaming_vocoder.bench import random_weights
    from streaming_vocoder.config import VocoderConfig
    from streaming_vocoder.weights import load_token2wav

    if size == "official":
        config = VocoderConfig()
        flow, hift = random_weights(config)
    else:
        try:
            config, flow, hift = load_token2wav(EMBEDDED_CHECKPOINT / "token2wav")
        except VocoderError as error:
            raise CheckpointError(str(error)) from error
    return config, flow.to(device), hift.to(device)


def _counts(text: str) -> tuple[int, ...]:
    """ "1,4,16" -> (1, 4, 16)."""
    return tuple(whole(1, 1024)(part) for part in text.split(","))


def _print(report: Report, machine: dict[str, Any]) -> None:
    rows = [["streams", "rung", "p50 ms", "p95 ms", "RTF", "in time", "peak"]]
    for packet in report.first_packets:
        rows.append([str(packet.streams), "first", f"{packet.p50_ms:.1f}", f"{packet.p95_ms:.1f}", "", "", ""])
    for row in report.chunks:
        yes = "yes" if row.in_time else "no"
        figures = [f"{row.p50_ms:.1f}", f"{row.p95_ms:.1f}", f"{row.rtf:.3f}", yes, f"{row.peak_share:.0%}"]
        rows.append([str(row.streams), str(row.rung), *figures])
    for cells in rows:
        print("".join(f"{cell:>9}" for cell in cells).rstrip())
    print()
    for name, value in _summary(report):
        print(f"{name:>26}  {value}")
    print(f"\n{_LEGEND}", file=sys.stderr)
    for name, value in machine.items():
        print(f"{name:>14}  {value}", file=sys.stderr)


def _summary(report: Report) -> Sequence[tuple[str, str]]:
    lines = [
        ("streams in real time", f"{report.streams_in_time} seen, {report.streams_by_throughput} by throughput"),
        ("memory of a stream", f"{report.stream_bytes / 1e6:.1f} MB"),
        ("snapshot of the voice", f"{report.snapshot_bytes / 1e6:.1f} MB, made once in {report.prompt_ms:.0f} ms"),
        ("matrix product", f"{report.product_gflops:.0f} GFLOP/s"),
    ]
    if (growth := report.growth) is not None:
        text = f"chunk time x {growth.chunk_ratio:.2f}, memory x {growth.bytes_ratio:.2f} relative to a reply of 10 s"
        lines.append((f"reply of {growth.seconds:.0f} s", text))
    if (precision := report.precision) is not None:
        text = f"log-mel differs by {precision.mel_db:.2f} dB, SNR of the samples {precision.snr_db:.0f} dB"
        lines.append((f"{precision.dtype} against float32", text))
    if (ahead := report.ahead) is not None:
        text = f"x {ahead.gain:.2f} ({ahead.one_by_one_ms:.0f} -> {ahead.wave_ms:.0f} ms) over one by one"
        lines.append((f"gain, {ahead.chunks} chunks ahead", text))
    if (plain := report.plain) is not None:
        first = f"x {plain.first_packet_gain:.1f} ({plain.first_packet_ms:.0f} -> {plain.fast_first_packet_ms:.0f} ms)"
        chunk = f"x {plain.chunk_gain:.1f} ({plain.chunk_ms:.0f} -> {plain.fast_chunk_ms:.0f} ms)"
        lines += [
            ("gain, first packet", f"{first} over the plain path"),
            (f"gain, chunk at {plain.at_seconds:.1f} s", f"{chunk}, samples differ by {plain.largest_difference:.0e}"),
        ]
    return lines
