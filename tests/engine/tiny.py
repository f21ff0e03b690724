"""A whole speech model with random weights, small enough to run a conversation in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

from realtime.model.speech_model import SpeechModel
from tests.model.samples import write_checkpoint


def tiny_model(folder: Path, *, positions: int = 4096) -> SpeechModel:
    """Written to ``folder`` in the official layout and loaded from there; its context holds ``positions`` ids."""
    write_checkpoint(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["max_position_embeddings"] = positions
    file.write_text(json.dumps(config))
    return SpeechModel.load(folder)
