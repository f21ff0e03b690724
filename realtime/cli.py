"""The command line: `realtime serve | talk | infer | doctor | bench | replay | voice`.

Results go to stdout, all else to stderr. Each command is a module `realtime.commands.NAME` with
``add_arguments(parser)`` and ``run(arguments) -> exit status``. Only the chosen command is imported, so
`realtime --help` does not load torch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from realtime.errors import RealtimeError

COMMANDS = {
    "serve": "start the server and its web page",
    "talk": "talk to a running server by recording, text or microphone",
    "infer": "answer one recording without a server",
    "doctor": "check packages, device and model",
    "bench": "measure latency, turn-taking or the vocoder",
    "replay": "run a recorded session again and compare",
    "voice": "add voices from recordings, list and preview them",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. A `RealtimeError` is printed as one line on stderr."""
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
    """Log to stderr. Messages of a session begin with its id."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )


if __name__ == "__main__":
    raise SystemExit(main())
