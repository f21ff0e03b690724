"""`realtime bench latency`: how long after the end of speech an answer comes, and whether it falls behind.

Against a running server (``--url``), or one started in this process for the purpose. The in-process one is
reached through a real socket all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from realtime.bench.latency import MEASURES, TurnFigures, measure, percentiles, wait_until_ready
from realtime.client.utterance import Utterance, lengthened, load_utterance
from realtime.commands.machine import describe_machine, describe_torch
from realtime.config import Settings
from realtime.config import add_arguments as add_settings

QUESTIONS = Path(__file__).parent / "speech"
"""What is asked when no recording is given: three short questions in three synthetic voices."""

_TITLES = (
    *("stopped", "token", "text", "sent", "wait", "received"),
    *("audio", "dec RTF", "voc RTF", "margin", "ahead", "wasted"),
)
"""Of the table's columns, in the order of `MEASURES`."""

_LEGEND = (
    "ms after the last voiced sample: speech_stopped, first token (server), first transcript delta, first\n"
    "audio sent (server), first audio received. wait: from speech_stopped to the first audio sent. audio: ms\n"
    "of speech in the answer. RTF: compute / audio. ahead: how long before speech_stopped the answer was begun;\n"
    "wasted: answers begun in vain.\n"
    "margin: least ms by which a piece of sound came before its playback deadline; below zero it is heard\n"
    "as a gap. Percentiles: nearest rank."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)  # of the server in this process; the key of either server is the one below
    parser.add_argument("--url", help="a running server; without it one is started in this process")
    parser.add_argument("--turns", type=int, default=10, metavar="N", help="spoken turns (default 10)")
    parser.add_argument("--wav", type=Path, nargs="+", metavar="FILE", help="what to say, in turn (default: questions)")
    parser.add_argument(
        "--seconds",
        type=float,
        nargs="+",
        metavar="S",
        help="say each for so long, the lengths in turn (default: once)",
    )
    parser.add_argument("--conversation", action="store_true", help="all turns in one session, not one each")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write every figure there")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("REALTIME_API_KEY"),
        help="for a server with keys (env REALTIME_API_KEY)",
    )


def run(arguments: argparse.Namespace) -> int:
    paths = arguments.wav or sorted(QUESTIONS.glob("*.wav"))
    utterances = _utterances(paths, arguments.seconds or (), arguments.turns)
    turns, machine = asyncio.run(_run(arguments, utterances))
    report = {
        "machine": machine,
        "turns": [asdict(turn) for turn in turns],
        "p50": percentiles(turns, 50),
        "p95": percentiles(turns, 95),
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    _print_summary(turns, machine, by_length=bool(arguments.seconds))
    return 0 if turns and not any(turn.error for turn in turns) else 1


def _utterances(paths: Sequence[Path], lengths: Sequence[float], count: int) -> list[Utterance]:
    """All recordings in turn, and for each its length in turn."""
    said = [load_utterance(path) for path in paths]
    if lengths:
        said = [lengthened(utterance, seconds) for utterance in said for seconds in lengths]
    return list(itertools.islice(itertools.cycle(said), count))


async def _run(
    arguments: argparse.Namespace, utterances: Sequence[Utterance]
) -> tuple[list[TurnFigures], dict[str, Any]]:
    if arguments.url is not None:
        turns = await _measure(arguments.url, arguments, utterances)
        return turns, {"server": arguments.url} | describe_machine()
    async with serving(Settings.read(arguments)) as url:
        turns = await _measure(url, arguments, utterances)
        return turns, {"server": "in this process"} | describe_machine() | describe_torch()


async def _measure(url: str, arguments: argparse.Namespace, utterances: Sequence[Utterance]) -> list[TurnFigures]:
    await wait_until_ready(url)
    print(_row("turn", _TITLES, "utterance"))
    turns = []
    async for turn in measure(url, utterances, api_key=arguments.api_key, conversation=arguments.conversation):
        turns.append(turn)
        print(_turn_row(turn), flush=True)
    return turns


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The real server in this event loop, on a free port; gives its WebSocket URL."""
    # here: measuring a server elsewhere needs neither torch nor a model
    from realtime.app import Application
    from realtime.transports.http.http import build_app
    from realtime.transports.http.server import listen, web_server

    with listen("127.0.0.1", 0) as listener:
        server = web_server(build_app(Application(settings), None))
        serve = asyncio.create_task(server.serve(sockets=[listener]), name="server")
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/v1/realtime"
        finally:
            server.should_exit = True
            await serve


def _print_summary(turns: Sequence[TurnFigures], machine: dict[str, Any], *, by_length: bool) -> None:
    _print_percentiles(turns, "")
    if by_length:
        for seconds in sorted({round(turn.seconds) for turn in turns}):
            _print_percentiles([turn for turn in turns if round(turn.seconds) == seconds], f"{seconds} s")
    failed = sum(turn.error is not None for turn in turns)
    print(f"\n{len(turns)} turns{f', {failed} failed' if failed else ''}. {_LEGEND}", file=sys.stderr)
    for name, value in machine.items():
        print(f"{name:>14}  {value}", file=sys.stderr)


def _print_percentiles(turns: Sequence[TurnFigures], of: str) -> None:
    for percent in (50, 95):
        values = percentiles(turns, percent)
        print(_row(f"p{percent}", (_number(values[name]) for name in MEASURES), of))


def _turn_row(turn: TurnFigures) -> str:
    if turn.error is not None:
        return f"{turn.turn:>4}  failed: {turn.error}"
    return _row(str(turn.turn), (_number(getattr(turn, name)) for name in MEASURES), turn.utterance)


def _row(head: str, cells: Iterable[str], tail: str) -> str:
    return f"{head:>4}  {''.join(f'{cell:>9}' for cell in cells)}  {tail}".rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
