"""The files that a checkpoint folder must have. Checked before loading, so that one error names all missing files."""

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
"""Each row: alternative names, one of which must exist."""


def missing_files(folder: Path) -> list[str]:
    """The missing files, as names relative to the folder; alternatives are joined with "or"."""
    return [" or ".join(names) for names in _REQUIRED if not any((folder / name).is_file() for name in names)]
