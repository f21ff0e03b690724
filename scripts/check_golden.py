"""Compares this code with golden vectors, in every golden folder at or below the given ones.

    python scripts/check_golden.py DIR...

Prints the largest error of each comparison and its tolerance. Exits with 1 if one fails or none is found.
"""

# /// script
# dependencies = ["realtime-voice"]
# ///

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # use the code of this checkout, not an installed version

from scripts.golden import speech_model, vocoder
from scripts.golden.report import Check, Row

CHECKS: dict[str, Check] = speech_model.CHECKS | vocoder.CHECKS


def main(arguments: Sequence[str]) -> int:
    """Run all checks and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a golden folder, or a folder above some")
    folders = parser.parse_args(arguments).folders
    rows = failed = 0
    for folder, kind in find_folders(folders):
        print(f"{folder} ({kind})")
        for row in run(CHECKS[kind], folder):
            print(f"  {'ok  ' if row.passed else 'FAIL'}  {row.error:9.2e} <= {row.tolerance:7.1e}  {row.name}")
            rows += 1
            failed += not row.passed
    if not rows:
        print(f"no golden folders in {', '.join(map(str, folders))}", file=sys.stderr)
        return 1
    print(f"{rows - failed} of {rows} comparisons within tolerance")
    return 1 if failed else 0


def find_folders(roots: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The golden folders at or below the roots, with their kinds. Raises FileNotFoundError for a root that is no
    folder."""
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder")
        for path, subfolders, _ in os.walk(root):
            kind = kind_of(Path(path))
            if kind is None:
                subfolders.sort()
            else:
                subfolders.clear()
                yield Path(path), kind


def kind_of(folder: Path) -> str | None:
    """The kind by content, because folder names are free; else by name. None: not a golden folder."""
    config = _config(folder)
    kinds = [kind for kind, fits in _SIGNATURES.items() if fits(folder, config)]
    if len(kinds) == 1:
        return kinds[0]
    known = folder.name in CHECKS and (folder / "README.md").exists()
    return folder.name if known else None


def run(check: Check, folder: Path) -> Iterator[Row]:
    """The check's rows. An exception becomes a failed row, so that the other folders still run."""
    compared = False
    try:
        for row in check(folder):
            compared = True
            yield row
    except Exception as error:  # any fault in one folder must not hide the others
        yield Row(f"broke off: {type(error).__name__}: {error}", float("inf"), 0.0)
    else:
        if not compared:
            yield Row("nothing to compare", float("inf"), 0.0)


def _config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _has(*names: str) -> Callable[[Path, dict[str, Any]], bool]:
    return lambda folder, config: all((folder / name).exists() for name in names)


def _says(*keys: str) -> Callable[[Path, dict[str, Any]], bool]:
    return lambda folder, config: all(key in config for key in keys)


_SIGNATURES: dict[str, Callable[[Path, dict[str, Any]], bool]] = {
    "encoder": _has("token_counts.json", "cases.safetensors"),
    "llm": _has("ids.json", "cases.safetensors"),
    "prompt": _has("prompts.json", "ta4_and_tools.json"),
    "flow": _says("n_timesteps", "cases"),
    "hift": _says("hift", "stream_frames"),
    "e2e": _says("samples_per_call"),
    "mel24k": _says("n_fft", "hop", "lengths"),
    "fbank": _says("num_mel_bins"),
    "s3tok": _says("codebook", "fsmn_kernel"),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
