"""`realtime bench turns`: endpointing and interruptions over scripted conversations.

They are played with real sessions in virtual time. Model and network are scripted, so the figures depend on the seed
and not on the machine. With ``--live`` one conversation of each kind is played to a running server in real time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from realtime.bench.turns.caller import Observation
from realtime.bench.turns.corpus import Case, compose
from realtime.bench.turns.live import observe_live
from realtime.bench.turns.runner import Mode, observe
from realtime.bench.turns.scoring import (
    EndpointingFigures,
    InterruptionFigures,
    Outcome,
    endpointing_figures,
    faults,
    interruption_figures,
    score,
)
from realtime.commands.argument_types import new_file, whole
from realtime.commands.machine import describe_machine
from realtime.config import EMBEDDED_CHECKPOINT
from realtime.turns.smart_turn import EndOfTurnModel, load_end_of_turn_model
from realtime.turns.vad import SileroVad

Play = Callable[[Case, Mode], Observation]

EAGERNESS = ("low", "medium", "high")
INTERRUPTIONS = ("immediate", "pause", "play_on")

_ENDPOINTING_TITLES = (
    "turn detection",
    "delay p50",
    "p95",
    "cut in",
    "missed",
    "false turns",
    "discarded tokens",
    "speech",
)
_INTERRUPTION_TITLES = (
    "interruption", "silenced p50", "p95", "stopped p50", "p95", "missed stops", "false stops", "self-interruptions",
    "resumed exactly",
)  # fmt: skip

_LEGEND = (
    "delay: ms from the last voiced sample to speech_stopped. cut in: turns with a speech_stopped before their end.\n"
    "missed: no speech_stopped within 4 s. false turns: turns made of coughs and doors. discarded: share of the\n"
    "speculative work that was not used. silenced: ms from the first sample of a barge-in until playback is paused\n"
    "or stopped; stopped: until it is stopped. false stops: by coughs, doors, hums and soft words.\n"
    "self-interruptions: by the echo of the reply. resumed exactly: paused replies that continued without a lost or\n"
    "repeated sample. Percentiles: nearest rank."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, help="seed of the corpus (default 0)")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="only modes whose name contains this, e.g. semantic or pause"
    )
    parser.add_argument("--kind", metavar="TEXT", default="", help="only cases whose kind contains this, e.g. echo")
    parser.add_argument(
        "--turn-model",
        default="auto",
        help="additional end-of-turn models to measure: auto (the checkpoint's own and the one in the package "
        "pipecat-ai, as far as they exist), smart-turn (only the latter), none, or a smart-turn v3 ONNX file",
    )
    parser.add_argument(
        "--model", type=Path, default=EMBEDDED_CHECKPOINT, help="checkpoint folder (default: the embedded nano model)"
    )
    parser.add_argument("--live", metavar="URL", help="play one case of each kind to this server in real time")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("REALTIME_API_KEY"),
        help="API key for a server that requires one (env REALTIME_API_KEY)",
    )
    parser.add_argument("--json", type=new_file, metavar="OUT.json", help="write all figures and cases to this file")


def run(arguments: argparse.Namespace) -> int:
    cases = [case for case in compose(arguments.seed) if arguments.kind in case.kind]
    if arguments.live is not None:
        cases = list({case.kind: case for case in reversed(cases)}.values())[::-1]
        models, play = {}, _live(arguments.live, arguments.api_key)
    else:
        models, play = turn_models(arguments.turn_model, arguments.model), _virtual()
    turns = _play([case for case in cases if not case.during_reply], endpointing_modes(models), arguments.only, play)
    floors = _play([case for case in cases if case.during_reply], interruption_modes(), arguments.only, play)
    endpointing = {name: endpointing_figures(outcomes) for name, outcomes in turns.items()}
    interruption = {name: interruption_figures(outcomes) for name, outcomes in floors.items()}
    played = turns | floors
    machine = {"server": arguments.live or "sessions in virtual time"} | describe_machine()
    if arguments.json is not None:
        report = {
            "machine": machine,
            "seed": arguments.seed,
            "turns": {name: asdict(figures) for name, figures in endpointing.items()},
            "floor": {name: asdict(figures) for name, figures in interruption.items()},
            "cases": {name: [asdict(outcome) for outcome in found] for name, found in played.items()},
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    _print(_ENDPOINTING_TITLES, [(name, *endpointing_cells(figures)) for name, figures in endpointing.items()])
    _print(_INTERRUPTION_TITLES, [(name, *interruption_cells(figures)) for name, figures in interruption.items()])
    for name, outcomes in played.items():
        _print_faults(name, outcomes)
    print(f"\n{_LEGEND}", file=sys.stderr)
    for key, value in machine.items():
        print(f"{key:>14}  {value}", file=sys.stderr)
    return 0 if played else 1


def turn_models(choice: str, folder: Path) -> dict[str, EndOfTurnModel]:
    """The end-of-turn models by the name of their rows. Raises `RealtimeError` if one cannot be loaded."""
    models: dict[str, EndOfTurnModel] = {}
    if choice == "auto" and (own := _own_model(folder)) is not None:
        models["own head"] = own
    if (smart_turn := load_end_of_turn_model(choice)) is not None:
        models["smart-turn"] = smart_turn
    return models


def _own_model(folder: Path) -> EndOfTurnModel | None:
    from realtime.checkpoint.load import load_turn_completion  # imported here: only this needs torch
    from realtime.model.speech_model import SpeechModel

    return load_turn_completion(folder, SpeechModel.load(folder))


def endpointing_modes(models: Mapping[str, EndOfTurnModel]) -> list[Mode]:
    """The ways to detect the end of a turn."""
    semantic = [(eagerness, {"type": "semantic_vad", "eagerness": eagerness}) for eagerness in EAGERNESS]
    modes = [Mode("server_vad", {"type": "server_vad"})]
    modes += [Mode(f"semantic_vad {eagerness}", detection) for eagerness, detection in semantic]
    for name, model in models.items():
        modes += [Mode(f"semantic_vad {eagerness}, {name}", detection, model) for eagerness, detection in semantic]
    return modes


def interruption_modes() -> list[Mode]:
    """The ways to handle speech during a reply; the end of a turn is detected in the same way in all."""
    modes = [Mode(name, {"type": "server_vad", "interruption": name}) for name in INTERRUPTIONS]
    ungated = {"type": "server_vad", "interruption": "pause", "echo_gate": False}
    return [*modes, Mode("pause, no echo gate", ungated)]


def endpointing_cells(figures: EndpointingFigures) -> tuple[str, ...]:
    """A row of the first table."""
    return (
        _number(figures.delay_p50_ms),
        _number(figures.delay_p95_ms),
        _percent(figures.cut_in_rate),
        _percent(figures.missed_end_rate),
        _percent(figures.false_turn_rate),
        _percent(figures.discarded_tokens_share),
        _percent(figures.discarded_speech_share),
    )


def interruption_cells(figures: InterruptionFigures) -> tuple[str, ...]:
    """A row of the second table."""
    return (
        _number(figures.silenced_p50_ms),
        _number(figures.silenced_p95_ms),
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
            played[mode.name] = [score(case, play(case, mode)) for case in cases]
    return played


def _print(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print an aligned Markdown table; nothing without rows."""
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
    """Print each fault with the kinds of cases in which it occurred."""
    cases = Counter(outcome.kind for outcome in outcomes)
    found = Counter((fault, outcome.kind) for outcome in outcomes for fault in faults(outcome))
    for fault in dict.fromkeys(fault for fault, _ in found):
        kinds = ", ".join(f"{kind} {count}/{cases[kind]}" for (name, kind), count in found.items() if name == fault)
        print(f"{mode}: {fault}: {kinds}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f} %"
