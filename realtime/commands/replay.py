"""`realtime replay FOLDER`: runs a recorded session again and compares its events with those the client received.

Exit status 0: the same events, or the recording has none to compare with; 1: a difference, which is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import wave
from pathlib import Path

from realtime.bench.replay import Divergence, RecordedCall, difference, replay
from realtime.commands.argument_types import new_file
from realtime.protocol.events import ResponseOutputAudioDelta, ServerEvent
from realtime.session.recording import shown
from realtime.turns.vad import SileroVad


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, help="folder of one session, written by `realtime serve --record DIR`")
    parser.add_argument(
        "--events", action="store_true", help="print the events of the replay, one JSON object per line"
    )
    parser.add_argument(
        "--out", type=new_file, help="write the speech of all replies to this WAV file (sessions with PCM output only)"
    )


def run(arguments: argparse.Namespace) -> int:
    call = RecordedCall.read(arguments.recording)
    try:
        events = asyncio.run(replay(call, SileroVad()))
    except Divergence as error:
        print(f"the replay stopped: {error}; the code has changed since the recording", file=sys.stderr)
        return 1
    if arguments.events:
        for event in events:
            print(json.dumps(shown(event), ensure_ascii=False))
    if arguments.out is not None:
        _write_speech(arguments.out, events)
    changed = difference(call, events)
    if changed is not None:
        print(changed, file=sys.stderr)
        return 1
    compared = "not compared: the recording has no events" if call.sent is None else "the same as the client received"
    print(f"{len(call.entries) - 1} inputs, {len(events)} events, {compared}", file=sys.stderr)
    return 0


def _write_speech(path: Path, events: list[ServerEvent]) -> None:
    """The speech of all replies, concatenated, as 16 bit PCM at 24 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        for event in events:
            if isinstance(event, ResponseOutputAudioDelta):
                file.writeframes(event.delta)
