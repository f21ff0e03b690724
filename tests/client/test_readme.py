"""What README.md tells the reader to type works."""

from __future__ import annotations

import re
import shlex
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest
import soundfile

from realtime.cli import COMMANDS
from tests.client.stub_server import StubServer, running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


async def test_the_openai_snippet_saves_a_spoken_answer(tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed (make test installs it)")
    (snippet,) = _blocks("python")
    async with running(StubServer()) as server:
        (tmp_path / "snippet.py").write_text(
            snippet.replace("ws://127.0.0.1:8765/v1", server.url.removesuffix("/realtime"))
        )
        process = await create_subprocess_exec(sys.executable, "snippet.py", cwd=tmp_path, stdout=PIPE)
        said, _ = await process.communicate()
    assert process.returncode == 0
    assert said.decode() == server.text
    samples, rate = soundfile.read(tmp_path / "answer.wav")
    assert (rate, len(samples)) == (24_000, 12_000)


def _lines() -> list[list[str]]:
    return [shlex.split(line, comments=True) for block in _blocks("sh") for line in block.splitlines()]


def test_its_commands_exist() -> None:
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    for line in filter(None, _lines()):
        command, target = [word for word in line if "=" not in word][:2]
        if command == "make":
            assert target in targets
        else:
            assert re.fullmatch(r"\.venv(-gpu)?/bin/realtime", command) and target in COMMANDS


def test_the_files_it_names_exist() -> None:
    named = set(re.findall(r"\]\(([^)#:]+)\)", README))
    named |= {word for line in _lines() for word in line if word.startswith("realtime/")}
    named |= {
        f"realtime/{path}"
        for path in re.findall(
            r"\[((?:transports|session|turns|engine|model|protocol|ports|admission|audio|checkpoint)/\S+?\.py)\]",
            README,
        )
    }
    missing = sorted(path for path in named if not (ROOT / path).exists())
    assert not missing
