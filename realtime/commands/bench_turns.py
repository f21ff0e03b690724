"""`realtime bench turns`: when turns end and who has the floor, over scripted conversations with a known truth.

Played with real sessions in virtual time: model and network are scripted, so nothing depends on the machine, and the
figures are the same for the same seed. With ``--live`` a few of them are played to a running server, in real time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from realtime.bench.turns.caller import Observation
from realtime.bench.turns.corpus import Case, compose
from realtime.bench.turns.live import observe_live
from realtime.bench.turns.runner import Mode, observe
from realtime.bench.turns.scoring import FloorFigures, Outcome, TurnFigures, faults, floor_figures, judge, turn_figures
from realtime.commands.machine import describe_machine
from realtime.turns.smart_turn import EndOfTurnModel, load_end_of_turn_model
from realtime.turns.vad import SileroVad

Play = Callable[[Case, Mode], Observation]

EAGERNESS = ("low", "medium", "high")
INTERRUPTIONS = ("immediate", "pause", "play_on")

_TURN_TITLES = ("turn detection", "delay p50", "p95", "cut in", "missed", "false turns", "made in vain: ids", "speech")
_FLOOR_TITLES = (
    "interruption", "hushed p50", "p95", "stopped p50", "p95", "missed stops", "false stops", "self-interruptions",
    "resumed exactly",
)  # fmt: skip

_LEGEND = (
    "delay: ms from the last voiced sample until the end of the turn is told. cut in: turns of which an end was told\n"
    "before. missed: none was told within 4 s. false turns: of coughs and doors. made in vain: share of what was made\n"
    "ahead. hushed: ms from the first sample of a barge-in until playback is paused or stopped; stopped: until it is\n"
    "stopped for good. false stops: of coughs, doors, hums and soft words. self-interruptions: of our own echo.\n"
    "resumed exactly: of the replies that were paused and went on, those without a sample lost or doubled.\n"
    "Percentiles: nearest rank. Push-to-talk ends a turn when the client says so."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="of the corpus (default 0)")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="modes with this in their name, as semantic or pause"
    )
    parser.add_argument("--kind", metavar="TEXT", default="", help="cases whose kind has this in it, as echo")
    parser.add_argument(
        "--turn-model",
        default="auto",
        help="end-of-turn model to measure as well: a smart-turn v3 ONNX file; auto: the one in the package pipecat-ai "
        "where that is installed; none",
    )
    parser.add_argument("--live", metavar="URL", help="play one case of each kind to this server, in real time")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("REALTIME_API_KEY"),
        help="for a server with keys (env REALTIME_API_KEY)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write every figure and every case there")


def run(arguments: argparse.Namespace) -> int:
    cases = [case for case in compose(arguments.seed) if arguments.kind in case.kind]
    if arguments.live is not None:
        cases = list({case.kind: case for case in reversed(cases)}.values())[::-1]
        model, play = None, _live(arguments.live, arguments.api_key)
    else:
        model, play = load_end_of_turn_model(arguments.turn_model), _virtual()
    turns = _play([case for case in cases if not case.floor_is_ours], turn_modes(model), arguments.only, play)
    floors = _play([case for case in cases if case.floor_is_ours], floor_modes(), arguments.only, play)
    machine = {"server": arguments.live or "sessions in virtual time"} | describe_machine()
    if arguments.json is not None:
        report = {
            "machine": machine,
            "seed": arguments.seed,
            "turns": {name: asdict(turn_figures(outcomes)) for name, outcomes in turns.items()},
            "floor": {name: asdict(floor_figures(outcomes)) for name, outcomes in floors.items()},
            "cases": {name: [asdict(outcome) for outcome in found] for name, found in (turns | floors).items()},
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    _print(_TURN_TITLES, ((name, *turn_cells(turn_figures(outcomes))) for name, outcomes in turns.items()))
    _print(_FLOOR_TITLES, ((name, *floor_cells(floor_figures(outcomes))) for name, outcomes in floors.items()))
    for name, outcomes in (turns | floors).items():
        _print_faults(name, outcomes)
    print(f"\n{_LEGEND}", file=sys.stderr)
    for key, value in machine.items():
        print(f"{key:>14}  {value}", file=sys.stderr)
    return 0 if turns or floors else 1


def turn_modes(model: EndOfTurnModel | None) -> list[Mode]:
    """Ways to find the end of a turn."""
    semantic = [(eagerness, {"type": "semantic_vad", "eagerness": eagerness}) for eagerness in EAGERNESS]
    modes = [Mode("server_vad", {"type": "server_vad"})]
    modes += [Mode(f"semantic_vad {eagerness}", detection) for eagerness, detection in semantic]
    if model is not None:
        modes += [Mode(f"semantic_vad {eagerness}, smart-turn", detection, model) for eagerness, detection in semantic]
    return modes


def floor_modes() -> list[Mode]:
    """Ways to treat a voice over ours; the end of turns is found in the same way."""
    modes = [Mode(name, {"type": "server_vad", "interruption": name}) for name in INTERRUPTIONS]
    ungated = {"type": "server_vad", "interruption": "pause", "echo_gate": False}
    return [*modes, Mode("pause, no echo gate", ungated)]


def turn_cells(figures: TurnFigures) -> tuple[str, ...]:
    """A row of the first table."""
    return (
        _number(figures.delay_p50_ms),
        _number(figures.delay_p95_ms),
        _percent(figures.cut_in_rate),
        _percent(figures.missed_end_rate),
        _percent(figures.false_turn_rate),
        _percent(figures.dropped_ids_share),
        _percent(figures.dropped_speech_share),
    )


def floor_cells(figures: FloorFigures) -> tuple[str, ...]:
    """A row of the second table."""
    return (
        _number(figures.hushed_p50_ms),
        _number(figures.hushed_p95_ms),
        _number(figures.stopped_p50_ms),
        _number(figures.stopped_p95_ms),
        _percent(figures.missed_stop_rate),
        _percent(figures.false_stop_rate),
        _percent(figures.self_interruption_rate),
        f"{figures.exact} of {figures.resumed}",
    )


def _virtual() -> Play:
    vad = SileroVad()
    return lambda case, mode: observe(case, mode, vad)


def _live(url: str, api_key: str | None) -> Play:
    return lambda case, mode: asyncio.run(observe_live(url, case, mode, api_key=api_key))


def _play(cases: Sequence[Case], modes: Iterable[Mode], only: str, play: Play) -> dict[str, list[Outcome]]:
    played = {}
    for mode in modes:
        if cases and only in mode.name:
            print(f"{mode.name}: {len(cases)} conversations …", file=sys.stderr, flush=True)
            played[mode.name] = [judge(case, play(case, mode)) for case in cases]
    return played


def _print(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """As Markdown, aligned."""
    table = [tuple(titles), *(tuple(row) for row in rows)]
    if len(table) == 1:
        return
    widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print("\n".join(lines), end="\n\n")


def _print_faults(mode: str, outcomes: Sequence[Outcome]) -> None:
    """What went wrong, and in which kinds of cases."""
    cases = Counter(outcome.kind for outcome in outcomes)
    found = Counter((fault, outcome.kind) for outcome in outcomes for fault in faults(outcome))
    for fault in dict.fromkeys(fault for fault, _ in found):
        kinds = ", ".join(f"{kind} {count}/{cases[kind]}" for (name, kind), count in found.items() if name == fault)
        print(f"{mode}: {fault}: {kinds}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f} %"
