"""`realtime replay FOLDER`: run a recorded session again and compare what it sends with what the client got.

Prints one JSON event a line with ``--events``. Exit status 0: the same events; 1: a difference, which is named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import wave
from pathlib import Path

from realtime.bench.replay import Divergence, RecordedCall, difference, replay
from realtime.protocol.events import ResponseOutputAudioDelta, ServerEvent
from realtime.session.recording import shown
from realtime.turns.vad import SileroVad


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, help="folder of one session, made by `realtime serve --record DIR`")
    parser.add_argument("--events", action="store_true", help="print what the session sends, one JSON event a line")
    parser.add_argument("--out", type=Path, help="write the speech of the replies to this WAV file (PCM formats only)")


def run(arguments: argparse.Namespace) -> int:
    call = RecordedCall.read(arguments.recording)
    try:
        events = asyncio.run(replay(call, SileroVad()))
    except Divergence as error:
        print(f"the replay stops: {error}; the code has changed since the call was recorded", file=sys.stderr)
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
    compared = "not compared: the recording has none" if call.sent is None else "the same as the client got"
    print(f"{len(call.entries) - 1} inputs, {len(events)} events, {compared}", file=sys.stderr)
    return 0


def _write_speech(path: Path, events: list[ServerEvent]) -> None:
    """All speech of the call, reply after reply, as 16 bit PCM at 24 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        for event in events:
            if isinstance(event, ResponseOutputAudioDelta):
                file.writeframes(event.delta)
