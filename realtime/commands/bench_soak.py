"""`realtime bench soak`: callers who talk for a long time, and whether the server's memory, threads and open files stay
level."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from realtime.bench.soak import HEADER, SETTLED_MINUTES, Reading, Soak, growth_mb
from realtime.client.utterance import load_utterance
from realtime.commands.argument_types import number, whole

_SPEECH = Path(__file__).parent / "speech"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="ws://127.0.0.1:8765/v1/realtime", help="of a running server")
    parser.add_argument("--minutes", type=number(0.05, 1440), default=30.0, help="duration (default 30)")
    parser.add_argument("--callers", type=whole(1, 64), metavar="N", default=2, help="callers at a time (default 2)")
    parser.add_argument("--most-mb", type=number(0, 100_000), default=5.0, help="allowed growth (default 5)")
    parser.add_argument("--wav", nargs="+", type=Path, metavar="FILE", help="recordings to say, in rotation")
    parser.add_argument("--api-key", default=os.environ.get("REALTIME_API_KEY"), help="(env REALTIME_API_KEY)")


def run(arguments: argparse.Namespace) -> int:
    """Print a line a minute; 1 when memory grew by more than is allowed after the first minutes."""
    utterances = [load_utterance(path) for path in arguments.wav or sorted(_SPEECH.glob("*.wav"))]
    soak = Soak(arguments.url, utterances, arguments.callers, arguments.api_key)
    grown = growth_mb(asyncio.run(_readings(soak, arguments.minutes)))
    for failure, count in soak.failures.most_common():
        print(f"\n{count} turns failed: {failure}")
    if grown is None:
        print(f"\ntoo short to tell the growth after minute {SETTLED_MINUTES:g}")
        return 0
    print(f"\ngrowth after minute {SETTLED_MINUTES:g}: {grown:.1f} MB, at most {arguments.most_mb:g} are allowed")
    if grown > arguments.most_mb:
        print("realtime bench soak: the server's memory grows", file=sys.stderr)
        return 1
    return 0


async def _readings(soak: Soak, minutes: float) -> list[Reading]:
    print(HEADER, flush=True)
    readings = []
    async for reading in soak.run(minutes):
        readings.append(reading)
        print(reading.row(), flush=True)
    return readings
