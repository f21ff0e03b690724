"""Agreement with the reference: the small vectors of the repository always, the full ones where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.golden.vocoder import CHECKS

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = [
    root / name
    for root in (REPOSITORY / "tests/data/golden", REPOSITORY.parent / "shared/golden")
    for name in CHECKS
    if (root / name / "config.json").is_file()
]


def test_the_repository_carries_vectors_for_every_check() -> None:
    assert {folder.name for folder in FOLDERS if REPOSITORY in folder.parents} == set(CHECKS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parts[-3]}-{folder.name}")
def test_results_agree_with_the_reference(folder: Path) -> None:
    rows = list(CHECKS[folder.name](folder))
    assert rows
    assert [row for row in rows if not row.passed] == []
