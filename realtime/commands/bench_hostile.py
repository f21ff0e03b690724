"""`realtime bench hostile`: what honest callers suffer while hostile clients attack the server, for each attack.

The attackers run in a process of their own but on the server's machine: part of what callers suffer is the attackers'
own computing time, which the row `nothing` does not have. The server needs sessions for both: one that has measured how
many it serves may have too few.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from realtime.bench.hostile.attacks import ATTACKS, PEERS, attacking, check_loopback
from realtime.bench.hostile.honest import HEADER, Suffering, honest_callers
from realtime.bench.server_metrics import figure, read_metrics
from realtime.client.connection import ClientError
from realtime.commands.argument_types import number, whole
from realtime.errors import ConfigError

_SETTLE_S = 1.0
"""Between the start of an attack and the first question, and between two attacks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="ws://127.0.0.1:8765/v1/realtime", help="of a server on this machine")
    parser.add_argument("--seconds", type=number(1, 300), default=15.0, help="duration of each attack, 1 to 300")
    parser.add_argument("--callers", type=whole(1, 8), metavar="N", default=2, help="honest callers")
    parser.add_argument("--only", choices=list(ATTACKS), action="append", help="this attack; may be repeated")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; 1 when an honest caller got no answer at all during an attack."""
    check_loopback(arguments.url)
    needed, sessions = PEERS + arguments.callers, _metric(arguments.url, "realtime_max_sessions")
    if sessions is not None and sessions < needed:
        raise ConfigError(f"the server admits {sessions:.0f} sessions: start it with --max-sessions {needed} or more")
    starved = False
    print(HEADER, flush=True)
    for name in arguments.only or ATTACKS:
        with attacking(name, arguments.url):
            seen = asyncio.run(_measured(arguments))
            memory = _metric(arguments.url, "process_resident_memory_bytes")
        starved = starved or not seen.first_audio
        print(seen.row(name, memory and memory / 1e6), flush=True)
    if starved:
        print("realtime bench hostile: no question was answered during an attack", file=sys.stderr)
    return int(starved)


async def _measured(arguments: argparse.Namespace) -> Suffering:
    await asyncio.sleep(_SETTLE_S)
    return await honest_callers(arguments.url, arguments.callers, arguments.seconds)


def _metric(url: str, name: str) -> float | None:
    """A figure by the server's own account; None where `/metrics` is not open to us or does not have it."""
    try:
        return figure(read_metrics(url, timeout_s=5.0), name)
    except ClientError:
        return None
