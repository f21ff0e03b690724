"""The golden vectors: our small ones always, upstream's where they lie beside this repository."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from safetensors.torch import load_file, save_file

from scripts.golden.speech_model import CHECKS
from tests.model.samples import GOLDEN, SHARED_GOLDEN


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "check_golden.py"
    spec = importlib.util.spec_from_file_location("check_golden", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.parametrize("root", [GOLDEN, SHARED_GOLDEN], ids=["own", "upstream"])
def test_the_speech_model_agrees_with_its_golden_vectors(root: Path, kind: str) -> None:
    if not (root / kind).is_dir():
        assert root != GOLDEN
        pytest.skip("upstream's golden vectors are not here")
    rows = list(CHECKS[kind](root / kind))
    assert rows
    assert [row for row in rows if not row.passed] == []


def test_the_script_finds_folders_of_any_name(tmp_path: Path, script: ModuleType) -> None:
    for name, kind in (("one", "encoder"), ("deep/two", "llm"), ("deep/three", "prompt")):
        shutil.copytree(GOLDEN / kind, tmp_path / name)
    assert [kind for _, kind in script.find_folders([tmp_path])] == ["prompt", "llm", "encoder"]
    assert script.main([str(tmp_path)]) == 0


def test_one_value_out_of_tolerance_fails(tmp_path: Path, script: ModuleType) -> None:
    shutil.copytree(GOLDEN / "encoder", tmp_path / "encoder")
    cases = tmp_path / "encoder" / "cases.safetensors"
    tensors = load_file(cases)
    tensors["even.adapter_out"][3, 4] += 1e-3
    save_file(tensors, cases)
    assert script.main([str(tmp_path)]) == 1


def test_an_unreadable_folder_fails(tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("llm", "prompt"):
        shutil.copytree(GOLDEN / kind, tmp_path / kind)
    (tmp_path / "llm" / "model-00001-of-00002.safetensors").unlink()
    assert script.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "model-00001-of-00002.safetensors is missing" in printed
    assert "text_to_text" in printed  # the other folder is checked all the same


def test_nothing_to_check_fails(tmp_path: Path, script: ModuleType) -> None:
    assert script.main([str(tmp_path)]) == 1


def test_wrong_greedy_ids_and_pieces_are_noticed(tmp_path: Path) -> None:
    for kind, file, old, new in (
        ("llm", "cases.json", '"greedy_24": [', '"greedy_24": [1, '),
        ("prompt", "prompts.json", "<|BOT|>assistant", "<|BOT|>helper"),
        ("prompt", "ta4_and_tools.json", '"calls": []', '"calls": [1]'),
    ):
        folder = tmp_path / file
        shutil.copytree(GOLDEN / kind, folder)
        text = (folder / file).read_text("utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new), "utf-8")
        assert not all(row.passed for row in CHECKS[kind](folder))
