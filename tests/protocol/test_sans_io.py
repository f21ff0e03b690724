"""The protocol is functions of messages: no clock, no socket, no thread, and nothing of the layers above."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import realtime.protocol

SOURCES = sorted(Path(realtime.protocol.__file__).parent.glob("*.py"))
FORBIDDEN = {"asyncio", "socket", "threading", "time", "datetime", "torch", "starlette", "websockets", "numpy"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_it_imports_neither_io_nor_upper_layers(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert not {name.split(".")[0] for name in imported} & FORBIDDEN
    ours = {name for name in imported if name.startswith("realtime")}
    assert all(name.startswith("realtime.protocol") or name == "realtime.errors" for name in ours)
