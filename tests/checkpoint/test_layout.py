from __future__ import annotations

from pathlib import Path

from realtime.checkpoint.layout import missing_files
from realtime.config import EMBEDDED_CHECKPOINT


def test_every_missing_file_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / "tokenizer.json").touch()
    assert missing_files(tmp_path) == [
        "model.safetensors.index.json or model.safetensors",
        "token2wav/flow.yaml",
        "token2wav/flow.pt or token2wav/flow.safetensors",
        "token2wav/hift.pt or token2wav/hift.safetensors",
    ]


def test_the_embedded_checkpoint_is_whole() -> None:
    assert missing_files(EMBEDDED_CHECKPOINT) == []
