"""The command line: `realtime serve | talk | infer | doctor | bench | voice`. Results on stdout, all else on stderr.

Each command lives in `realtime.commands.NAME` with ``add_arguments(parser)`` and ``run(arguments) -> exit status``,
and is imported when it is asked for: `realtime --help` needs no torch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from realtime.errors import RealtimeError

COMMANDS = {
    "serve": "start the server and its console",
    "talk": "speak to a running server from a wav file or the microphone",
    "infer": "answer one wav file offline, without a server",
    "doctor": "say what is installed, which device is used and whether the model loads",
    "bench": "measure latency, or the vocoder alone",
    "voice": "add voices from recordings, list them, listen to them",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status. Errors of the user's making are one line on stderr."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="realtime", description="Realtime voice agent server.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = argv[0] if argv and argv[0] in COMMANDS else None
    modules = {}
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            modules[name] = importlib.import_module(f"realtime.commands.{name}")
            modules[name].add_arguments(subparser)
    arguments = parser.parse_args(argv)
    try:
        status: int = modules[arguments.command].run(arguments)
        return status
    except RealtimeError as error:
        print(f"realtime {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def configure_logging(level: str) -> None:
    """Log to stderr; the session's id stands in the message's own prefix."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )


if __name__ == "__main__":
    raise SystemExit(main())
