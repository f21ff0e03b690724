"""`realtime bench latency`: time from the end of speech to the answer, and whether playback runs out of audio.

It measures a running server (``--url``) or one that it starts in this process. Both are reached through a socket.
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

from realtime.bench.latency import MEASURES, TurnLatency, measure, percentiles, wait_until_ready
from realtime.client.transports import TRANSPORTS
from realtime.client.utterance import Utterance, lengthened, load_utterance
from realtime.commands.argument_types import new_file, number, whole
from realtime.commands.machine import describe_machine, describe_torch
from realtime.config import Settings
from realtime.config import add_arguments as add_settings

QUESTIONS = Path(__file__).parent / "speech"
"""The default recordings: three short questions in three synthetic voices."""

_TITLES = (
    *("stopped", "token", "text", "sent", "wait", "received"),
    *("audio", "dec RTF", "voc RTF", "margin", "ahead", "unused"),
)
"""Column titles, in the order of `MEASURES`."""

_LEGEND = (
    "ms after the last voiced sample: speech_stopped, first token (server), first transcript delta, first\n"
    "audio sent (server), first audio received. wait: from speech_stopped to the first audio sent. audio: ms\n"
    "of speech in the answer. RTF: compute / audio. ahead: how long before speech_stopped the speculative\n"
    "answer was started; unused: speculative answers that were discarded. margin: the smallest time by\n"
    "which a chunk arrived before its playback deadline; below zero there is an audible gap.\n"
    "Percentiles: nearest rank."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)  # of the server in this process; --api-key below is the key for either server
    parser.add_argument("--url", help="the server to measure; default: one started in this process")
    parser.add_argument(
        "--turns", type=whole(1, 100_000), default=10, metavar="N", help="number of spoken turns (default 10)"
    )
    parser.add_argument(
        "--wav", type=Path, nargs="+", metavar="FILE", help="recordings to say, in rotation (default: three questions)"
    )
    parser.add_argument(
        "--seconds",
        type=number(0.1, 600),
        nargs="+",
        metavar="S",
        help="repeat each recording up to each of these lengths in seconds (default: say it once)",
    )
    parser.add_argument(
        "--conversation", action="store_true", help="all turns in one session, not one session per turn"
    )
    parser.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="websocket",
        help="over webrtc the audio is received when the client's jitter buffer plays it (default %(default)s)",
    )
    parser.add_argument("--json", type=new_file, metavar="OUT.json", help="write all figures to this file")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("REALTIME_API_KEY"),
        help="API key for a server that requires one (env REALTIME_API_KEY)",
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
    """``count`` utterances: the recordings in rotation, each at each of ``lengths``."""
    said = [load_utterance(path) for path in paths]
    if lengths:
        said = [lengthened(utterance, seconds) for utterance in said for seconds in lengths]
    return list(itertools.islice(itertools.cycle(said), count))


async def _run(
    arguments: argparse.Namespace, utterances: Sequence[Utterance]
) -> tuple[list[TurnLatency], dict[str, Any]]:
    if arguments.url is not None:
        turns = await _measure(arguments.url, arguments, utterances)
        return turns, {"server": arguments.url} | describe_machine()
    async with serving(Settings.read(arguments)) as url:
        turns = await _measure(url, arguments, utterances)
        return turns, {"server": "in this process"} | describe_machine() | describe_torch()


async def _measure(url: str, arguments: argparse.Namespace, utterances: Sequence[Utterance]) -> list[TurnLatency]:
    await wait_until_ready(url)
    print(_row("turn", _TITLES, "utterance"))
    turns = []
    options = {"api_key": arguments.api_key, "conversation": arguments.conversation, "transport": arguments.transport}
    async for turn in measure(url, utterances, **options):
        turns.append(turn)
        print(_turn_row(turn), flush=True)
    return turns


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """Run the server in this event loop on a free port; yields its WebSocket URL."""
    # Imported here: measuring another server needs neither torch nor a model.
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


def _print_summary(turns: Sequence[TurnLatency], machine: dict[str, Any], *, by_length: bool) -> None:
    _print_percentiles(turns, "")
    if by_length:
        for seconds in sorted({round(turn.seconds) for turn in turns}):
            _print_percentiles([turn for turn in turns if round(turn.seconds) == seconds], f"{seconds} s")
    failed = sum(turn.error is not None for turn in turns)
    print(f"\n{len(turns)} turns{f', {failed} failed' if failed else ''}. {_LEGEND}", file=sys.stderr)
    for name, value in machine.items():
        print(f"{name:>14}  {value}", file=sys.stderr)


def _print_percentiles(turns: Sequence[TurnLatency], of: str) -> None:
    for percent in (50, 95):
        values = percentiles(turns, percent)
        print(_row(f"p{percent}", (_number(values[name]) for name in MEASURES), of))


def _turn_row(turn: TurnLatency) -> str:
    if turn.error is not None:
        return f"{turn.turn:>4}  failed: {turn.error}"
    return _row(str(turn.turn), (_number(getattr(turn, name)) for name in MEASURES), turn.utterance)


def _row(head: str, cells: Iterable[str], tail: str) -> str:
    return f"{head:>4}  {''.join(f'{cell:>9}' for cell in cells)}  {tail}".rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
