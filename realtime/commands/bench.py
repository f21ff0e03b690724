"""`realtime bench latency | turns | vocoder | soak | hostile`: each is a module `realtime.commands.bench_NAME`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

MEASURES = {
    "latency": "time from the end of speech to the answer, through a server",
    "turns": "endpointing and interruptions over scripted conversations",
    "vocoder": "compute time and memory of the vocoder, without a server",
    "network": "delay, concealment and words lost over lossy networks",
    "soak": "whether memory, threads and open files stay level while callers talk",
    "hostile": "what honest callers suffer while hostile clients attack the server",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    measures = parser.add_subparsers(dest="measure", required=True, metavar="MEASURE")
    for name, summary in MEASURES.items():
        module = importlib.import_module(f"realtime.commands.bench_{name}")
        subparser = measures.add_parser(name, help=summary, description=summary, conflict_handler="resolve")
        module.add_arguments(subparser)
        subparser.set_defaults(measure_run=module.run)


def run(arguments: argparse.Namespace) -> int:
    measure: Callable[[argparse.Namespace], int] = arguments.measure_run
    return measure(arguments)
