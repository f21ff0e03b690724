"""Who may import whom. The rules are those of the README's table; a new arrow needs a reason and a line here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = {"addresses", "audio", "errors", "metrics"}
ALLOWED = {
    "audio": LEAVES,
    "protocol": LEAVES,
    "ports": LEAVES | {"protocol"},
    "turns": LEAVES,
    "session": LEAVES | {"ports", "protocol", "turns"},
    "admission": LEAVES | {"ports", "protocol", "session"},
    "tools": LEAVES | {"ports", "protocol"},
    "transports": LEAVES | {"ports", "protocol", "session", "admission"},
    "model": LEAVES | {"ports"},
    "engine": LEAVES | {"model", "ports", "streaming_vocoder"},
    "sandbox": LEAVES | {"model", "ports"},
    "checkpoint": LEAVES | {"config", "model", "ports", "streaming_vocoder"},
    "client": LEAVES,
    "bench": LEAVES | {"admission", "protocol", "turns", "session", "ports", "client"},
}
SANS_IO = ("protocol", "turns")
NO_TORCH = (
    "audio",
    "ports",
    "protocol",
    "turns",
    "session",
    "admission",
    "tools",
    "transports",
    "client",
    "bench",
    "sandbox",
)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def package_imports(package: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / "realtime" / package).rglob("*.py")):
        yield from ((path, name) for name in imports(path))


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_point_one_way(package: str) -> None:
    for path, name in package_imports(package):
        parts = name.split(".")
        if parts[0] == "realtime" and len(parts) > 1:
            assert parts[1] in ALLOWED[package] | {package}, f"{path} imports {name}"
        if parts[0] == "streaming_vocoder":
            assert "streaming_vocoder" in ALLOWED[package], f"{path} imports {name}"


@pytest.mark.parametrize("package", SANS_IO)
def test_the_core_has_no_io_and_no_clock(package: str) -> None:
    for path, name in package_imports(package):
        assert name.split(".")[0] not in {"asyncio", "socket", "threading", "time"}, f"{path} imports {name}"


@pytest.mark.parametrize("package", NO_TORCH)
def test_sessions_and_sockets_know_no_model(package: str) -> None:
    for path, name in package_imports(package):
        assert name.split(".")[0] not in {"torch", "transformers", "torchaudio"}, f"{path} imports {name}"


def test_the_vocoder_stands_alone() -> None:
    for path in sorted((ROOT / "streaming_vocoder").rglob("*.py")):
        assert not any(name.split(".")[0] == "realtime" for name in imports(path)), path


def test_serving_never_imports_torchaudio_or_transformers() -> None:
    for path in [*(ROOT / "realtime").rglob("*.py"), *(ROOT / "streaming_vocoder").rglob("*.py")]:
        assert not any(name.split(".")[0] in {"torchaudio", "transformers"} for name in imports(path)), path
