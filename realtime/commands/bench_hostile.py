"""`realtime bench hostile`: what honest callers suffer while hostile clients attack the server, for each attack.

The attackers run in a process of their own but on the server's machine: part of what callers suffer is the attackers'
own computing time, which the row `nothing` does not have.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import urllib.request
from urllib.parse import urlsplit

from realtime.bench.hostile.attacks import ATTACKS, attacking, check_loopback
from realtime.bench.hostile.honest import HEADER, Suffering, honest_callers
from realtime.commands.argument_types import number, whole

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
    starved = False
    print(HEADER, flush=True)
    for name in arguments.only or ATTACKS:
        with attacking(name, arguments.url):
            seen = asyncio.run(_measured(arguments))
            memory_mb = _server_mb(arguments.url)
        starved = starved or not seen.first_audio
        print(seen.row(name, memory_mb), flush=True)
    if starved:
        print("realtime bench hostile: no question was answered during an attack", file=sys.stderr)
    return int(starved)


async def _measured(arguments: argparse.Namespace) -> Suffering:
    await asyncio.sleep(_SETTLE_S)
    return await honest_callers(arguments.url, arguments.callers, arguments.seconds)


def _server_mb(url: str) -> float | None:
    """The server's resident memory by its own account; None where `/metrics` is not open to us."""
    try:
        with urllib.request.urlopen(f"http://{urlsplit(url).netloc}/metrics", timeout=5) as page:
            found = re.search(r"^process_resident_memory_bytes (\S+)$", page.read().decode(), re.MULTILINE)
    except OSError:
        return None
    return float(found.group(1)) / 1e6 if found else None
