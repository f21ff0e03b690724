"""`realtime doctor`: what it advises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import realtime
from realtime.commands import doctor
from realtime.config import Settings

ROOT = Path(realtime.__file__).parent
SOURCES = [path for folder in (ROOT, ROOT.parent / "streaming_vocoder") for path in folder.rglob("*.py")]
CODE = "\n".join(path.read_text("utf-8") for path in SOURCES if path != Path(doctor.__file__))


@pytest.mark.parametrize("module", [row[0] for row in doctor._PACKAGES])
def test_every_package_is_used(module: str) -> None:
    imported = rf"^\s*(import|from) {module}\b"
    read = rf'find_spec\("{module}"\)|^_PACKAGE, _FOLDER = "{module}"'  # of some only a file is read
    assert re.search(f"{imported}|{read}", CODE, re.MULTILINE), module


def test_every_extra_is_declared() -> None:
    declared = (ROOT.parent / "pyproject.toml").read_text("utf-8")
    for *_, remedy in doctor._PACKAGES:
        for extra in re.findall(r"\[([a-z-]+)\]", remedy):
            assert re.search(rf"^{extra} = \[", declared, re.MULTILINE), extra


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "none: whoever"),
        ({"api_key": "k"}, "#key=KEY, which `realtime serve` prints"),
        ({"api_keys_file": "f"}, "#key=KEY"),
    ],
)
def test_it_says_how_keys_reach_the_page(settings: dict[str, str], told: str) -> None:
    finding = doctor._keys(Settings(**settings))
    assert told in finding.text
