"""The command line: `realtime serve | talk | infer | doctor | bench | replay | phone | voice`.

Results go to stdout, all else to stderr. Each command is a module `realtime.commands.NAME` with
``add_arguments(parser)`` and ``run(arguments) -> exit status``. Only the chosen command is imported, so
`realtime --help` does not load torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from realtime.errors import AudioFormatError, CheckpointError, ConfigError, RealtimeError

COMMANDS = {
    "serve": "start the server and its web page",
    "talk": "talk to a running server by recording, text or microphone",
    "infer": "answer one recording without a server",
    "doctor": "check packages, device and model",
    "bench": "measure latency, turn-taking or the vocoder",
    "replay": "run a recorded session again and compare",
    "phone": "print what to enter at a carrier or PBX",
    "voice": "add voices from recordings, list and preview them",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. A `RealtimeError` is printed as one line on stderr: status 2 when a
    flag, a variable or a file that it names is wrong, else 1."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser(prog="realtime", description="Realtime voice agent server.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = argv[0] if argv and argv[0] in COMMANDS else None
    modules, parsers = {}, {}
    for name, summary in COMMANDS.items():
        subparser = parsers[name] = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            modules[name] = importlib.import_module(f"realtime.commands.{name}")
            modules[name].add_arguments(subparser)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        parsers[arguments.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        status: int = modules[arguments.command].run(arguments)
        return status
    except RealtimeError as error:
        text = _one_line(str(error)) if isinstance(error, ConfigError) else str(error)
        say(f"realtime {arguments.command}: {text}")
        return 2 if isinstance(error, ConfigError | CheckpointError | AudioFormatError) else 1
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Reports a wrong flag in one line: the usage of `realtime serve` fills a screen."""

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {_one_line(message.removeprefix('argument '))}")
        raise SystemExit(2)


def _one_line(text: str) -> str:
    """A file's name may have line breaks."""
    return "; ".join(text.splitlines())


def say(text: str) -> None:
    """Print a line on stderr. A stderr that is full or closed is no reason to end."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(text.encode(errors="backslashreplace").decode(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
