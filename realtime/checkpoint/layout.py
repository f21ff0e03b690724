"""Which files a checkpoint folder must have: looked at before anything is read, so that one error names them all."""

from __future__ import annotations

from pathlib import Path

_REQUIRED: tuple[tuple[str, ...], ...] = (
    ("config.json",),
    ("model.safetensors.index.json", "model.safetensors"),
    ("vocab.json", "tokenizer.json"),
    ("merges.txt", "tokenizer.json"),
    ("token2wav/flow.yaml",),
    ("token2wav/flow.pt", "token2wav/flow.safetensors"),
    ("token2wav/hift.pt", "token2wav/hift.safetensors"),
)
"""Each row: names of which one must be there."""


def missing_files(folder: Path) -> list[str]:
    """What the folder lacks, as names relative to it; alternatives are joined with "or"."""
    return [" or ".join(names) for names in _REQUIRED if not any((folder / name).is_file() for name in names)]
