"""`realtime bench latency | turns | vocoder`: each measure is a module of its own, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

MEASURES = {
    "latency": "how long after the end of speech an answer comes, through a server",
    "turns": "when turns end, and what interrupts a reply, over scripted conversations",
    "vocoder": "what the vocoder costs, without a server",
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
