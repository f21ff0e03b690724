"""`realtime voice add | list | preview`: manages voices, the files that the server's replies are spoken with.

Voices are in the checkpoint's ``voices/`` folder, where the server finds them by name, or in ``--voices DIR``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

from realtime.commands.argument_types import new_file, whole
from realtime.config import EMBEDDED_CHECKPOINT, ENV_PREFIX
from realtime.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streaming_vocoder import StreamState, Vocoder, Voice

SUFFIX = ".safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, summary: str, function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=summary)
        added.add_argument(
            "--model",
            type=Path,
            default=os.environ.get(f"{ENV_PREFIX}MODEL", EMBEDDED_CHECKPOINT),
            metavar="DIR",
            help=f"checkpoint (default: embedded nano; env {ENV_PREFIX}MODEL)",
        )
        added.add_argument("--voices", type=Path, metavar="DIR", help="folder of the voices (default: MODEL/voices)")
        added.set_defaults(action_run=function)
        return added

    add = action("add", "make a voice from a recording of one speaker, 1 to 30 s", _add)
    add.add_argument("name", metavar="NAME", help="name of the new voice")
    add.add_argument(
        "recording", type=Path, metavar="PROMPT.wav", help="recording in any format and rate that libsndfile reads"
    )
    add.add_argument("--force", action="store_true", help="replace an existing voice of this name")
    action("list", "list the voices", _list)
    preview = action("preview", "resynthesize a voice's own prompt", _preview)
    preview.add_argument("name", metavar="NAME")
    preview.add_argument("--out", type=new_file, required=True, metavar="OUT.wav", help="file for the audio")
    preview.add_argument("--device", default="cpu", help="torch device (default cpu)")
    preview.add_argument("--steps", type=whole(1, 100), default=10, metavar="N", help="solver steps (default 10)")


def run(arguments: argparse.Namespace) -> int:
    from streaming_vocoder import VocoderError

    try:
        chosen: Callable[[argparse.Namespace], int] = arguments.action_run
        return chosen(arguments)
    except (VocoderError, OSError) as error:
        raise ConfigError(str(error)) from error


def _add(arguments: argparse.Namespace) -> int:
    from streaming_vocoder import Voice

    path = _path(arguments, arguments.name)
    if path.exists() and not arguments.force:
        raise ConfigError(f"{path} exists; choose another name or set --force")
    voice = Voice.enroll(arguments.recording, arguments.model / "token2wav", arguments.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    voice.save(path)
    print(path)
    print(f"{arguments.name}: {_seconds(voice):.1f} s of prompt", file=sys.stderr)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from streaming_vocoder import Voice

    folder = _folder(arguments)
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    for path in paths:
        print(f"{path.stem:<20} {_seconds(Voice.load(path)):>5.1f} s  {path}")
    if not paths:
        print(f"no voices in {folder}; add one: realtime voice add NAME PROMPT.wav", file=sys.stderr)
    return 0


def _preview(arguments: argparse.Namespace) -> int:
    import soundfile

    from realtime.checkpoint.load import choose_device
    from streaming_vocoder import Vocoder, Voice, to_int16
    from streaming_vocoder.config import SAMPLE_RATE

    path = _path(arguments, arguments.name)
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in path.parent.glob(f"*{SUFFIX}"))) or "none"
        raise ConfigError(f"no voice {arguments.name!r} in {path.parent} (available: {known})")
    voice = Voice.load(path)
    device = choose_device(arguments.device)
    vocoder = Vocoder.load(arguments.model / "token2wav", device, steps=arguments.steps)
    samples = speak(vocoder, voice, voice.tokens.tolist())
    soundfile.write(arguments.out, to_int16(samples), SAMPLE_RATE, subtype="PCM_16")
    print(f"wrote {arguments.out}: {len(samples) / SAMPLE_RATE:.2f} s", file=sys.stderr)
    return 0


def speak(vocoder: Vocoder, voice: Voice, tokens: list[int]) -> NDArray[np.float32]:
    """Speech tokens -> samples [n] at 24 kHz, in the chunks of a reply."""
    import numpy as np

    stream, rungs = vocoder.open(voice), vocoder.options.ladder.rungs
    sizes = chain((rungs[0] + vocoder.lookahead, *rungs[1:]), repeat(rungs[-1]))
    chunks: list[tuple[StreamState, list[int], bool]] = []
    for size in sizes:
        part, tokens = tokens[:size], tokens[size:]
        chunks.append((stream, part, not tokens))
        if not tokens:
            break
    return np.concatenate(vocoder.step(chunks))  # all tokens are known, so the chunks are computed together


def _folder(arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.voices or arguments.model / "voices"
    return folder


def _path(arguments: argparse.Namespace, name: str) -> Path:
    if not name or name.startswith(".") or Path(name).name != name or "\\" in name:
        raise ConfigError(f"voice {name!r}: use a name without folders; it becomes the file name")
    return _folder(arguments) / f"{name}{SUFFIX}"


def _seconds(voice: Voice) -> float:
    from streaming_vocoder.config import TOKEN_RATE

    return len(voice.tokens) / TOKEN_RATE
