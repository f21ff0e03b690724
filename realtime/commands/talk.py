"""`realtime talk`: talks to a running server by recording, text or microphone."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import soundfile

from realtime.client.connection import DEFAULT_URL, WIRE_RATE, ClientError, RealtimeConnection, Received
from realtime.client.server_tools import DEFAULT_TOOLS, server_tools
from realtime.client.sound_device import PortAudioDevice, converse
from realtime.client.speech_turn import TurnRecord, ask, speak
from realtime.client.transports import TRANSPORTS, open_by
from realtime.client.utterance import load_utterance
from realtime.commands.argument_types import new_file, number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE.wav",
        help="recording to send; without it and without --text: the microphone",
    )
    parser.add_argument("--text", help="a typed message instead of speech")
    parser.add_argument("--url", default=DEFAULT_URL, help="the server (default %(default)s)")
    parser.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="websocket",
        help="webrtc needs the extra `webrtc` (default %(default)s)",
    )
    parser.add_argument("--out", type=new_file, metavar="ANSWER.wav", help="file for the spoken answer")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("REALTIME_API_KEY"),
        help="API key for a server that requires one (env REALTIME_API_KEY)",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="accept any TLS certificate, e.g. of a server with --tls-self-signed"
    )
    parser.add_argument(
        "--server-tools",
        type=_names,
        metavar="NAMES",
        help='the server\'s own tools to use besides those that it offers to everyone, as "calculate,get_time" '
        f"(default {','.join(DEFAULT_TOOLS)}, where the server has it); an empty text: no more",
    )
    parser.add_argument(
        "--timeout",
        type=number(0.1, 86400),
        default=60.0,
        metavar="S",
        help="seconds to wait for the answer (default 60)",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.file is not None and arguments.text is not None:
        print("realtime talk: give either FILE.wav or --text", file=sys.stderr)
        return 2
    if arguments.file is None and arguments.text is None:
        asyncio.run(_conversation(arguments))  # ends with Ctrl-C or with the connection
        return 0
    record = asyncio.run(_one_turn(arguments))
    print()
    print(latency_line(record, spoken=arguments.file is not None), file=sys.stderr)
    if arguments.out is not None:
        _save(arguments.out, record)
    return 0


def _names(text: str) -> list[str]:
    return text.replace(",", " ").split()


@asynccontextmanager
async def _connected(arguments: argparse.Namespace) -> AsyncIterator[RealtimeConnection]:
    """A session with the server's tools."""
    access = {"api_key": arguments.api_key, "any_certificate": arguments.insecure}
    async with open_by(arguments.transport, arguments.url, **access) as connection:
        tools = await server_tools(arguments.url, arguments.server_tools, **access)
        if tools is not None:
            await connection.send("session.update", session={"type": "realtime", "server_tools": tools})
        yield connection


async def _one_turn(arguments: argparse.Namespace) -> TurnRecord:
    utterance = load_utterance(arguments.file) if arguments.file is not None else None
    async with _connected(arguments) as connection:
        if utterance is None:
            return await ask(connection, arguments.text, watch=print_answer, timeout_s=arguments.timeout)
        return await speak(connection, utterance, watch=print_answer, timeout_s=arguments.timeout)


def print_answer(event: Received) -> None:
    """Print the answer's transcript as it arrives."""
    if event.type in ("response.output_audio_transcript.delta", "response.output_text.delta"):
        print(event["delta"], end="", flush=True)


def print_answers(event: Received) -> None:
    """As `print_answer`, with a line break after each answer."""
    print_answer(event)
    if event.type == "response.done":
        print()


def latency_line(record: TurnRecord, *, spoken: bool) -> str:
    """One line with the latencies of the turn in ms, measured by the client."""
    points = [
        ("speech_stopped", record.speech_stopped if spoken else None),
        ("first text", record.first_text),
        ("first audio", record.first_audio),
    ]
    begin = "end of speech" if spoken else "sent"
    steps = [f"+{(at - record.asked) * 1000:.0f} ms {name}" for name, at in points if at is not None]
    margin = record.least_margin_s
    least = "" if margin is None else f", smallest margin {margin * 1000:.0f} ms"
    return f"{begin} {', '.join(steps)}; {record.audio_s:.2f} s of speech{least}"


def _save(path: Path, record: TurnRecord) -> None:
    if not record.audio:
        raise ClientError(f"the answer has no audio: {path} was not written")
    soundfile.write(path, np.frombuffer(record.audio, "<i2"), WIRE_RATE, subtype="PCM_16")
    print(f"wrote {path}: {record.audio_s:.2f} s", file=sys.stderr)


async def _conversation(arguments: argparse.Namespace) -> None:
    device = PortAudioDevice()
    with device.opened():
        async with _connected(arguments) as connection:
            print(
                "Speak; press Ctrl-C to end. Headphones are best: a terminal has no echo cancellation.", file=sys.stderr
            )
            await converse(connection, device, print_answers)
