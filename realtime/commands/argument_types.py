"""Types of command line arguments: numbers in a range, and files that can be written when the work is done."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path


def whole(low: int, high: int) -> Callable[[str], int]:
    """An integer from ``low`` to ``high``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:60]!r} is not an integer in {low}-{high}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:60]} is not in {low}-{high}")
        return value

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A finite number from ``low`` to ``high``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise argparse.ArgumentTypeError(f"{text[:60]!r} is not a number in {low:g}-{high:g}")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:60]} is not in {low:g}-{high:g}")
        return value

    return parse


def new_file(text: str) -> Path:
    """A file to write, later: its folder exists, and it can be written."""
    path = Path(text)
    if os.path.isdir(path) or not os.path.isdir(path.parent):
        raise argparse.ArgumentTypeError(f"{text} is not a file in an existing folder")
    if not os.access(path if os.path.exists(path) else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path
