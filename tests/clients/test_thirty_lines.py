"""The client that protocol.md shows."""

from __future__ import annotations

import re
import sys
import wave
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest

from tests.fakes import reply
from tests.transports.test_server import serving

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "tests" / "data" / "speech" / "hello_slt.wav"
(SOURCE,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "protocol.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_it_has_no_more_lines_than_it_says() -> None:
    assert len([line for line in SOURCE.splitlines() if line]) <= 30


async def test_it_asks_and_writes_the_answer(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(SOURCE)
    async with serving(reply("Good ", "morning.", tokens=10)) as server:
        command = [sys.executable, "client.py", server.url, str(RECORDING), "answer.wav"]
        process = await create_subprocess_exec(*command, cwd=tmp_path, stdout=PIPE, stderr=PIPE)
        said, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    assert said.decode() == "Good morning."
    with wave.open(str(tmp_path / "answer.wav")) as answer:
        assert answer.getnframes() / answer.getframerate() == pytest.approx(0.8)
