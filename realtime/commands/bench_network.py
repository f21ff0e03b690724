"""`realtime bench network`: speech over lossy networks, as the server and as aiortc's own receiver would hear it.

Seeded and in virtual time. With ``--words`` the checkpoint transcribes what arrived, which takes minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from realtime.audio.streams import Samples
from realtime.bench.network import (
    NETWORKS,
    Received,
    Receiver,
    arrivals,
    conceal,
    encode,
    figures,
    receive,
    receive_like_aiortc,
    recovery,
    word_errors,
    zeros,
)
from realtime.bench.turns.corpus import Clip, clips
from realtime.commands.argument_types import new_file, whole
from realtime.commands.machine import describe_machine
from realtime.config import EMBEDDED_CHECKPOINT
from realtime.errors import EngineError
from realtime.ports.engine import GenerationDone
from realtime.ports.messages import Audio
from realtime.ports.payer import Payer
from realtime.session.context.engine_conversation import EngineConversation, GenerationRequest

_ATTEMPTS, _BUDGET_WAIT_S = 20, 0.5
_NO_TRANSCRIPT = ("cancelled", "context_full", "over_budget", "failed")
"""The engine's fault; a transcript that loops or stays silent is the model's, and its words count as they are."""
_KINDS = ("sentence", "barge", "short")
_SILENCE_S = (0.3, 0.9)  # before and behind a clip; longer than what a jitter buffer keeps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0, help="seed of the traces (default 0)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only networks whose name contains this, e.g. loss")
    parser.add_argument("--words", action="store_true", help="count the words lost in transcripts by the checkpoint")
    parser.add_argument(
        "--model", type=Path, default=EMBEDDED_CHECKPOINT, help="checkpoint folder (default: the embedded nano model)"
    )
    parser.add_argument("--json", type=new_file, metavar="OUT.json", help="write all figures to this file")


def run(arguments: argparse.Namespace) -> int:
    spoken = [clip for kind in _KINDS for clip in clips(kind)]
    packets = [encode(np.pad(clip.samples, [int(seconds * 16_000) for seconds in _SILENCE_S])) for clip in spoken]
    found = receivers()
    transcriber = Transcriber(arguments.model) if arguments.words else None
    rows: list[dict[str, object]] = []
    try:
        for network in NETWORKS:
            if arguments.only not in network.name:
                continue
            rng = np.random.default_rng(arguments.seed)
            traces = [arrivals(network, len(sent), rng) for sent in packets]
            for name, receiver in found.items():
                print(f"{network.name}, {name} …", file=sys.stderr, flush=True)
                runs = [receiver(sent, trace) for sent, trace in zip(packets, traces, strict=True)]
                row: dict[str, object] = {"network": network.name, "receiver": name} | asdict(figures(runs))
                if transcriber is not None:
                    row["word_error_rate"] = transcriber.error_rate(spoken, runs)
                rows.append(row)
    finally:
        if transcriber is not None:
            transcriber.close()
    long = [packet for sent in packets[:10] for packet in sent][:700]
    after = {name: asdict(recovery(receiver, long)) for name, receiver in found.items()}
    machine = describe_machine()
    if arguments.json is not None:
        report = {"machine": machine, "seed": arguments.seed, "networks": rows, "one_loss": after}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    _print(rows)
    for name, ms in after.items():
        print(f"{name}: one loss: {ms['silent_ms']:.0f} ms later at most, {ms['lasting_ms']:.0f} ms for good")
    for key, value in machine.items():
        print(f"{key:>14}  {value}", file=sys.stderr)
    return 0 if rows else 1


def receivers() -> dict[str, Receiver]:
    """The ways to hear a trace; aiortc's where it is installed."""
    found: dict[str, Receiver] = {
        "server": receive,
        "server, no FEC": partial(receive, fill=conceal),
        "server, zeros": partial(receive, fill=zeros),
    }
    try:
        import aiortc.jitterbuffer  # noqa: F401
    except ImportError:
        print("aiortc is not installed (extra webrtc): its rows are left out", file=sys.stderr)
    else:
        found["aiortc"] = receive_like_aiortc
    return found


class Transcriber:
    """A checkpoint that writes down recordings, as served: encoder, decoder and the prompt of `realtime infer`."""

    def __init__(self, folder: Path) -> None:
        from realtime.checkpoint.load import load_model
        from realtime.config import Settings
        from realtime.model_threads import start_threads  # imported here: only this needs torch

        settings = Settings(model=folder)
        self._loaded = load_model(settings)
        self._threads = start_threads(self._loaded, settings)
        self._count = 0

    def close(self) -> None:
        """Stop its threads."""
        self._threads.stop()

    def error_rate(self, spoken: Sequence[Clip], runs: Sequence[Received]) -> float:
        """Words wrong over words said."""
        counts = [word_errors(clip.text, self._transcript(run.samples)) for clip, run in zip(spoken, runs, strict=True)]
        return sum(wrong for wrong, _ in counts) / sum(said for _, said in counts)

    def _transcript(self, samples: Samples) -> str:
        from realtime.commands.infer_tasks import TASKS, task_messages  # imported here: only this needs the model

        self._count += 1
        name = f"bench-{self._count}"
        messages = task_messages("transcribe", Audio(name, samples), self._loaded.profile.prompt_format)
        request = GenerationRequest(messages, False, TASKS["transcribe"].sampling(self._loaded.profile.sampling))

        return asyncio.run(self._generate(name, request))

    async def _generate(self, name: str, request: GenerationRequest) -> str:
        """The text. Over its budget it asks again later, because no words at all would count as words lost."""
        for _ in range(_ATTEMPTS):
            # Callers of their own, as in a server: else the budget of one would pay for all.
            conversation = EngineConversation(self._threads.engine, name, payer=Payer(name, name))
            try:
                text = ""
                async for event in conversation.generate(request):
                    if isinstance(event, GenerationDone):
                        done = event
                    else:
                        text += event.text
            finally:
                conversation.close()
            if done.reason != "over_budget":
                break
            await asyncio.sleep(_BUDGET_WAIT_S)
        if done.reason in _NO_TRANSCRIPT:
            raise EngineError(f"no transcript of {name}: {done.reason}: {done.error or 'use a shorter recording'}")
        return text


def _print(rows: Sequence[Mapping[str, object]]) -> None:
    words = any("word_error_rate" in row for row in rows)
    print(f"| network | receiver | delay p50 | p95 | made up |{' words wrong |' if words else ''}")
    print(f"|---|---|---|---|---|{'---|' if words else ''}")
    for row in rows:
        last = f" {100 * float(str(row['word_error_rate'])):.1f} % |" if words else ""
        made_up = 100 * float(str(row["made_up"]))
        print(
            f"| {row['network']} | {row['receiver']} | {row['delay_p50_ms']} ms | {row['delay_p95_ms']} ms "
            f"| {made_up:.1f} % |{last}"
        )
